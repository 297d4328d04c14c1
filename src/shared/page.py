"""A page of text, tables and plots, as Markdown for GitHub and as HTML that needs nothing else."""

import html
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GRID, BINS = 41, 21


@dataclass(frozen=True)
class Table:
    """A table: its head and its rows, all text."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Plot:
    """Points joined to a curve, in the order of x, or drawn as dots."""

    title: str
    x_label: str
    y_label: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


# A heading starts with "#"; text may hold `code`.
Block = str | Table | Plot


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return the page as Markdown for GitHub, which draws Mermaid itself."""
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
    """Draw a curve; of dots, which Mermaid cannot draw, how often y lies in each of a few bins."""
    x_label, y_label, x_range, y_range = plot.x_label, plot.y_label, *_ranges(plot)
    if plot.dots:
        low, high = y_range
        width = (high - low or 1) / BINS
        heights = [0] * BINS
        for _, y in plot.points:
            heights[min(int((y - low) / width), BINS - 1)] += 1
        x_label, y_label, x_range, y_range = y_label, "Rows", y_range, (0, max(heights))
        series = f"bar {heights}"
    else:
        start, end = x_range
        grid = [start + (end - start) * at / (GRID - 1) for at in range(GRID)]
        series = f"line {[float(f'{_height(plot.points, x):.3g}') for x in grid]}"
    axes = [
        f'{axis} "{label}" {low:.4g} --> {high:.4g}'
        for axis, label, (low, high) in (("x-axis", x_label, x_range), ("y-axis", y_label, y_range))
    ]
    return "\n  ".join(["xychart-beta", f'title "{plot.title}"', *axes, series])


def _ranges(plot: Plot) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the least and the greatest x, and y; 0 and 1 where all points are shares."""
    columns = list(zip(*plot.points, strict=True))
    if not plot.dots and all(0 <= value <= 1 for column in columns for value in column):
        return (0, 1), (0, 1)
    x, y = ((min(column), max(column)) for column in columns)
    return x, y


def _height(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return the height of the curve at x, on the line between the points beside it."""
    at = bisect_right(points, x, key=lambda point: point[0])
    if at in (0, len(points)):
        return points[min(at, len(points) - 1)][1]
    (left, low), (right, high) = points[at - 1], points[at]
    return low + (high - low) * (x - left) / (right - left)


STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8884; text-align: left }
svg { max-width: 26rem; width: 100% }
svg text { font-size: 11px; fill: currentColor }
"""


def to_html(blocks: Iterable[Block]) -> str:
    """Return the page as HTML that needs nothing but itself."""
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
    (left, right), (low, high) = _ranges(plot)
    spots = [
        (
            f"{40 + 340 * (x - left) / (right - left or 1):.1f}",
            f"{360 - 340 * (y - low) / (high - low or 1):.1f}",
        )
        for x, y in plot.points
    ]
    if plot.dots:
        shape = "".join(f'<circle cx="{x}" cy="{y}" r="2"/>' for x, y in spots)
    else:
        line = " ".join(",".join(spot) for spot in spots)
        shape = f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/>'
    title, x_label, y_label = map(html.escape, (plot.title, plot.x_label, plot.y_label))
    return f"""<figure><svg viewBox="0 0 400 400" role="img" aria-label="{title}">
<rect x="40" y="20" width="340" height="340" fill="none" stroke="#8888"/>
<g fill="#4c78a8" color="#4c78a8">{shape}</g>
<text x="210" y="392" text-anchor="middle">{x_label}</text>
<text x="40" y="376">{left:.4g}</text><text x="380" y="376" text-anchor="end">{right:.4g}</text>
<text x="34" y="362" text-anchor="end">{low:.4g}</text>
<text x="34" y="28" text-anchor="end">{high:.4g}</text>
<text transform="translate(14 190) rotate(-90)" text-anchor="middle">{y_label}</text>
</svg><figcaption>{title}</figcaption></figure>"""
