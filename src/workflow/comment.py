"""Post a run's report as one comment on its pull request, or update the one that is there.

The workflow that runs it may write to the repository, and a stranger may have written the report.
So the text is shortened and mentions nobody, and GitHub, not the report, says which pull request it
belongs to and which of the files that judge models it changes. It needs only Python.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from src.shared import errors
from src.shared.errors import plain
from src.workflow import github

OWNERS = Path(".github/CODEOWNERS")
SHOWN = 30  # files that are named
MARKER = "<!-- report -->"


def body_of(text: str, url: str, conclusion: str) -> str:
    """Return the comment for a report.

    Args:
        text: the report, of any length.
        url: the address of the run that wrote it.
        conclusion: what GitHub says of the run, whatever the report says.
    """
    return f"{MARKER}\n[The run]({url}) ended with: **{conclusion}**\n\n{github.tame(text)}\n"


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


def find_pull_request(sha: str, owner: str, branch: str) -> int | None:
    """Return the number of the open pull request whose last commit this is, if there is one."""
    head = quote(f"{owner}:{branch}", safe="")
    for found in github.call("GET", f"pulls?state=open&per_page=100&head={head}"):
        if found["head"]["sha"] == sha:
            return int(found["number"])
    return None


def changed_files(number: int) -> list[str]:
    """Return the files that a pull request changes, as GitHub has them."""
    files = github.listed(f"pulls/{number}/files", pages=30)  # it lists 3,000 at most
    return [one[key] for one in files for key in ("filename", "previous_filename") if key in one]


def find_comment(number: int) -> int | None:
    """Return the id of the comment that an earlier run posted, if there is one."""
    for comment in github.listed(f"issues/{number}/comments", pages=10):
        if comment["user"]["login"] == github.AUTHOR and comment["body"].startswith(MARKER):
            return int(comment["id"])
    return None


def main() -> None:
    """Post or update the comment; do nothing if the run stopped before it wrote a report."""
    text = github.read_text(Path(sys.argv[1]))
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
        github.call("POST", f"issues/{number}/comments", body)
    else:
        github.call("PATCH", f"issues/comments/{comment}", body)
    print(f"{'posted' if comment is None else 'updated'} the comment on #{number}")


if __name__ == "__main__":
    errors.run(main)
