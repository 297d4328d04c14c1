"""`make report`: what the last run made, beside the champion, in report/report.md and report.html.

It is written from whatever is there, so that a run that stopped half-way has one as well.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from src.shared import champion, errors, files, pipeline, plots, revisions, slices
from src.shared.champion import Champion
from src.shared.errors import UserError
from src.shared.page import (
    Block,
    Heading,
    Markdown,
    Mood,
    Picture,
    Table,
    code,
    escape,
    say,
    to_html,
    to_markdown,
)
from src.shared.paths import (
    BASELINE,
    DVC_LOCK,
    INTERVALS,
    METRICS,
    PARAMS,
    REPORT,
    SLICES,
    TEST,
    VALIDATION,
    VERDICTS,
)
from src.shared.plots import BASELINE_MODEL, BOUND, RIVAL, RUN, DvcPlot
from src.shared.slices import Slice
from src.shared.verdicts import Verdict, met_by_baseline

MARKDOWN, HTML = REPORT / "report.md", REPORT / "report.html"
SHOWN = 20  # rows of a table that may be long
MANY = 50  # slices


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
    """

    failed: tuple[str, ...] = ()
    where: str = ""
    trained: bool = True
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    verdicts: Path = VERDICTS


def loosened(old: dict[str, Any], new: dict[str, Any]) -> list[Markdown]:
    """List the bounds that are looser than they were.

    Args:
        old: the champion's section `gate`; whatever is not a bound in it is ignored.
        new: this one's.
    """
    found, bounds = [], _bounds(new)
    for (metric, key), was in _bounds(old).items():
        now = bounds.get((metric, key))
        if now is None or (now < was if key == "min" else now > was):
            found.append(
                say(
                    "{} from {} to {}",
                    code(f"gate.{metric}.{key}"),
                    was,
                    "none" if now is None else now,
                )
            )
    for metric in sorted(_rejecting(old) - _rejecting(new)):
        found.append(say("{} from reject to pass", code(f"gate.{metric}.undecided")))
    return found


def _rejecting(gate: Any) -> set[str]:
    """Return the metrics of which a drop that may be chance is rejected."""
    bounds = gate if isinstance(gate, dict) else {}
    return {
        str(metric)
        for metric, bound in bounds.items()
        if isinstance(bound, dict) and bound.get("undecided") == "reject"
    }


def _bounds(gate: Any) -> dict[tuple[str, str], float]:
    return {
        (str(metric), str(key)): value
        for metric, bound in (gate.items() if isinstance(gate, dict) else ())
        for key, value in (bound.items() if isinstance(bound, dict) else ())
        if isinstance(value, int | float)
    }


def changes(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """List the settings that differ, each with its old and new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from changes(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield code(name), _text(old), _text(new)


def _text(value: Any) -> str:
    """Return a value as a cell of a table has it."""
    if value is None:
        return Markdown("-")
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 1e4 or 0 < abs(value) < 1e-3 else f"{value:.4f}"
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _difference(value: Any, was: Any) -> str:
    numbers = all(isinstance(one, int | float) and math.isfinite(one) for one in (value, was))
    return f"{value - was:+.4f}" if numbers else Markdown("-")


def headline(run: Run, verdicts: list[Verdict]) -> Iterator[Block]:
    """Yield the verdict, and why, in one sentence.

    Args:
        run: what is known of the run.
        verdicts: the gate's.
    """
    rejected = [verdict for verdict in verdicts if not verdict.passed]
    if mood(run, verdicts) == "bad":
        where = f" at: {run.where}" if run.where else ""
        yield Heading(f"❌ {'Rejected' if rejected else 'Stopped'}{where}", 1)
        if rejected:
            yield _joined(
                say("{} is {}{}: {}", code(one.metric), _text(one.value), _asked(one), one.reason)
                for one in rejected
            )
        yield from dict.fromkeys(run.failed)
    elif verdicts:
        yield Heading("✅ Passed", 1)
        yield _passed(verdicts)
    else:
        yield Heading("❔ Not judged", 1)
        yield "The gate has not judged this model."
    if not run.trained:
        yield Markdown("**The model was not trained** in this run.")


def mood(run: Run, verdicts: list[Verdict]) -> Mood:
    """Tell whether the run ended well; "open" where nothing is decided."""
    if run.failed or run.where or not all(verdict.passed for verdict in verdicts):
        return "bad"
    return "open" if not verdicts or any(verdict.warning for verdict in verdicts) else "good"


def _joined(texts: Iterable[str], sign: str = "; ") -> Markdown:
    return Markdown(sign.join(map(escape, texts)))


def _passed(verdicts: list[Verdict]) -> Markdown:
    """Say in one sentence which bounds were met, and how the model stands beside the champion."""
    bounds = _joined((say("{} ({})", code(one.metric), _text(one.value)) for one in verdicts), ", ")
    met = "its bound" if len(verdicts) == 1 else f"all {len(verdicts)} bounds"
    told = [say("The model meets {}: {}", met, bounds)]
    drops = [(one.metric, one.drop) for one in verdicts if one.drop and not one.warning]
    if drops:
        against = _joined(
            (say("{} {}", code(name), _gain(-drop.estimate)) for name, drop in drops),
            ", ",
        )
        rows = max(drop.rows for _, drop in drops)
        told.append(say("beside the champion, on {} rows that both tested: {}", rows, against))
    told += [
        say("{} needs a look: {}", code(one.metric), one.warning) for one in verdicts if one.warning
    ]
    return Markdown(f"{_joined(told)}.")


def _gain(gain: float) -> str:
    if gain == 0:
        return "the same"
    return f"{_text(abs(float(gain)))} {'better' if gain > 0 else 'worse'}"


@dataclass(frozen=True)
class Measured:
    """All that is known of the metrics.

    Attributes:
        metrics: what evaluate measured.
        champion: the same of the champion.
        intervals: for each metric its `low` and `high` end, with a `note`.
        baseline: the metrics of a model that does not look at the features.
        verdicts: the gate's.
        allowed: the numbers under `gate` in params.yaml, by metric and key.
    """

    metrics: dict[str, Any]
    champion: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    allowed: dict[tuple[str, str], float] = field(default_factory=dict)


def metric_rows(known: Measured) -> Sequence[tuple[str, ...]]:
    """Return the table of the metrics; those with a bound come first."""
    judged = {verdict.metric: verdict for verdict in known.verdicts}
    rows = []
    for name in dict.fromkeys([*judged, *known.metrics]):
        value, was = known.metrics.get(name), known.champion.get(name)
        rows.append(
            (
                code(name),
                _text(value),
                _interval(known.intervals.get(name, {})),
                _text(known.baseline.get(name)),
                _text(was),
                _difference(value, was),
                _bound(judged.get(name)),
                _word(judged.get(name)),
            )
        )
    return rows


def _bound(verdict: Verdict | None) -> str:
    if not verdict:
        return ""
    limits = (
        ("≥", verdict.min),
        ("≤", verdict.max),
        ("slices ≥", verdict.slice_min),
        ("slices ≤", verdict.slice_max),
    )
    return ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)


def _asked(verdict: Verdict) -> Markdown:
    bound = _bound(verdict)
    return Markdown(f" ({bound})" if bound else "")


def _interval(ends: dict[str, Any]) -> str:
    if ends.get("low") is None:
        return Markdown("-")
    note = f" ({ends['note']})" if ends.get("note") else ""
    return f"{_text(ends['low'])} to {_text(ends['high'])}{note}"


def _word(verdict: Verdict | None) -> str:
    """Return what the gate says of a metric, with the paired drop where there is one."""
    if not verdict:
        return ""
    if not verdict.passed:
        return f"❌ {verdict.reason}"
    if verdict.warning:
        return f"⚠️ {verdict.warning}"
    word = "✅"
    if drop := verdict.drop:
        ends = (_text(0.0 - end) for end in (drop.high, drop.low))  # no negative zero
        word += f" {_gain(-drop.estimate)} ({' to '.join(ends)})"
    return f"{word}, worst slice: {verdict.worst}" if verdict.worst else word


def metric_pictures(known: Measured) -> Iterator[Block]:
    """Yield both models side by side in each metric with a bound, and the paired differences."""
    points: list[dict[str, Any]] = []
    paired: list[dict[str, Any]] = []
    for one in known.verdicts:
        row = {"row": one.metric}
        ends = known.intervals.get(one.metric, {})
        values = {"value": known.metrics.get(one.metric)}
        points.append(
            row | values | {"what": RUN, "low": ends.get("low"), "high": ends.get("high")}
        )
        points.append(row | {"what": RIVAL, "value": known.champion.get(one.metric)})
        points.append(row | {"what": BASELINE_MODEL, "value": known.baseline.get(one.metric)})
        points += [row | {"what": BOUND, "value": limit} for limit in (one.min, one.max)]
        if drop := one.drop:
            gain = {"value": -drop.estimate, "low": -drop.high, "high": -drop.low}
            allowed = known.allowed.get((one.metric, "max_drop"))
            paired.append(row | {"what": RUN} | gain)
            paired.append(row | {"what": RIVAL, "value": 0})
            paired.append(row | {"what": BOUND, "value": None if allowed is None else -allowed})
    for title, x_label, some in (
        ("Metrics with a bound, 95 % interval", "", points),
        ("Difference on the same rows, 90 % interval", "worse ← champion → better", paired),
    ):
        if drawn := [point for point in some if point["value"] is not None]:
            yield Picture(title, plots.draw(plots.rows_of_points(drawn, x_label)))


def slice_blocks(found: Sequence[Slice], verdicts: list[Verdict]) -> Iterator[Block]:
    """Yield each metric with a bound on parts of the test split; nothing where there are none.

    Args:
        found: what evaluate measured.
        verdicts: the gate's.
    """
    if not found:
        return
    yield Heading("Slices")
    judged = {one.metric: one for one in verdicts}
    measured = dict.fromkeys(name for one in found for name in one.metrics)
    names = [name for name in judged if name in measured] or list(measured)[:1]
    for name in names:
        limits = (judged[name].slice_min, judged[name].slice_max) if name in judged else ()
        bound = next((limit for limit in limits if limit is not None), None)
        points = [
            asdict(one.metrics[name]) | {"name": f"{one.name} ({one.rows})", "bound": bound}
            for one in found[:MANY]
            if name in one.metrics
        ]
        drawn = plots.draw(plots.points_by_name(points, f"{name}, 95 % interval"))
        yield Picture(f"{name} in each slice (rows)", drawn)
    rows = [
        (one.name, str(one.rows), *(_of_slice(one, judged.get(name), name) for name in names))
        for one in found[:MANY]
    ]
    yield Table(("slice", "rows", *map(code, names)), rows)
    if any(one.drop and one.drop.slices for one in verdicts):
        yield "After the interval: the difference from the champion on the rows that both tested."


def _of_slice(one: Slice, verdict: Verdict | None, name: str) -> str:
    """Return a metric of a slice with its interval, and the paired difference where it is known."""
    estimate = one.metrics.get(name)
    if estimate is None:
        return "not defined"
    ends = "" if estimate.low is None else f" ({_interval(asdict(estimate))})"
    told = f"{_text(estimate.value)}{ends}"
    drop = verdict.drop.slices.get(one.name) if verdict and verdict.drop else None
    return f"{told}, {_gain(-drop.estimate)}" if drop else told


def validation_blocks(report: dict[str, Any]) -> Iterator[Block]:
    """Yield what validate found: what is wrong, and what is odd."""
    yield Heading("Validation")
    violations, warnings = report.get("violations", []), report.get("warnings", [])
    train, test = report.get("train_rows", "?"), report.get("test_rows", "?")
    counts = f"{len(violations) or 'no'} violations, {len(warnings) or 'no'} warnings"
    yield f"{train} + {test} rows (train + test): {counts}"
    if violations:
        yield _table(("split", "column", "check", "rows", "values"), violations)
    yield from part("Drift", lambda: drift_blocks(report.get("gaps", [])), 3)
    if warnings:
        yield _table(("column", "what", "rows", "values", "remedy"), warnings)


def drift_blocks(gaps: Sequence[dict[str, Any]]) -> Iterator[Block]:
    """Yield how far the columns lie apart in the splits, those closest to what is allowed first.

    Args:
        gaps: of each column its `size` and what is `allowed`, as validate writes them.
    """
    apart = [gap for gap in gaps if gap["what"] == "drift"]
    apart.sort(key=lambda gap: gap["allowed"] - gap["size"])
    if apart:
        most = apart[0]
        sizes = f"{most['size']:.2f}", f"{most['allowed']:.2f}"
        told = say("Drift, closest to its limit: {} {} of {}", code(most["column"]), *sizes)
        shown = f"{SHOWN} of {len(apart)} columns" if len(apart) > SHOWN else "each column"
        drawn = plots.draw(plots.bars_of_gaps(apart[:SHOWN]))
        yield Picture(f"Drift between the splits, {shown}", drawn, [told])


def _table(head: tuple[str, ...], records: Sequence[dict[str, Any]]) -> Table:
    return Table(head, [tuple(_text(one.get(key)) for key in head) for one in records[:SHOWN]])


def plot_blocks(found: Iterable[DvcPlot]) -> Iterator[Block]:
    """Yield the plots that dvc.yaml names and that hold points, and what stands for them in text.

    Args:
        found: what DVC makes of them.
    """
    for plot in found:
        yield from part(plot.title, partial(_plot, plot), 3)


def _plot(plot: DvcPlot) -> Iterator[Block]:
    if plot.problem:
        raise UserError(plot.problem)
    for drawn in plot.pictures:
        svg = drawn if isinstance(drawn, str) else plots.draw(drawn)
        yield Picture(plot.title, svg, list(plots.in_text(plot)))


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if there is none.

    Raises:
        UserError: it is not JSON, or holds no names and values.
    """
    if not path.exists():
        return {}
    content = files.read_json(path, "run `dvc repro -f`")
    if not isinstance(content, dict):
        raise UserError(f"{path.as_posix()}: not what the pipeline writes")
    return content


def part(title: str, make: Callable[[], Iterable[Block]], level: int = 2) -> list[Block]:
    """Return a part of the report; if it cannot be made, its title and why.

    Args:
        title: its heading.
        make: yields its blocks, the heading first.
        level: of the heading.
    """
    try:
        blocks = list(make())
        to_markdown(blocks)  # what is no text shows here
    except Exception as error:  # whatever a file holds: the other parts are worth having
        told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        why = errors.plain(told)[:300]
        return [Heading(title, level), f"⚠️ This part could not be made: {why}"]
    return blocks


def read_verdicts(path: Path) -> list[Verdict]:
    """Read what the gate wrote; nothing if it has not judged.

    Raises:
        UserError: the file is not what the gate writes.
    """
    if not path.exists():
        return []
    try:
        content = files.read_json(path, "run `dvc repro -f gate`")
        return msgspec.convert(content["verdicts"], list[Verdict])
    except (TypeError, KeyError, msgspec.ValidationError):
        raise UserError(f"{path.as_posix()}: not what the gate writes") from None


def compose(revision: str, run: Run) -> tuple[list[Block], Mood]:
    """Return the whole report, as blocks. What is missing or malformed costs its own part only.

    Args:
        revision: the champion's branch or commit.
        run: what is known of the run.
    """
    verdicts: list[Verdict] = []
    notes: list[str] = []
    try:
        verdicts = read_verdicts(run.verdicts)
        told = _read(run.verdicts).get("notes")
        notes = list(map(str, told)) if isinstance(told, list) else []
    except (UserError, OSError) as error:
        run = replace(run, failed=(*run.failed, str(error)))
    rival, unknown = _find_champion(revision)
    settings = partial(_settings, rival, revision)
    commit = rival.commit if rival else ""
    parts = [
        part("❌ Stopped", lambda: headline(run, verdicts), 1),
        run.notes,
        part("What loosens the judgement", lambda: bound_blocks(*settings())),
        part("Metrics", lambda: metric_blocks(rival, unknown, verdicts, notes)),
        part("Plots", lambda: [Heading("Plots"), *plot_blocks(plots.read_plots(commit))]),
        part(
            "Slices", lambda: slice_blocks(slices.read(SLICES) if SLICES.exists() else [], verdicts)
        ),
        part("Validation", lambda: validation_blocks(_read(VALIDATION))),
        part("Parameters", lambda: setting_blocks(*settings())),
        part("Stages", lambda: stage_blocks(run.seconds)),
    ]
    return [block for blocks in parts for block in blocks], mood(run, verdicts)


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


def bound_blocks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Block]:
    """Yield a warning for each bound that is looser than in the champion's settings."""
    found = loosened(old.get("gate", {}), new.get("gate", {}))
    if found:
        yield Heading("What loosens the judgement")
        yield from (say("⚠️ A bound is loosened: {}", what) for what in found)


def metric_blocks(
    rival: Champion | None,
    unknown: str,
    verdicts: list[Verdict],
    notes: Sequence[str] = (),
) -> Iterator[Block]:
    """Yield the metrics beside the champion's.

    Args:
        rival: the champion, if there is one.
        unknown: why nobody knows of one.
        verdicts: the gate's.
        notes: how this model was compared with the champion.
    """
    yield Heading("Metrics")
    if unknown:
        yield f"The champion is not known: {unknown}"
    elif rival is None:
        yield "There is no champion yet: this is the first model."
    else:
        yield say("The champion is the model of commit {}.", code(rival.commit[:10]))
        if notes:
            yield from (f"This model was {note}." for note in notes)
        elif _test_split(revisions.read_yaml_at(rival.place, DVC_LOCK)) != _test_split(
            pipeline.read_lock()
        ):
            yield "It was measured on another test split, so the change is not exact."
    baseline = _read(BASELINE)
    known = Measured(
        _read(METRICS),
        rival.metrics if rival else {},
        _read(INTERVALS),
        baseline,
        verdicts,
        _bounds(_parse(PARAMS).get("gate")) if any(one.drop for one in verdicts) else {},
    )
    yield from part("Both models side by side", lambda: metric_pictures(known), 3)
    head = ("metric", "this run", "95 % interval", "baseline", "champion", "change", "bound")
    yield Table((*head, "verdict"), metric_rows(known))
    yield "Baseline: the best of always the same answer, learned from the train split's target."
    if any(one.drop for one in verdicts):
        yield (
            "Beside a verdict: the difference from the champion on the rows that both tested, with "
            "its 90 % interval; below 0 is worse."
        )
    yield from (f"⚠️ {warning}" for warning in met_by_baseline(verdicts, baseline))


def setting_blocks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Block]:
    """Yield the settings that differ from the champion's."""
    yield Heading("Parameters")
    changed = list(changes(old, new)) if old else []
    yield Table(("setting", "champion", "here"), changed) if changed else "No setting has changed."


def stage_blocks(seconds: dict[str, float]) -> Iterator[Block]:
    """Yield which stages ran, and how long each took."""
    yield Heading("Stages")
    stages = dict.fromkeys([*pipeline.stages_of(pipeline.read_lock()), *seconds])
    rows = [
        (name, "ran" if name in seconds else "not run", _seconds(seconds.get(name)))
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
    blocks, how = compose(revision, run)
    texts = to_markdown(blocks), to_html(blocks, "Report", how)
    with files.replacing(MARKDOWN, HTML) as drafts:
        for draft, text in zip(drafts, texts, strict=True):
            draft.write_bytes(text.encode("utf-8", errors="replace"))
    print(f"{MARKDOWN.as_posix()}\n{HTML.as_posix()}")


def main() -> None:
    """Report on what is here now, beside the main branch."""
    write(revisions.find_main(), Run())


if __name__ == "__main__":
    errors.run(main)
