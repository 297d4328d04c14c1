"""The recipes of docs/extend.md, followed to the letter.

A recipe is what stands below a heading `## ...`. Its fenced blocks are

- ```diff, whose first line is ` # path/to/file`: a change to that file. Lines that begin with `@@`
  part one place from the next; the old lines of a place must stand exactly once in the file.
- ```python, ```yaml and the like, whose first line is `# path/to/file (new)`: a new file.
- ```console: what one types. It is not run here.
"""

import re
from pathlib import Path

from tests.projects import ROOT

PAGE = ROOT / "docs/extend.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipes() -> dict[str, list[tuple[str, str]]]:
    """Return the blocks below each heading: language and text."""
    sections = PAGE.read_text("utf-8").split("\n## ")[1:]
    return {text.partition("\n")[0]: BLOCK.findall(text) for text in sections}


def follow(project: Path, heading: str) -> None:
    """Make the changes that a recipe names."""
    for language, text in recipes()[heading]:
        head, _, body = text.partition("\n")
        if language == "diff":
            change(project / head.strip(" #"), body)
        elif head.endswith(" (new)"):
            path = project / head.strip("# ").removesuffix(" (new)")
            assert not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")


def change(path: Path, body: str) -> None:
    """Replace in a file the old lines of each place by its new ones."""
    content = path.read_text("utf-8")
    for place in re.split(r"^@@.*\n", body, flags=re.MULTILINE):
        lines = place.splitlines(keepends=True)
        assert all(line[0] in " +-\n" for line in lines), place
        old = "".join(line[1:] or "\n" for line in lines if line[0] != "+")
        new = "".join(line[1:] or "\n" for line in lines if line[0] != "-")
        assert f"\n{content}".count(f"\n{old}") == 1, f"{path}:\n{old}"
        content = content.replace(old, new)
    path.write_text(content, encoding="utf-8")
