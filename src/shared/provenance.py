"""Which files a result is of: evaluate notes them by their hashes, and who uses the result checks.

metrics/evaluate/provenance.json names the model, the test split, the code that measured, and what
came of it. metrics/gate.json names that file. So a verdict is one on this model, or it is refused.
It needs only Python, as a model is handed on without the pipeline's packages.
"""

import sys
from pathlib import Path

from src.shared import files
from src.shared.errors import UserError
from src.shared.paths import (
    DVC_LOCK,
    METRICS,
    MODEL,
    PREDICTIONS,
    PROVENANCE,
    TEST,
    VERDICTS,
)

ROOT = Path(__file__).parents[2]
CODE = "src/"
REMEDY = "run `dvc repro -f evaluate gate`"


def write(evaluation: Path, predictions: Path) -> None:
    """Write provenance.json: what the results of this run are of, and the results themselves.

    Args:
        evaluation: the draft of metrics/evaluate, in which the metrics lie.
        predictions: the draft of the table of predictions.
    """
    content = {path.as_posix(): files.md5(path) for path in (MODEL, TEST)}
    content[METRICS.as_posix()] = files.md5(evaluation / METRICS.name)
    content[PREDICTIONS.as_posix()] = files.md5(predictions)
    files.write_json(evaluation / PROVENANCE.name, content | code())


def code() -> dict[str, str]:
    """Return the hash of each module of src that this program has loaded, by its path."""
    loaded = (Path(module.__file__ or "") for module in sys.modules.values() if _has_file(module))
    paths = (path for path in loaded if path.is_relative_to(ROOT / CODE) and path.stat().st_size)
    found = {path.relative_to(ROOT).as_posix(): files.md5(path) for path in paths}
    return dict(sorted(found.items()))


def _has_file(module: object) -> bool:
    return isinstance(getattr(module, "__file__", None), str)


def read() -> dict[str, str]:
    """Read the hashes that evaluate noted, by path.

    Raises:
        UserError: evaluate has not run, or something else wrote the file.
    """
    content = files.read_json(PROVENANCE, REMEDY)
    if not isinstance(content, dict) or MODEL.as_posix() not in content:
        raise UserError(f"{PROVENANCE.as_posix()}: not what evaluate writes; {REMEDY}")
    return content


def require(*, with_code: bool = True) -> None:
    """Check that the metrics are of the model, the test split and the code that are here.

    Args:
        with_code: whether to look at the code as well. Within the pipeline DVC does.

    Raises:
        UserError: one of them is another, or is missing.
    """
    for name, md5 in read().items():
        path = Path(name)
        if name.startswith(CODE) and not with_code:
            continue
        if not path.is_file() or files.md5(path) != md5:
            what = "is another file now" if path.is_file() else "is missing"
            raise UserError(
                f"{PROVENANCE.as_posix()}: the metrics are of {name} as it was; it {what}: {REMEDY}"
            )


def require_passed() -> None:
    """Check that the gate passed the very model that is here, before it is handed on.

    Raises:
        UserError: it was rejected, not judged, or judged on other files.
    """
    judged = files.read_json(VERDICTS, REMEDY)
    content = judged if isinstance(judged, dict) else {}
    if content.get("passed") is not True:
        raise UserError(
            f"{VERDICTS.as_posix()}: the gate rejected this model, so it goes nowhere; train a "
            "better one"
        )
    files.require_recorded(VERDICTS, DVC_LOCK, REMEDY)
    files.require_recorded(MODEL, DVC_LOCK, "run `dvc repro`")
    require()
    if content.get("provenance") != files.md5(PROVENANCE):
        raise UserError(
            f"{VERDICTS.as_posix()}: the gate's verdict is on other metrics; run `dvc repro gate`"
        )
