"""The comparison as a page: the verdict, what was found, and the windows over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from src.monitoring.windows import FOUND, UNDECIDED, WELL, Finding, Window
from src.shared import plots
from src.shared.page import Block, Heading, Markdown, Mood, Picture, Table, code, say
from src.shared.wording import counted

SHOWN = 12  # columns that are drawn, those closest to what is allowed
MANY = 50  # findings that are listed
MOODS: dict[str, Mood] = {FOUND: "bad", WELL: "good", UNDECIDED: "open"}
SIGNS = {FOUND: "❌ found", WELL: "✅ nothing found", UNDECIDED: "❔ undecided"}
KINDS = {
    "metric": "worse",
    "label": "unknown labels",
    "drift": "drift",
    "unseen": "new values",
    "missing": "missing values",
    "schema": "breaks the schema",
    "refused": "refused requests",
    "volume": "number of rows",
}


@dataclass(frozen=True)
class Found:
    """Something that is wrong, in one window or several.

    Attributes:
        latest: as the latest of these windows has it.
        windows: in which it was found.
    """

    latest: Finding
    windows: list[Window]


@dataclass(frozen=True)
class Comparison:
    """All that is said of a record.

    Attributes:
        model: the hash of the model that is here.
        windows: those that are over, in their order.
        notes: what the reader should know besides.
    """

    model: str
    windows: list[Window]
    notes: list[str]

    @property
    def verdict(self) -> str:
        """Found, if anything was in any window; undecided, if none could be judged."""
        states = {window.status for window in self.windows}
        return next((one for one in (FOUND, WELL) if one in states), UNDECIDED)

    @property
    def status(self) -> int:
        """The exit status: 0 nothing found, 1 found, 2 undecided."""
        return [WELL, FOUND, UNDECIDED].index(self.verdict)

    @property
    def findings(self) -> list[Found]:
        """What was found, each thing once, what is still so first."""
        places: dict[tuple[str, str], list[tuple[Finding, Window]]] = {}
        for window in self.windows:
            for one in window.findings:
                places.setdefault((one.kind, one.column), []).append((one, window))
        found = [Found(some[-1][0], [window for _, window in some]) for some in places.values()]
        order = list(KINDS)
        found.sort(key=lambda one: order.index(one.latest.kind))
        return sorted(found, key=lambda one: one.windows[-1].start, reverse=True)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON has it."""
    windows = comparison.windows
    return {
        "verdict": comparison.verdict,
        "status": comparison.status,
        "model": comparison.model,
        "since": windows[0].start.isoformat() if windows else None,
        "until": windows[-1].end.isoformat() if windows else None,
        "rows": sum(window.rows for window in windows),
        "windows": [
            {
                "from": one.start.isoformat(),
                "until": one.end.isoformat(),
                "rows": one.rows,
                "status": one.status,
                "labelled": bool(one.metrics),
                "findings": len(one.findings),
            }
            for one in windows
        ],
        "findings": [
            {
                "kind": one.latest.kind,
                "column": one.latest.column,
                "text": one.latest.text,
                "windows": [window.start.isoformat() for window in one.windows],
            }
            for one in comparison.findings
        ],
        "notes": comparison.notes,
    }


def compose(comparison: Comparison) -> Iterator[Block]:
    """Yield the whole page."""
    yield from headline(comparison)
    yield from found_blocks(comparison.findings, len(comparison.windows))
    yield from metric_blocks(comparison.windows)
    yield from drift_blocks(comparison.windows)
    yield from window_blocks(comparison)


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield what the terminal shows."""
    for window in comparison.windows:
        yield f"{told(window)}  {window.rows:>9,} rows  {window.status}"
    for one in comparison.findings:
        what = ": ".join(filter(None, [one.latest.column, KINDS[one.latest.kind]]))
        yield f"{what}: {one.latest.text} ({told(one.windows[-1])})"
    yield from comparison.notes
    yield f"monitor: {comparison.verdict.upper() if comparison.status else comparison.verdict}"


def headline(comparison: Comparison) -> Iterator[Block]:
    """Yield the verdict in a heading, and on what it stands in a sentence."""
    windows, model = comparison.windows, code(comparison.model[:12])
    headings = {FOUND: "❌ Something is wrong", WELL: "✅ Nothing found", UNDECIDED: "❔ Undecided"}
    yield Heading(headings[comparison.verdict], 1)
    if not windows:
        yield say(
            "There is no window with rows that is over, so nothing says how the model {} does.",
            model,
        )
        return
    rows, judged = sum(one.rows for one in windows), sum(one.judged for one in windows)
    span = f"from {told(windows[0])} to {told(windows[-1])}"
    yield say(
        "The model {} answered {} rows in {}, {}; {} of these had enough rows to be judged.",
        *(model, f"{rows:,}", counted(len(windows), "window"), span, judged or "none"),
    )


def told(window: Window) -> str:
    """Return when a window began; the hour only where windows are shorter than a day or shifted."""
    whole = window.start.hour == window.end.hour == 0
    return f"{window.start:%Y-%m-%d}" if whole else f"{window.start:%Y-%m-%d %H:%M}"


def found_blocks(found: Sequence[Found], windows: int) -> Iterator[Block]:
    """Yield a table of what was found; nothing where nothing was."""
    if not found:
        return
    yield Heading("Found")
    rows = [
        (
            code(one.latest.column) if one.latest.column else Markdown("-"),
            KINDS[one.latest.kind],
            one.latest.text,
            f"{len(one.windows)} of {windows}",
            told(one.windows[-1]),
        )
        for one in found[:MANY]
    ]
    yield Table(("column", "what", "in the latest window that has it", "windows", "latest"), rows)
    if len(found) > MANY:
        yield f"and {len(found) - MANY} more"


def metric_blocks(windows: Sequence[Window]) -> Iterator[Block]:
    """Yield the metrics over time; nothing where no window has enough labels."""
    points: dict[str, list[dict[str, Any]]] = {}
    for window in windows:
        for one in window.metrics:
            ends = {"low": one.now.low, "high": one.now.high, "bound": one.bound}
            point = {"time": window.start.isoformat(), "value": one.now.value} | ends
            name = f"{one.metric} where {one.slice}" if one.slice else one.metric
            points.setdefault(name, []).append(point | {"found": bool(one.wrong)})
    if not points:
        return
    yield Heading("Metrics")
    for name in list(points)[:SHOWN]:
        yield Picture(f"{name}, 95 % interval", plots.draw(plots.over_time(points[name])))
    whole = [one for window in windows for one in window.metrics if not one.slice]
    names = dict.fromkeys(one.metric for one in whole)
    rows = [
        (told(window), f"{window.metrics[0].rows:,}", *(_of(window, name) for name in names))
        for window in windows
        if window.metrics
    ]
    yield Table(("from (UTC)", "labelled rows", *map(code, names)), rows)
    yield "In brackets: the 95 % interval."


def _of(window: Window, metric: str) -> str:
    """Return a metric of all labelled rows of a window, with its interval."""
    found = [one.now for one in window.metrics if one.metric == metric and not one.slice]
    if not found:
        return Markdown("-")
    value, low, high = found[0].value, found[0].low, found[0].high
    return f"{value:.4f}" if low is None else f"{value:.4f} ({low:.4f} to {high:.4f})"


def drift_blocks(windows: Sequence[Window]) -> Iterator[Block]:
    """Yield the drift of the columns over time, of those closest to what is allowed."""
    points: dict[str, list[dict[str, Any]]] = {}
    for window in windows:
        surely = {(one.kind, one.column) for one in window.findings}
        for gap in window.gaps:
            if gap.kind == "drift":
                size, wrong = gap.measured.size, ("drift", gap.column) in surely
                point = {"time": window.start.isoformat(), "value": size, "bound": gap.allowed}
                points.setdefault(gap.column, []).append(point | {"found": wrong})
    if not points:
        return
    yield Heading("Drift")
    yield (
        "How far each column lies from training in each window, 0 to 1. In red, or in bold where "
        "there are no pictures: more than is allowed, and more than chance."
    )
    names = sorted(points, key=lambda name: -max(one["value"] for one in points[name]))
    for name in names[:SHOWN]:
        signs = ((f"{one['value']:.2f}", "**" if one["found"] else "") for one in points[name])
        sizes = Markdown(", ".join(f"{sign}{size}{sign}" for size, sign in signs))
        line = say("{}: {}", code(name), sizes)
        yield Picture(name, plots.draw(plots.over_time(points[name])), [line])
    if len(names) > SHOWN:
        yield f"{SHOWN} of {len(names)} columns, those that lie furthest from training."


def window_blocks(comparison: Comparison) -> Iterator[Block]:
    """Yield a table of the windows, and what else is to be known."""
    yield Heading("Windows")
    rows = [
        (told(one), f"{one.rows:,}", SIGNS[one.status], counted(len(one.findings), "finding"))
        for one in comparison.windows
    ]
    if rows:
        yield Table(("from (UTC)", "rows", "verdict", "findings"), rows)
    yield from comparison.notes
