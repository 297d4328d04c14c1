"""The report of a run: one text for the job's summary, the pull request and the desk.

It is written from whatever is there, so that a run that stopped half-way has one as well.
"""

import html
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import base, findings, gate, lock, remote

MARKDOWN, HTML = findings.FOLDER / "report.md", findings.FOLDER / "report.html"
PLOTS = Path("metrics/evaluate/plots/custom")
TEST = "data/prepared/test.parquet"

# The steps of the workflow, by their ids.
STEPS = {
    "environment": "environment",
    "lint": "lint, format and types",
    "unit": "unit tests",
    "source": "where the data comes from",
    "pull": "dvc pull",
    "validation": "data validation",
    "smoke": "smoke model",
    "repro": "dvc repro",
    "gate": "metrics check",
    "lock": "dvc.lock and metrics in Git",
    "push": "dvc push",
}

GRID, BINS = 41, 21


@dataclass(frozen=True)
class Table:
    """A table: its head and its rows, all text."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Plot:
    """A curve in the unit square, or numbers to count in bins."""

    title: str
    x_label: str
    y_label: str
    points: list[tuple[float, float]]
    counts: bool = False


# A heading starts with "#"; text may hold `code`.
Block = str | Table | Plot


def loosened(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say which bounds are looser than they were.

    Args:
        old: the champion's section `gate`; what is no bound in it is passed over.
        new: this one's.
    """
    found, bounds = [], _bounds(new)
    for (metric, key), was in _bounds(old).items():
        now = bounds.get((metric, key))
        if now is None or (now < was if key == "min" else now > was):
            found.append(f"`gate.{metric}.{key}` from {was} to {'none' if now is None else now}")
    return found


def _bounds(gate: Any) -> dict[tuple[str, str], float]:
    return {
        (metric, key): value
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
        yield f"`{name}`", _text(old), _text(new)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 1e4 or 0 < abs(value) < 1e-3 else f"{value:.4f}"
    return "-" if value is None else str(value)


def _difference(value: Any, was: Any) -> str:
    numbers = all(isinstance(one, int | float) and math.isfinite(one) for one in (value, was))
    return f"{value - was:+.4f}" if numbers else "-"


def headline(
    facts: dict[str, Any], steps: dict[str, Any], verdicts: list[dict[str, Any]], job: str = ""
) -> Iterator[Block]:
    """Give the verdict, and why.

    Args:
        facts: the run's findings.
        steps: what GitHub says of the job's steps; empty outside of it.
        verdicts: the gate's.
        job: what GitHub says of the job so far; empty outside of it.
    """
    failed = [name for name in STEPS if steps.get(name, {}).get("outcome") == "failure"]
    rejected = [
        f"`{verdict['metric']}` is {_text(verdict['value'])}: {verdict['reason']}"
        for verdict in verdicts
        if not verdict["passed"]
    ]
    why = [facts["problem"]] if "problem" in facts else []
    if failed or rejected or why or job not in ("", "success"):
        where = f" at: {STEPS[failed[0]]}" if failed else ""
        yield f"# ❌ {'Rejected' if rejected else 'Stopped'}{where}"
        yield from dict.fromkeys([*rejected, *why])
    else:
        yield "# ✅ Passed"
    if steps and steps.get("repro", {}).get("outcome") != "success":
        yield "**The model was not trained** in this run."


def metric_rows(
    metrics: dict[str, Any],
    champion: dict[str, Any],
    intervals: dict[str, Any],
    verdicts: list[dict[str, Any]],
) -> Sequence[tuple[str, ...]]:
    """Lay the metrics out beside the champion's; those with a bound first."""
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
                f"{_text(ends['low'])} to {_text(ends['high'])}" if ends else "-",
                _text(was),
                _difference(value, was),
                ", ".join(bound),
                "" if not verdict else "✅" if verdict["passed"] else f"❌ {verdict['reason']}",
            )
        )
    return rows


def validation_blocks(report: dict[str, Any]) -> Iterator[Block]:
    """Say what validate found."""
    yield "## Validation"
    violations = report.get("violations", [])
    train, test = report.get("train_rows", "?"), report.get("test_rows", "?")
    yield f"{train} + {test} rows (train + test): {len(violations) or 'no'} violations"
    if violations:
        head = ("split", "column", "check", "rows", "values")
        yield Table(head, [tuple(_text(one.get(key)) for key in head) for one in violations[:20]])


def plot_of(folder: Path) -> Plot | None:
    """Choose the picture: ROC, or for regression the residuals."""
    curve = _read(folder / "roc.json").get("roc", [])
    if curve:
        points = [(point["fpr"], point["tpr"]) for point in curve]
        return Plot("ROC", "False positive rate", "True positive rate", points)
    cloud = _read(folder / "residuals.json").get("residuals", [])
    points = [(point["predicted"], point["residual"]) for point in cloud]
    return Plot("Residuals", "Residual", "Rows", points, counts=True) if points else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if isinstance(content, list):  # what DVCLive writes for a plot
        return {path.stem: content}
    return content if isinstance(content, dict) else {}


def compose(facts: dict[str, Any], steps: dict[str, Any], revision: str) -> Iterator[Block]:
    """Give the whole report, as blocks.

    Args:
        facts: the run's findings.
        steps: what GitHub says of the job's steps; empty outside of it.
        revision: the champion's.
    """
    judged = [path for path in (gate.COMPARED, gate.REPORT) if path.exists()]
    newest = max(judged, key=lambda path: path.stat().st_mtime, default=gate.REPORT)
    verdicts = _read(newest).get("verdicts", [])
    metrics = _read(Path(lock.METRICS))
    rival, champion = gate.find_champion(revision) or (revision, {})
    here, there = (
        base.parse_yaml(Path("params.yaml").read_text("utf-8")),
        base.read_yaml(revision, "params.yaml"),
    )
    yield from headline(facts, steps, verdicts, os.environ.get("JOB_STATUS", ""))
    for what in loosened(there.get("gate", {}), here.get("gate", {})):
        yield f"⚠️ A bound is loosened: {what}"
    for name, why in facts.get("stale", {}).items():
        yield f"⚠️ `{name}` is stale in dvc.lock: {why} changed"
    if "source" in facts:
        yield f"Data from the {remote.PLACES[facts['source']]}: {facts['why']}"
    if "pushed" in facts:
        yield f"Pushed to {facts['pushed']}, which holds every output"
    yield "## Metrics"
    if not champion:
        yield "There is no champion: this is the first model."
    elif _test_split(base.read_yaml(rival, lock.LOCK)) != _test_split(lock.read_lock()):
        yield "The test split is not the champion's: the two were measured on different rows."
    head = ("metric", "this run", "95 % interval", "champion", "change", "bound", "verdict")
    intervals = _read(Path("metrics/evaluate/intervals.json"))
    yield Table(head, metric_rows(metrics, champion, intervals, verdicts))
    if plot := plot_of(PLOTS):
        yield plot
    yield from validation_blocks(_read(Path("metrics/validation.json")))
    yield "## Parameters"
    changed = list(changes(there, here)) if there else []
    yield Table(("setting", "champion", "here"), changed) if changed else "None has changed."
    yield "## Stages"
    seconds = facts.get("seconds", {})
    stages = dict.fromkeys([*lock.stages_of(lock.read_lock()), *seconds])
    rows = [
        (name, "ran" if name in seconds else "unchanged", _seconds(seconds.get(name)))
        for name in stages
    ]
    yield Table(("stage", "in this run", "seconds"), rows)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _test_split(locked: dict[str, Any]) -> str | None:
    stage = lock.stages_of(locked).get("evaluate")
    return stage.deps.get(TEST) if stage else None


def to_markdown(blocks: Iterable[Block]) -> str:
    """Render for GitHub, which draws Mermaid itself."""
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            lines = [block.head, ("---",) * len(block.head), *block.rows]
            cells = ([_cell(_plain(text)) for text in line] for line in lines)
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in cells))
        elif isinstance(block, Plot):
            parts.append(f"```mermaid\n{_mermaid(block)}\n```")
        else:
            parts.append(_plain(block))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"([\\|])", r"\\\1", text)


def _plain(text: str) -> str:
    """Put text in one line, without HTML; what it quotes may come from data or parameters."""
    return " ".join(text.split()).replace("<", "&lt;")


def _mermaid(plot: Plot) -> str:
    if plot.counts:
        values = [y for _, y in plot.points]
        low, high = min(values), max(values)
        width = (high - low or 1) / BINS
        heights = [0] * BINS
        for value in values:
            heights[min(int((value - low) / width), BINS - 1)] += 1
        x_range, y_range = f"{low:.4g} --> {low + BINS * width:.4g}", f"0 --> {max(heights)}"
        series = [f"bar {heights}"]
    else:
        x_range = y_range = "0 --> 1"
        grid = [at / (GRID - 1) for at in range(GRID)]
        curve = [round(max(y for x, y in plot.points if x <= at), 3) for at in grid]
        series = [f"line {curve}", f"line {grid}"]
    axes = [f'x-axis "{plot.x_label}" {x_range}', f'y-axis "{plot.y_label}" {y_range}']
    return "\n  ".join(["xychart-beta", f'title "{plot.title}"', *axes, *series])


STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8884; text-align: left }
svg { max-width: 26rem; width: 100% }
svg text { font-size: 11px; fill: currentColor }
"""


def to_html(blocks: Iterable[Block]) -> str:
    """Render as one page that needs nothing but itself."""
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            head, *rows = [
                "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in line)
                for tag, line in [("th", block.head), *(("td", row) for row in block.rows)]
            ]
            body = "".join(f"<tr>{row}</tr>\n" for row in rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>")
        elif isinstance(block, Plot):
            parts.append(_svg(block))
        else:
            level = len(block) - len(block.lstrip("#"))
            tag = f"h{level}" if level else "p"
            parts.append(f"<{tag}>{_inline(block.lstrip('# '))}</{tag}>")
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"<!doctype html>\n<html lang=en>{meta}<title>Report</title><style>{STYLE}</style>"
    return "\n".join([head, *parts, "</html>"]) + "\n"


def _inline(text: str) -> str:
    text = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)


def _svg(plot: Plot) -> str:
    """Draw a curve, or for residuals their cloud over the predictions."""
    xs, ys = ([point[at] for point in plot.points] for at in (0, 1))
    left, right = (min(xs), max(xs)) if plot.counts else (0, 1)
    low, high = (min(ys), max(ys)) if plot.counts else (0, 1)

    def place(x: float, y: float) -> tuple[str, str]:
        return (
            f"{40 + 340 * (x - left) / (right - left or 1):.1f}",
            f"{360 - 340 * (y - low) / (high - low or 1):.1f}",
        )

    spots = [place(x, y) for x, y in plot.points]
    if plot.counts:
        shape = "".join(f'<circle cx="{x}" cy="{y}" r="2"/>' for x, y in spots)
        start, end = place(left, 0), place(right, 0)
        labels = ("Predicted", "Residual")
    else:
        line = " ".join(",".join(spot) for spot in spots)
        shape = f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/>'
        start, end = place(0, 0), place(1, 1)
        labels = (plot.x_label, plot.y_label)
    return f"""<figure><svg viewBox="0 0 400 400" role="img" aria-label="{plot.title}">
<rect x="40" y="20" width="340" height="340" fill="none" stroke="#8888"/>
<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="#8888"/>
<g fill="#4c78a8" color="#4c78a8">{shape}</g>
<text x="210" y="392" text-anchor="middle">{labels[0]}</text>
<text x="40" y="376">{left:.4g}</text><text x="380" y="376" text-anchor="end">{right:.4g}</text>
<text x="34" y="362" text-anchor="end">{low:.4g}</text>
<text x="34" y="28" text-anchor="end">{high:.4g}</text>
<text transform="translate(14 190) rotate(-90)" text-anchor="middle">{labels[1]}</text>
</svg><figcaption>{plot.title}</figcaption></figure>"""


def main() -> None:
    """Write report/report.md and report/report.html, and the job's summary."""
    steps = json.loads(os.environ.get("STEPS") or "{}")
    blocks = list(compose(findings.read(), steps, base.find()))
    findings.FOLDER.mkdir(exist_ok=True)
    for path, text in ((MARKDOWN, to_markdown(blocks)), (HTML, to_html(blocks))):
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(to_markdown(blocks))


if __name__ == "__main__":
    from src import errors

    errors.run(main)
