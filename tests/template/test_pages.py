"""The pages name only what exists, and those that go along with a part need no other part."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# The pages of generated projects, and what each may link to: in docs/, and of the parts' files.
PARTS = {
    "data": {"extend.md"},
    "extend": {"data.md"},
    "pipeline": {"data.md", "extend.md", "experiments.md"},
    "experiments": set[str](),
    "workflow": {"data.md", "extend.md", "ci.yml", "comment.yml"},
    "service": {"data.md", "extend.md", "workflow.md"},
    "delivery": {"data.md", "extend.md", "workflow.md", "service.md", "cd.yml", "Dockerfile"},
}
OWNED = {f"{name}.md" for name in [*PARTS, "template", "commands", "benchmarks"]} | {
    "Dockerfile",
    "cd.yml",
    "ci.yml",
    "comment.yml",
    "README.md",
    "CHANGELOG.md",
}


def links(page: Path) -> list[str]:
    """Return where a page's relative links and pictures point to."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_one_page():
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    text = page.read_text(encoding="utf-8")
    more = (ROOT.glob(pattern) for pattern in ("*.mk", "benchmarks/*.mk", "src/*/*.mk"))
    makefiles = [ROOT / "Makefile", *(makefile for found in more for makefile in found)]
    rules = "".join(makefile.read_text(encoding="utf-8") for makefile in makefiles)
    # In code only: `make` is a word as well.
    commands = re.findall(r"(?:`|^|\$ )make ([a-z]+)\b", text, re.MULTILINE)
    for target in commands:
        assert re.search(rf"^{target}:", rules, re.MULTILINE), f"make {target}"
    for module in re.findall(r"python -m ((?:src|benchmarks)[\w.]*\w)", text):
        path = f"{module.replace('.', '/')}.py"  # a recipe may make it: "# src/mine.py (new)"
        assert (ROOT / path).exists() or f"# {path} (new)" in text, module
    for file in re.findall(r"`((?:src|docs|data|requirements|tests|benchmarks)/[\w./-]*\w)`", text):
        made = "data/schema.old.yaml", "data/raw.csv", "data/raw.parquet"
        assert file in made or (ROOT / file).exists(), file


@pytest.mark.parametrize("name", PARTS)
def test_a_part_needs_no_page_of_another(name):
    page = ROOT / "docs" / f"{name}.md"
    linked = {Path(link.partition("#")[0]).name for link in links(page) if not link.startswith("#")}
    assert not linked & OWNED - PARTS[name]
