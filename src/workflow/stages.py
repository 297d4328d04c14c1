"""The five stages that a verdict rests on: they must be there, and run, before it counts."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from src.shared import files, revisions
from src.shared.errors import UserError
from src.shared.paths import (
    DVC_YAML,
    EVALUATION,
    METRICS,
    MODEL,
    PREDICTIONS,
    PROVENANCE,
    SIDECAR,
    TEST,
    TRAIN,
    TRAINING,
    VALIDATION,
    VERDICTS,
)
from src.shared.pipeline import OUTPUTS, path_of

# What each of them makes. Stages of one's own may come beside them.
MADE: dict[str, tuple[Path, ...]] = {
    "prepare": (TRAIN, TEST),
    "validate": (VALIDATION,),
    "train": (MODEL, SIDECAR),
    "evaluate": (METRICS, PREDICTIONS, PROVENANCE),
    "gate": (VERDICTS,),
}
# The folders with what else they note.
BESIDES = {"train": (TRAINING,), "evaluate": (EVALUATION,)}

# Git holds what these make. It counts only as a run has made it, so they always run.
JUDGING = ("validate", "evaluate", "gate")
# What these make lasts, where main has made the same.
LASTING = ("prepare", "train")

# Keys of a stage that let it run elsewhere, more than once, or not at all.
REFUSED = ("frozen", "wdir", "matrix", "foreach", "do")


def require(path: Path = DVC_YAML) -> None:
    """Check that dvc.yaml runs the five stages, each by its own command.

    Raises:
        UserError: one of them is missing, frozen, or runs something else.
    """
    found = revisions.parse_yaml(path.read_text("utf-8")).get("stages")
    stages = found if isinstance(found, dict) else {}
    problems = [problem for name in MADE for problem in _problems(name, stages.get(name))]
    if problems:
        raise UserError(f"{path.as_posix()}: {'; '.join(problems)}; put it back as main has it")


def _problems(name: str, stage: Any) -> Iterator[str]:
    if not isinstance(stage, dict):
        yield f"there is no stage {name}"
        return
    yield from (f"the stage {name} has the key {key}" for key in REFUSED if stage.get(key))
    command = f"python -m src.{name}"
    if stage.get("cmd") != command:
        yield f"the stage {name} must run `{command}`"
    entries = [entry for kind in OUTPUTS for entry in stage.get(kind) or ()]
    made = {path_of(entry) for entry in entries}
    for path in MADE[name]:
        if path.as_posix() not in made:
            yield f"the stage {name} must make {path.as_posix()}"


def remove_results(names: Iterable[str]) -> None:
    """Remove what these stages make, so that only what this run makes can be there afterwards."""
    for name in names:
        for path in (*MADE.get(name, ()), *BESIDES.get(name, ())):
            files.remove(path)
