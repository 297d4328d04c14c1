"""`make report`: what the last run made, beside the champion, in report/report.md and report.html.

It is written from whatever is there, so that a run that stopped half-way has one as well.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from src.shared import champion, errors, files, loosened, pipeline, revisions
from src.shared.champion import Champion
from src.shared.errors import UserError
from src.shared.loosened import Loosened
from src.shared.page import Block, Plot, Table, to_html, to_markdown
from src.shared.paths import (
    BASELINE,
    DVC_LOCK,
    DVC_YAML,
    INTERVALS,
    METRICS,
    PARAMS,
    REPORT,
    TEST,
    VALIDATION,
    VERDICTS,
)
from src.shared.verdicts import Verdict, met_by_baseline

LESS_STRICT, SHOWN = "## ⚠️ Less strict than before", 30
MARKDOWN, HTML = REPORT / "report.md", REPORT / "report.html"


@dataclass(frozen=True)
class Run:
    """What is known of the run besides its files: more on GitHub than on a desk.

    Attributes:
        failed: why it stopped; empty if it did not.
        where: the step that failed.
        trained: whether the pipeline was run to its end.
        notes: what else the reader should know.
        seconds: how long each stage that ran took.
        verdicts: the file with the gate's verdicts.
        loosened: what makes the judgement less strict than main's; None where nobody looked.
    """

    failed: tuple[str, ...] = ()
    where: str = ""
    trained: bool = True
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    verdicts: Path = VERDICTS
    loosened: tuple[Loosened, ...] | None = None


def changes(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """List the settings that differ, each with its old and new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from changes(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"`{name}`", _text(old), _text(new)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 1e4 or 0 < abs(value) < 1e-3 else f"{value:.4f}"
    return "-" if value is None else str(value)


def _difference(value: Any, was: Any) -> str:
    numbers = all(isinstance(one, int | float) and math.isfinite(one) for one in (value, was))
    return f"{value - was:+.4f}" if numbers else "-"


def headline(run: Run, verdicts: list[dict[str, Any]]) -> Iterator[Block]:
    """Yield the verdict, and why.

    Args:
        run: what is known of the run.
        verdicts: the gate's.
    """
    rejected = [
        f"`{verdict['metric']}` is {_text(verdict['value'])}: {verdict['reason']}"
        for verdict in verdicts
        if not verdict["passed"]
    ]
    if rejected or run.failed or run.where:
        where = f" at: {run.where}" if run.where else ""
        yield f"# ❌ {'Rejected' if rejected else 'Stopped'}{where}"
        yield from dict.fromkeys([*rejected, *run.failed])
    elif verdicts:
        yield "# ✅ Passed"
    else:
        yield "# ❔ Not judged"
        yield "The gate has not judged this model."
    if not run.trained:
        yield "**The model was not trained** in this run."


def metric_rows(
    metrics: dict[str, Any],
    champion: dict[str, Any],
    intervals: dict[str, Any],
    verdicts: list[dict[str, Any]],
    baseline: dict[str, Any],
) -> Sequence[tuple[str, ...]]:
    """Return the table of the metrics; those with a bound come first.

    Args:
        metrics: what evaluate measured.
        champion: the same of the champion.
        intervals: for each metric its `low` and `high` end, with a `note`.
        verdicts: the gate's.
        baseline: the metrics of a model that does not look at the features.
    """
    judged = {verdict["metric"]: verdict for verdict in verdicts}
    rows = []
    for name in dict.fromkeys([*judged, *metrics]):
        value, was, ends = metrics.get(name), champion.get(name), intervals.get(name, {})
        verdict = judged.get(name, {})
        bound = [f"{sign} {verdict[key]:g}" for key, sign in (("min", "≥"), ("max", "≤"))
                 if verdict.get(key) is not None]  # fmt: skip
        rows.append(
            (
                f"`{name}`",
                _text(value),
                _interval(ends),
                _text(baseline.get(name)),
                _text(was),
                _difference(value, was),
                ", ".join(bound),
                _word(verdict),
            )
        )
    return rows


def _interval(ends: dict[str, Any]) -> str:
    if ends.get("low") is None:
        return "-"
    note = f" ({ends['note']})" if ends.get("note") else ""
    return f"{_text(ends['low'])} to {_text(ends['high'])}{note}"


def _word(verdict: dict[str, Any]) -> str:
    """Return what the gate says of a metric, with the paired drop where there is one."""
    if not verdict:
        return ""
    if not verdict["passed"]:
        return f"❌ {verdict['reason']}"
    if verdict.get("warning"):
        return f"⚠️ {verdict['warning']}"
    if drop := verdict.get("drop"):
        ends = f"90 % interval {_text(drop['low'])} to {_text(drop['high'])}"
        return f"✅ {_text(drop['estimate'])} worse ({ends}, {drop['rows']} shared rows)"
    return "✅"


def validation_blocks(report: dict[str, Any]) -> Iterator[Block]:
    """Yield what validate found."""
    yield "## Validation"
    violations = report.get("violations", [])
    train, test = report.get("train_rows", "?"), report.get("test_rows", "?")
    yield f"{train} + {test} rows (train + test): {len(violations) or 'no'} violations"
    if violations:
        head = ("split", "column", "check", "rows", "values")
        yield Table(head, [tuple(_text(one.get(key)) for key in head) for one in violations[:20]])


def plot_blocks(declared: Sequence[Any]) -> Iterator[Block]:
    """Yield the plots that dvc.yaml names and that hold points: pictures, or tables of text.

    Args:
        declared: what dvc.yaml holds under `plots`. An entry without `x` and `y` is left to DVC.
    """
    entries = (pair for entry in declared if isinstance(entry, dict) for pair in entry.items())
    for path, how in entries:
        if isinstance(how, dict) and {"x", "y"} <= how.keys():
            yield from part(f"**{path}**", partial(_plot, Path(path), how))


def _plot(path: Path, how: dict[str, Any]) -> Iterator[Block]:
    points = [(row.get(how["x"]), row.get(how["y"])) for row in _read(path).get(path.stem, [])]
    yield from draw(how, [point for point in points if None not in point])


def draw(how: dict[str, Any], points: list[tuple[Any, Any]]) -> Iterator[Block]:
    """Yield a plot of numbers, or a table: of counts for a confusion matrix, of what is text.

    Args:
        how: the template, the title and the labels, as dvc.yaml has them.
        points: x and y of each.
    """
    template, x_label, y_label = how.get("template"), *(how.get(f"{x}_label", how[x]) for x in "xy")
    title = how.get("title", y_label)
    if not points:
        return
    if str(template).startswith("confusion"):
        counts = Counter(points)
        rows, columns = (sorted({pair[at] for pair in counts}, key=str) for at in (0, 1))
        head = (f"{x_label} / {y_label}", *(str(column) for column in columns))
        body = [(str(x), *(str(counts[x, y]) for y in columns)) for x in rows]
        yield f"**{title}**"
        yield Table(head, body)
    elif any(isinstance(value, str) for point in points for value in point):
        yield f"**{title}**"
        yield Table((y_label, x_label), [(_text(y), _text(x)) for x, y in points])
    else:
        dots = template == "scatter"
        curve = points if dots else sorted(points, key=lambda point: point[0])
        yield Plot(title, x_label, y_label, curve, dots)


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if there is none.

    Raises:
        UserError: it is not JSON, or holds neither names and values nor a list.
    """
    if not path.exists():
        return {}
    content = files.read_json(path, "run `dvc repro -f`")
    if isinstance(content, list):  # what DVCLive writes for a plot
        return {path.stem: content}
    if not isinstance(content, dict):
        raise UserError(f"{path.as_posix()}: not what the pipeline writes")
    return content


def part(title: str, make: Callable[[], Iterable[Block]]) -> list[Block]:
    """Return a part of the report; if it cannot be made, its title and why.

    Args:
        title: its heading.
        make: yields its blocks, the heading first.
    """
    try:
        blocks = list(make())
        to_markdown(blocks), to_html(blocks)  # a plot may hold what cannot be drawn
    except Exception as error:  # whatever a file holds: the other parts are worth having
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return [title, f"⚠️ This part could not be made: {errors.plain(why)[:300]}"]
    return blocks


def read_verdicts(path: Path) -> list[dict[str, Any]]:
    """Read what the gate wrote; nothing if it has not judged.

    Raises:
        UserError: the file is not what the gate writes.
    """
    if not path.exists():
        return []
    try:
        content = files.read_json(path, "run `dvc repro -f gate`")
        judged: list[dict[str, Any]] = content["verdicts"]
        msgspec.convert(judged, list[Verdict])
    except (TypeError, KeyError, msgspec.ValidationError):
        raise UserError(f"{path.as_posix()}: not what the gate writes") from None
    return judged


def compose(revision: str, run: Run) -> Iterator[Block]:
    """Yield the whole report, as blocks. Whatever is missing or malformed costs its own part only.

    Args:
        revision: the champion's branch or commit.
        run: what is known of the run.
    """
    try:
        verdicts = read_verdicts(run.verdicts)
        told = _read(run.verdicts).get("notes") if verdicts else []
    except (UserError, OSError) as error:
        verdicts, told, run = [], [], replace(run, failed=(*run.failed, str(error)))
    notes = told if isinstance(told, list) else []
    rival, unknown = _find_champion(revision)
    settings = partial(_settings, rival, revision)
    yield from part("# ❌ Stopped", lambda: headline(run, verdicts))
    yield from part(LESS_STRICT, lambda: loosened_blocks(_loosened(run, settings)))
    yield from run.notes
    yield from part("## Metrics", lambda: metric_blocks(rival, unknown, verdicts, notes))
    yield from part(
        "## Plots", lambda: ["## Plots", *plot_blocks(_parse(DVC_YAML).get("plots", []))]
    )
    yield from part("## Validation", lambda: validation_blocks(_read(VALIDATION)))
    yield from part("## Parameters", lambda: setting_blocks(*settings()))
    yield from part("## Stages", lambda: stage_blocks(run.seconds))


def _loosened(run: Run, settings: Callable[[], Sequence[dict[str, Any]]]) -> Sequence[Loosened]:
    """Return what the workflow has found; on a desk the settings alone are compared."""
    return loosened.settings(*settings()) if run.loosened is None else run.loosened


def _find_champion(revision: str) -> tuple[Champion | None, str]:
    """Return the champion if there is one, and why that is not known, if so."""
    try:
        return champion.find(revision), ""
    except Exception as error:  # whatever its commits hold
        return None, str(error) or type(error).__name__


def _settings(rival: Champion | None, revision: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the champion, or else of the revision, and those of this run."""
    if rival:
        return revisions.read_yaml_at(rival.place, PARAMS), _parse(PARAMS)
    return revisions.read_yaml(revision, PARAMS.as_posix()), _parse(PARAMS)


def _parse(path: Path) -> dict[str, Any]:
    """Read a YAML file.

    Raises:
        UserError: it is missing, or is not a mapping.
    """
    try:
        content = revisions.parse_yaml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        content = {}
    if not content:
        raise UserError(f"{path.as_posix()}: missing, or not YAML with keys")
    return content


def loosened_blocks(found: Sequence[Loosened]) -> Iterator[Block]:
    """Yield what makes the judgement less strict, what needs a reason first."""
    if not found:
        return
    yield LESS_STRICT
    rows = [
        (
            f"`{one.what}`",
            one.role or f"{one.was} → {one.now}",
            one.reason or ("❌ needs a reason" if one.needs_reason else ""),
        )
        for one in found[:SHOWN]
    ]
    yield Table(("what", "how", "reason"), rows)
    if len(found) > SHOWN:
        yield f"... and {len(found) - SHOWN} more"


def metric_blocks(
    rival: Champion | None,
    unknown: str,
    verdicts: list[dict[str, Any]],
    notes: Sequence[str] = (),
) -> Iterator[Block]:
    """Yield the metrics beside the champion's.

    Args:
        rival: the champion, if there is one.
        unknown: why nobody knows of one.
        verdicts: the gate's.
        notes: how this model was compared with the champion.
    """
    yield "## Metrics"
    if unknown:
        yield f"The champion is not known: {unknown}"
    elif rival is None:
        yield "There is no champion yet: this is the first model."
    elif notes:
        yield from (f"This model was {note}." for note in notes)
    elif _test_split(revisions.read_yaml_at(rival.place, DVC_LOCK)) != _test_split(
        pipeline.read_lock()
    ):
        yield "The champion was measured on another test split, so the change is not exact."
    head = ("metric", "this run", "95 % interval", "baseline", "champion", "change", "bound")
    before = rival.metrics if rival else {}
    baseline = _read(BASELINE)
    rows = metric_rows(_read(METRICS), before, _read(INTERVALS), verdicts, baseline)
    yield Table((*head, "verdict"), rows)
    yield "Baseline: the best of always the same answer, learned from the train split's target."
    judged = msgspec.convert(verdicts, list[Verdict])
    yield from (f"⚠️ {warning}" for warning in met_by_baseline(judged, baseline))


def setting_blocks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Block]:
    """Yield the settings that differ from the champion's."""
    yield "## Parameters"
    changed = list(changes(old, new)) if old else []
    yield Table(("setting", "champion", "here"), changed) if changed else "No setting has changed."


def stage_blocks(seconds: dict[str, float]) -> Iterator[Block]:
    """Yield which stages ran, and how long each took."""
    yield "## Stages"
    stages = dict.fromkeys([*pipeline.stages_of(pipeline.read_lock()), *seconds])
    rows = [
        (name, "ran" if name in seconds else "unchanged", _seconds(seconds.get(name)))
        for name in stages
    ]
    yield Table(("stage", "in this run", "seconds"), rows)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _test_split(locked: dict[str, Any]) -> str | None:
    stage = pipeline.stages_of(locked).get("evaluate")
    return stage.deps.get(TEST.as_posix()) if stage else None


def write(revision: str, run: Run) -> None:
    """Write the report as Markdown and as HTML.

    Args:
        revision: the champion's branch or commit.
        run: what is known of the run.
    """
    blocks = list(compose(revision, run))
    with files.replacing(MARKDOWN, HTML) as drafts:
        for draft, text in zip(drafts, (to_markdown(blocks), to_html(blocks)), strict=True):
            draft.write_text(text, encoding="utf-8", newline="\n")
    print(f"{MARKDOWN.as_posix()}\n{HTML.as_posix()}")


def main() -> None:
    """Report on what is here now, beside the main branch."""
    write(revisions.find_main(), Run())


if __name__ == "__main__":
    errors.run(main)
