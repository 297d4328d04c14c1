"""Post a run's report as one comment on its pull request, or update the one that is there.

The workflow that runs it may write to the repository, and a stranger may have written the report.
So the text is shortened and mentions nobody, and GitHub, not the report, says which pull request it
belongs to and which of the files that judge models it changes. It needs only Python.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from src.shared.errors import plain

OWNERS = Path(".github/CODEOWNERS")
SHOWN = 30  # files that are named
MARKER = "<!-- report -->"
AUTHOR = "github-actions[bot]"
LIMIT = 60_000  # GitHub takes 65,536 characters
INVISIBLE = "\u200b"

# What calls somebody, leaves a trace at another issue, or leads elsewhere: an @, also as HTML
# writes it (&#64;, &commat;), #1, GH-1, addresses; each also with what Markdown leaves out in it.
CALLS = re.compile(
    r"@|&(?=#|(?!(?:lt|gt|amp|quot);)\w)|#(?=[^\s#])|\bGH(?=\W*\d)|:(?=\W*/)|\bwww(?=\W*\.)",
    re.IGNORECASE,
)


def body_of(text: str, url: str, conclusion: str) -> str:
    """Return the comment for a report.

    Args:
        text: the report, of any length.
        url: the address of the run that wrote it.
        conclusion: what GitHub says of the run, whatever the report says.
    """
    # A report must not notify anybody.
    text = CALLS.sub(rf"\g<0>{INVISIBLE}", text)
    if len(text) > LIMIT:
        text = f"{text[:LIMIT]}\n\n(cut: the whole report is in the run's summary)"
    return f"{MARKER}\n[The run]({url}) ended with: **{conclusion}**\n\n{text}\n"


def judging(changed: Iterable[str], owners: str) -> list[str]:
    """Return the files that judge models: those that main's CODEOWNERS names.

    Args:
        changed: the paths of files, from the repository's root.
        owners: what .github/CODEOWNERS holds: on each line a path from the root, and its owners.
    """
    lines = (line.split() for line in owners.splitlines() if line.startswith("/"))
    names = tuple(line[0] for line in lines)
    return [path for path in changed if f"/{path}".startswith(names)]


def told(changed: Sequence[str]) -> str:
    """Say which files that judge models this change touches; empty if none."""
    if not changed:
        return ""
    names = [f"`{plain(path).replace('`', '?')}`" for path in changed[:SHOWN]]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"⚠️ This changes what judges it: {', '.join(names)}{more}\n\n"


def read_report(path: Path) -> str | None:
    """Read the report, no more than could be shown; None where there is none.

    A stranger's artifact may hold a link to a file of this machine, or what never ends.

    Raises:
        SystemExit: it is no regular file.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(kind) or path.parent.is_symlink():
        sys.exit(f"error: {path.name}: not a regular file; nothing is commented")
    with path.open("rb") as file:
        return file.read(4 * LIMIT + 1).decode("utf-8", errors="replace")


def call(method: str, path: str, content: dict[str, Any] | None = None) -> Any:
    """Call GitHub's API and return its answer."""
    request = Request(  # noqa: S310
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        method=method,
        data=None if content is None else json.dumps(content).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
        },
    )
    with urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


def find_pull_request(sha: str, owner: str, branch: str) -> int | None:
    """Return the number of the open pull request whose last commit this is, if there is one."""
    head = quote(f"{owner}:{branch}", safe="")
    for found in call("GET", f"pulls?state=open&per_page=100&head={head}"):
        if found["head"]["sha"] == sha:
            return int(found["number"])
    return None


def changed_files(number: int) -> list[str]:
    """Return the files that a pull request changes, as GitHub has them."""
    found: list[str] = []
    for page in range(1, 31):  # GitHub lists 3,000 at most
        files = call("GET", f"pulls/{number}/files?per_page=100&page={page}")
        found += [one[key] for one in files for key in ("filename", "previous_filename")
                  if key in one]  # fmt: skip
        if len(files) < 100:
            break
    return found


def find_comment(number: int) -> int | None:
    """Return the id of the comment that an earlier run posted, if there is one."""
    for page in range(1, 11):
        comments = call("GET", f"issues/{number}/comments?per_page=100&page={page}")
        for comment in comments:
            if comment["user"]["login"] == AUTHOR and comment["body"].startswith(MARKER):
                return int(comment["id"])
        if len(comments) < 100:
            break
    return None


def main() -> None:
    """Post or update the comment; do nothing if the run stopped before it wrote a report."""
    text = read_report(Path(sys.argv[1]))
    if text is None:
        print("the run wrote no report: there is nothing to post")
        return
    number = find_pull_request(*(os.environ[f"HEAD_{key}"] for key in ("SHA", "OWNER", "BRANCH")))
    if number is None:
        print("no open pull request ends with this commit: there is nothing to post")
        return
    # Main's code and GitHub's word: whatever the change makes of its own report.
    owners = OWNERS.read_text("utf-8") if OWNERS.exists() else ""
    text = told(judging(changed_files(number), owners)) + text
    body = {"body": body_of(text, os.environ["RUN_URL"], os.environ["CONCLUSION"])}
    comment = find_comment(number)
    if comment is None:
        call("POST", f"issues/{number}/comments", body)
    else:
        call("PATCH", f"issues/comments/{comment}", body)
    print(f"{'posted' if comment is None else 'updated'} the comment on #{number}")


if __name__ == "__main__":
    main()
