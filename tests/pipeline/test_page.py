"""What is quoted stays text, in Markdown as in HTML; the page needs nothing from elsewhere."""

import re

import pytest

from src.shared.page import (
    Block,
    Heading,
    Markdown,
    Picture,
    Table,
    code,
    escape,
    say,
    to_html,
    to_markdown,
)

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "![x](https://example.org/x.png)",
    "[x](https://example.org)",
    "<https://example.org>",
    "https://example.org",
    "www.example.org",
    "someone@example.org",
    "__a x__ b and a__b_ and _c",
    "**bold** and *this* and _that_ and ~~gone~~",
    "`code` and ``more``",
    "a | b",
    "\\| a",
    "&lt;b&gt; &commat;",
    "$x$",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "> quote",
    ">1",
    "---",
    "```",
    "~~~",
    "a\n\n# b\n| c | d |\n|---|---|",
    "\u2028# line\x1b[31m",
    '"><b>',
]


def words(page: str) -> str:
    """Give the text of a page as its reader sees it."""
    body = page.partition("<main>")[2].partition("</main>")[0]
    text = re.sub(r"</(p|h\d|td|th|figcaption)>", "\n", body)
    text = re.sub(r"<[^>]*>", "", text)
    for name, sign in (("lt", "<"), ("gt", ">"), ("quot", '"'), ("#x27", "'"), ("amp", "&")):
        text = text.replace(f"&{name};", sign)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_quoted_stays_text(text: str) -> None:
    shown = text.replace("\x1b", "\\x1b")
    shown = " ".join(shown.split())
    blocks: list[Block] = [
        text,
        Heading(text),
        Table((text, "b"), [(text, say("{} and {}", text, code(text)))]),
        Picture(text, "<svg></svg>", [text]),
    ]
    page = to_html(blocks, text)
    assert words(page).splitlines() == [
        shown,
        shown,
        shown,
        "b",
        shown,
        f"{shown} and {shown}",
        shown,
    ]
    tags = set(re.findall(r"<(\w+)", page.partition("<main>")[2]))
    known = {"section", "p", "h2", "table", "thead", "tbody", "tr", "th", "td", "code", "div"}
    assert tags <= known | {"figure", "figcaption", "svg"}
    assert "\n" not in to_markdown([text]).strip()


@pytest.mark.parametrize(
    "text", ["0.5", "-0.0100", "+0.0100", "a-b", "2024-03-31", "≥ 0.9", "✅", "a_b"]
)
def test_plain_words_and_numbers_need_no_signs(text: str) -> None:
    assert escape(text) == text


def test_a_table_on_github_has_a_line_for_each_row() -> None:
    table = Table(("a|b", "c"), [("x\n| y |", Markdown("`d`")), (code("e|f"), code("g h"))])
    assert to_markdown([table]).splitlines() == [
        "| a\\|b | c |",
        "| --- | --- |",
        "| x \\| y \\| | `d` |",
        "| e\\|f | `g h` |",
    ]


def test_names_in_one_picture_do_not_meet_those_in_another() -> None:
    svg = '<svg width="500"><clipPath id="clip0"></clipPath><g clip-path="url(#clip0)"></g></svg>'
    page = to_html([Picture("one", svg), Picture("two", svg)], "Both")
    names = re.findall(r'id="(.+?)"', page)
    assert len(set(names)) == 2
    assert re.findall(r"url\(#(.+?)\)", page) == names
    assert page.count("<figure class=wide>") == 2


def test_the_page_asks_for_nothing() -> None:
    page = to_html([Heading("A"), Picture("p", "data:image/png;base64,AAAA", ["a"])], "A", "bad")
    assert "default-src 'none'" in page
    assert not re.search(r'@import|https?:|(src|href)="(?!data:)', page)
    assert '<body class="bad">' in page
