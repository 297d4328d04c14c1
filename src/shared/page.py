"""A page of text, tables and plots, as Markdown for GitHub and as HTML that needs nothing else."""

import html
import re
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
    """A curve in the unit square, or numbers to count in bins."""

    title: str
    x_label: str
    y_label: str
    points: list[tuple[float, float]]
    counts: bool = False


# A heading starts with "#"; text may hold `code`.
Block = str | Table | Plot


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
