"""`make card`: the model's card beside the model, models/README.md, in Hugging Face's form.

It says what the model is, what it was trained and tested on, how good it is and where its limits
are, from what the pipeline wrote. It needs only Python, as an image is built without the packages.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.shared import errors, files, sidecar, wording
from src.shared.bounds import bounds_in_words
from src.shared.errors import UserError, plain
from src.shared.page import Block, Heading, Table, code, fenced, say, to_markdown
from src.shared.paths import (
    BASELINE,
    CARD,
    INTERVALS,
    METRICS,
    MODEL,
    SIDECAR,
    SLICES,
    TRAINING,
    VALIDATION,
    VERDICTS,
)
from src.shared.sidecar import Sidecar

PROJECT = Path("pyproject.toml")
SHOWN = 30  # features, classes or warnings of a list that may be long


def head(known: Sidecar, project: dict[str, Any], metrics: dict[str, float]) -> dict[str, Any]:
    """Return what machines read, as Hugging Face names it.

    Args:
        known: the model's sidecar.
        project: the section of pyproject.toml.
        metrics: what evaluate measured.
    """
    kind = "regression" if known.task == "regression" else "classification"
    licence = str(project.get("license", "")).lower()
    results = [{"type": name, "name": name, "value": value} for name, value in metrics.items()]
    return {
        "license": "other" if not licence or licence.startswith("licenseref") else licence,
        "library_name": "sklearn",
        "pipeline_tag": f"tabular-{kind}",
        "tags": [f"tabular-{kind}", "dvc"],
        "metrics": list(metrics),
        "model-index": [
            {
                "name": project.get("name", "model"),
                "results": [
                    {
                        "task": {"type": f"tabular-{kind}", "name": f"predict {known.target}"},
                        "dataset": {"type": "test-split", "name": "test split", "split": "test"},
                        "metrics": results,
                    }
                ],
            }
        ],
    }


def to_yaml(content: dict[str, Any]) -> str:
    """Return YAML with a line for each key; what JSON writes is YAML, too."""
    lines = [
        plain(f"{key}: {json.dumps(value, ensure_ascii=False)}") for key, value in content.items()
    ]
    return "\n".join(["---", *lines, "---"])


def details(known: Sidecar) -> Iterator[Block]:
    """Yield what the model is and what it takes."""
    yield Heading("Model details")
    rows = [
        ("task", known.task),
        ("predicts", code(known.target)),
        *([("positive class", code(known.positive))] if known.positive is not None else []),
        *([("classes", _listed(map(str, known.classes)))] if known.classes else []),
        ("estimator", code(known.estimator)),
        ("packages", ", ".join(f"{name} {version}" for name, version in known.versions.items())),
        (f"SHA-256 of {known.model.file}", code(known.model.sha256)),
    ]
    yield Table(("", ""), rows)
    yield Heading("What it takes", 3)
    features = [(code(one.name), one.kind) for one in known.features[:SHOWN]]
    yield Table(("column", "kind"), features)
    if len(known.features) > SHOWN:
        yield f"and {len(known.features) - SHOWN} more, all in {SIDECAR.name}."


def uses(known: Sidecar) -> Iterator[Block]:
    """Yield how to use it, and for what not to."""
    yield Heading("Uses")
    yield say(
        "For rows like those that it was trained on: with the same columns, of the same origin, to "
        "predict {} before it is known. It is no proof of what causes what.",
        code(known.target),
    )
    yield "In the project's root folder; unpickle no file whose SHA-256 is another one:"
    yield fenced(
        "import joblib\nimport pandas\n\n"
        f"model = joblib.load({MODEL.as_posix()!r})\n"
        f"model.predict(pandas.DataFrame([{known.example.row!r}]))",
        "python",
    )
    yield say("This row of the train split gives {}.", json.dumps(known.example.answer))


def training(known: Sidecar, validation: dict[str, Any], parameters: str) -> Iterator[Block]:
    """Yield what it was trained on, and how."""
    yield Heading("Training")
    yield wording.of_sample(known.rows)
    yield f"The train split: {validation.get('train_rows', '?')} rows, of these files:"
    yield Table(("file", "SHA-256"), [(code(name), code(one)) for name, one in known.data.items()])
    if parameters:
        yield fenced(parameters, "yaml")


def evaluation(
    metrics: dict[str, float],
    intervals: dict[str, Any],
    baseline: dict[str, Any],
    verdicts: list[dict[str, Any]],
    rows: object,
) -> Iterator[Block]:
    """Yield how good it is on rows that it was not trained on."""
    yield Heading("Evaluation")
    yield f"On the {rows} rows of the test split, which it was not trained on."
    bounds = {one.get("metric"): bounds_in_words(one) for one in verdicts}
    yield Table(
        ("metric", "value", "95 % interval", "baseline", "bound of the gate"),
        [
            (
                code(name),
                f"{value:.4g}",
                _interval(intervals.get(name, {})),
                f"{baseline[name]:.4g}" if name in baseline else "",
                bounds.get(name, ""),
            )
            for name, value in metrics.items()
        ],
    )
    yield "Baseline: the best of always the same answer, learned from the train split's target."
    yield wording.of_sets(one.get("method") for one in intervals.values())


def slice_blocks(slices: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> Iterator[Block]:
    """Yield the metrics with a bound on parts of the test split; nothing where there are none."""
    if not slices:
        return
    yield Heading("Slices of the test split", 3)
    names = [one["metric"] for one in verdicts] or list(slices[0]["metrics"])[:1]
    rows = [
        (one["name"], str(one["rows"]), *(_estimate(one["metrics"].get(name)) for name in names))
        for one in slices
    ]
    yield Table(("slice", "rows", *map(code, names)), rows)


def _estimate(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not defined"
    ends = _interval(found)
    return f"{found['value']:.4g} ({ends})" if ends else f"{found['value']:.4g}"


def _interval(ends: dict[str, Any]) -> str:
    if ends.get("low") is None or ends.get("high") is None:
        return ""
    return f"{ends['low']:.4g} to {ends['high']:.4g}"


def limits(known: Sidecar, validation: dict[str, Any]) -> Iterator[Block]:
    """Yield what it cannot do, as far as the pipeline knows."""
    yield Heading("Bias, risks and limitations")
    yield (
        f"It was tested on {validation.get('test_rows', '?')} rows of one data set; the intervals "
        "say how far chance moves its figures there. Rows of another time or place may differ more."
    )
    if known.categories:
        names = _listed(known.categories)
        yield f"Texts that training did not have tell it nothing in these columns: {names}."
    gaps = [one for one in validation.get("gaps", []) if one["what"] == "drift"]
    if gaps:
        most = max(gaps, key=lambda one: float(one["size"]))
        yield say(
            "Its train and test rows differ most in {} (gap {} on a scale from 0 to 1).",
            code(most["column"]),
            f"{most['size']:.2f}",
        )
    if warnings := validation.get("warnings", []):
        yield "What is odd about the data:"
        keys = ("column", "what", "rows", "values")
        rows = [[str(one.get(key, "")) for key in keys] for one in warnings[:SHOWN]]
        yield Table(keys, rows)


def _listed(names: Any) -> str:
    names = list(names)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def compose() -> str:
    """Return the card, from what the pipeline wrote.

    Raises:
        UserError: there is no model, or what describes it is not what the pipeline writes.
    """
    known = sidecar.read(SIDECAR)
    metrics, intervals, baseline, validation, gate = (
        _read(path, {}) for path in (METRICS, INTERVALS, BASELINE, VALIDATION, VERDICTS)
    )
    slices: list[dict[str, Any]] = _read(SLICES, [])
    parameters = TRAINING / "params.yaml"
    settings = parameters.read_text(encoding="utf-8") if parameters.exists() else ""
    try:
        about = PROJECT.read_text(encoding="utf-8") if PROJECT.exists() else ""
        project: dict[str, Any] = tomllib.loads(about).get("project", {})
        verdicts = gate.get("verdicts", [])
        blocks: list[Block] = [
            Heading(f"Model card of {project.get('name', 'the model')}", 1),
            str(project.get("description", "")),
            *details(known),
            *uses(known),
            *training(known, validation, settings),
            *evaluation(metrics, intervals, baseline, verdicts, validation.get("test_rows", "?")),
            *slice_blocks(slices, verdicts),
            *limits(known, validation),
        ]
        return f"{to_yaml(head(known, project, metrics))}\n\n{to_markdown(filter(None, blocks))}"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"metrics/ or {PROJECT}: not what was expected ({error}); run `dvc repro -f`"
        ) from None


def _read(path: Path, empty: Any) -> Any:
    """Read what a stage wrote; `empty` where it is missing, but for the metrics."""
    if not path.exists() and path != METRICS:
        return empty
    remedy = "run `dvc repro -f`"
    content = files.read_json(path, remedy)
    if not isinstance(content, type(empty)):
        raise UserError(f"{path.as_posix()}: not what the pipeline writes; {remedy}")
    return content


def write() -> None:
    """Write the card beside the model."""
    text = compose()
    with files.replacing(CARD) as (draft,):
        draft.write_bytes(text.encode("utf-8", errors="replace"))


def main() -> None:
    """Write the card and say where it is."""
    write()
    print(CARD.as_posix())


if __name__ == "__main__":
    errors.run(main)
