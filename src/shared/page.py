"""A page of text, tables and pictures, as Markdown for GitHub and as HTML that needs nothing else.

What comes from data or parameters is plain text here and never markup: a plain `str` is escaped
wherever it stands. `Markdown` is what this program itself wrote.
"""

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal

from src.shared.errors import plain

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TEMPLATE = Path(__file__).with_name("page.html")

# What begins markup within a line, and what GitHub makes a link of by itself.
MARKUP = re.compile(
    r"[\\`*\[\]<&|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.|@", re.IGNORECASE
)
# What a code span shows as it is, in a table, too.
CODE = re.compile(r"[^\s`|\\]([^`|\\]*[^\s`|\\])?")

LONG = 36  # signs from which on a cell takes several lines
WIDE = 400  # pixels from which on a picture takes two places of a row

# Not every system has a font with coloured signs.
SIGNS = {ord("✅"): "✓", ord("❌"): "✗", ord("❔"): "?", 0xFE0F: None}

Mood = Literal["good", "bad", "open"]


class Markdown(str):
    """Text in Markdown; any other text is escaped."""

    __slots__ = ()


def escape(text: object) -> Markdown:
    """Return Markdown that shows a text as it is, in one line."""
    if isinstance(text, Markdown):
        return text
    line = MARKUP.sub(r"\\\g<0>", _line(text))
    start = re.match(r">|[#+-](?![\d.])|\d{1,9}(?=[.)](\s|$))", line)
    if start:  # of a heading, a list or a rule
        at = 0 if start[0] in "#+->" else start.end()
        line = f"{line[:at]}\\{line[at:]}"
    return Markdown(line)


def _line(text: object) -> str:
    return plain(" ".join(str(text).split()))


def code(name: object) -> Markdown:
    """Return Markdown that shows a name as code where that is possible, or else as plain text."""
    line = _line(name)
    return Markdown(f"`{line}`") if CODE.fullmatch(line) else escape(line)


def say(pattern: str, *texts: object) -> Markdown:
    """Fill the places `{}` of a pattern in Markdown with texts, which are escaped."""
    return Markdown(pattern.format(*map(escape, texts)))


def fenced(text: str, language: str = "") -> Markdown:
    """Return Markdown that shows lines as they are, whatever they hold."""
    lines = "\n".join(map(plain, text.splitlines()))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    return Markdown(f"{fence}{language}\n{lines}\n{fence}")


@dataclass(frozen=True)
class Heading:
    """A heading; one of level 2 begins a section."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Table:
    """A table: its head and its rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture: what stands below it, its SVG, and what Markdown has in its place.

    Attributes:
        title: what it shows.
        svg: SVG that this program drew, or an address of a picture that begins with `data:`.
        instead: what is shown where there are no pictures.
    """

    title: str
    svg: str
    instead: Sequence["Block"] = field(default=())


Block = Heading | str | Table | Picture


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return the page as Markdown for GitHub, which draws Mermaid itself."""
    return "\n\n".join(_markdown(blocks)) + "\n"


def _markdown(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Picture):
            yield from _markdown(block.instead)
        elif isinstance(block, Heading):
            yield f"{'#' * block.level} {escape(block.text)}"
        elif isinstance(block, Table):
            lines = [block.head, [Markdown("---")] * len(block.head), *block.rows]
            yield "\n".join(f"| {' | '.join(map(escape, line))} |" for line in lines)
        else:
            yield escape(block)


def to_html(blocks: Iterable[Block], title: str, mood: Mood = "open") -> str:
    """Return the page as HTML that needs nothing but itself.

    Args:
        blocks: what stands on it.
        title: what the window is called.
        mood: how the page is coloured.
    """
    parts = ["<section>"]
    numbers = iter(range(10_000))
    for pictures, some in groupby(blocks, lambda block: isinstance(block, Picture)):
        if pictures:
            drawn = [_figure(one, next(numbers)) for one in some if isinstance(one, Picture)]
            parts.append(f'<div class="pictures">{"".join(drawn)}</div>')
            continue
        for block in some:
            if isinstance(block, Heading) and block.level == 2:
                parts.append("</section><section>")
            parts.append(_reader().render(to_markdown([block])))
    body = "\n".join([*parts, "</section>"]).translate(SIGNS)
    page = Template(TEMPLATE.read_text(encoding="utf-8"))
    return page.substitute(title=html.escape(title), mood=mood, body=body)


@cache
def _reader() -> "MarkdownIt":
    """Return what reads Markdown: no HTML, links or pictures, which this program never writes."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image"])
    reader.add_render_rule("td_open", _cell)
    return reader


def _cell(_: object, tokens: Sequence["Token"], at: int, *__: object) -> str:
    """Open a cell of a table: only long text may be broken into lines."""
    return "<td class=long>" if len(tokens[at + 1].content) > LONG else "<td>"


def _figure(picture: Picture, number: int) -> str:
    title = html.escape(_line(picture.title))
    wide = ""
    if picture.svg.startswith("data:"):
        drawn = f'<img src="{html.escape(picture.svg)}" alt="{title}">'
    else:
        # Names within an SVG must not meet those of another one.
        drawn = re.sub(r'(<\w+ id="|="url\(#)', rf"\g<1>picture{number}-", picture.svg)
        width = re.search(r' width="(\d+)', picture.svg)
        wide = " class=wide" if width and int(width[1]) > WIDE else ""
    return f"<figure{wide}><figcaption>{title}</figcaption>{drawn}</figure>\n"
