"""The sections of the report: what the pipeline wrote, as headings, tables and pictures."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from src.shared import errors, pipeline, plots
from src.shared.bounds import bounds_in_words
from src.shared.errors import UserError
from src.shared.loosened import Loosened
from src.shared.page import Block, Heading, Markdown, Picture, Table, code, say, to_markdown
from src.shared.plots import BASELINE_MODEL, BOUND, RIVAL, RUN, DvcPlot
from src.shared.slices import Slice
from src.shared.verdicts import Verdict
from src.shared.wording import counted

SHOWN = 20  # rows of a table that may be long
MANY = 50  # slices, or what is less strict
LESS_STRICT = "⚠️ Less strict than before"


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


def changes(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, str, str]]:
    """List the settings that differ, each with its old and new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from changes(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield code(name), text_of(old), text_of(new)


def text_of(value: Any) -> str:
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


def gain_of(gain: float) -> str:
    """Say how much better or worse a metric is; above 0 is better."""
    if gain == 0:
        return "the same"
    return f"{text_of(abs(float(gain)))} {'better' if gain > 0 else 'worse'}"


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
                text_of(value),
                _interval(known.intervals.get(name, {})),
                text_of(known.baseline.get(name)),
                text_of(was),
                _difference(value, was),
                bound_of(judged.get(name)),
                _word(judged.get(name)),
            )
        )
    return rows


def bound_of(verdict: Verdict | None) -> str:
    """Say what a metric must reach; empty where it has no bound."""
    return bounds_in_words(vars(verdict)) if verdict else ""


def _interval(ends: dict[str, Any]) -> str:
    if ends.get("low") is None:
        return Markdown("-")
    note = f" ({ends['note']})" if ends.get("note") else ""
    return f"{text_of(ends['low'])} to {text_of(ends['high'])}{note}"


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
        ends = (text_of(0.0 - end) for end in (drop.high, drop.low))  # no negative zero
        word += f" {gain_of(-drop.estimate)} ({' to '.join(ends)})"
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


def search_blocks(tried: Sequence[Mapping[str, str]]) -> Iterator[Block]:
    """Yield what a search chose, of how many candidates, and what that means; nothing without one.

    Args:
        tried: the rows of the table of candidates.
    """
    chosen = next((row for row in tried if row["chosen"] == "True"), None)
    if chosen is None:
        return
    yield Heading("Search")
    parameters = ", ".join(
        f"{name.removeprefix('param_')}={value}"
        for name, value in chosen.items()
        if name.startswith("param_") and value
    )
    yield say(
        "The search picked {} as the best of {} candidates by their mean score ({}) on training "
        "rows only. The best of many is partly luck, so that score is too good: cross-validation "
        "of the whole search, and the test split above, say how good the model is.",
        code(parameters),
        len(tried),
        chosen["mean"],
    )
    failed = [row["failed"] for row in tried if row["failed"]]
    if failed:
        yield say("{} of them failed, the first: {}", len(failed), failed[0])


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
    told = f"{text_of(estimate.value)}{ends}"
    drop = verdict.drop.slices.get(one.name) if verdict and verdict.drop else None
    return f"{told}, {gain_of(-drop.estimate)}" if drop else told


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


def validation_blocks(report: dict[str, Any]) -> Iterator[Block]:
    """Yield what validate found: what is wrong, and what is odd."""
    yield Heading("Validation")
    violations, warnings = report.get("violations", []), report.get("warnings", [])
    train, test = report.get("train_rows", "?"), report.get("test_rows", "?")
    counts = ", ".join(
        counted(len(them), what) if them else f"no {what}s"
        for them, what in ((violations, "violation"), (warnings, "warning"))
    )
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
    return Table(head, [tuple(text_of(one.get(key)) for key in head) for one in records[:SHOWN]])


def loosened_blocks(found: Sequence[Loosened]) -> Iterator[Block]:
    """Yield what makes the judgement less strict, with its reason; nothing where nothing does."""
    if found:
        yield Heading(LESS_STRICT)
        rows = [
            (
                code(one.what),
                one.role or f"{one.was} → {one.now}",
                one.reason or ("❌ needs a reason" if one.needs_reason else ""),
            )
            for one in found[:MANY]
        ]
        yield Table(("what", "how", "reason"), rows)
        if len(found) > MANY:
            yield f"and {len(found) - MANY} more"


def bounds_of(gate: Any) -> dict[tuple[str, str], float]:
    """Return the numbers of a section `gate`, by metric and key; what is no number is left out."""
    return {
        (str(metric), str(key)): value
        for metric, bound in (gate.items() if isinstance(gate, dict) else ())
        for key, value in (bound.items() if isinstance(bound, dict) else ())
        if isinstance(value, int | float)
    }


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
