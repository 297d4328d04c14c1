"""What GitHub reads of a run, its API, and text that does nothing there. It needs only Python."""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from src.shared.errors import UserError, plain

AUTHOR = "github-actions[bot]"
LIMIT = 60_000  # signs of a text; GitHub takes 65,536
INVISIBLE = "\u200b"

# What calls somebody, leaves a trace at another issue, or leads elsewhere: an @, also as HTML
# writes it (&#64;, &commat;), #1, GH-1, addresses; each also with what Markdown leaves out in it.
CALLS = re.compile(
    r"@|&(?=#|(?!(?:lt|gt|amp|quot);)\w)|#(?=[^\s#])|\bGH(?=\W*\d)|:(?=\W*/)|\bwww(?=\W*\.)",
    re.IGNORECASE,
)


def summarise(text: str) -> None:
    """Add to the run's summary."""
    _append("GITHUB_STEP_SUMMARY", text)


def output(**values: object) -> None:
    """Set outputs of the step, each of which fits in one line."""
    _append("GITHUB_OUTPUT", "\n".join(f"{key}={plain(value)}" for key, value in values.items()))


def _append(name: str, text: str) -> None:
    if path := os.environ.get(name):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def tame(text: str) -> str:
    """Return text that calls nobody and leads nowhere, cut to what GitHub takes."""
    text = CALLS.sub(rf"\g<0>{INVISIBLE}", text)
    if len(text) > LIMIT:
        text = f"{text[:LIMIT]}\n\n(cut: the whole report is in the run's summary)"
    return text


def read_text(path: Path, limit: int = LIMIT) -> str | None:
    """Read a file of an artifact, no more than `limit` signs of it; None where there is none.

    A stranger's artifact may hold a link to a file of this machine, or what never ends.

    Raises:
        SystemExit: it is no regular file.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(kind) or path.parent.is_symlink():
        sys.exit(f"error: {path.name}: not a regular file; nothing is posted")
    with path.open("rb") as file:
        return file.read(4 * limit + 1).decode("utf-8", errors="replace")


def call(method: str, path: str, content: dict[str, Any] | None = None) -> Any:
    """Call GitHub's API and return its answer.

    Args:
        method: of HTTP.
        path: below the repository's address.
        content: what to send, if anything.

    Raises:
        UserError: GitHub refuses, in whose words the message is, or cannot be reached.
    """
    api, repository = os.environ["GITHUB_API_URL"], os.environ["GITHUB_REPOSITORY"]
    request = Request(  # noqa: S310
        f"{api}/repos/{repository}/{path}",
        method=method,
        data=None if content is None else json.dumps(content).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
        },
    )
    try:
        with urlopen(request, timeout=30) as response:  # noqa: S310
            return json.load(response)
    except HTTPError as error:
        with error:
            said = error.read(2_000).decode("utf-8", errors="replace")
        raise UserError(f"GitHub refuses {method} {path}: {error.code} {said[:300]}") from None
    except OSError as error:
        raise UserError(f"GitHub cannot be reached ({method} {path}): {error}") from None


def listed(path: str, pages: int) -> Iterator[Any]:
    """Yield what GitHub lists, page by page.

    Args:
        path: as for `call`, perhaps with a query.
        pages: of 100 each, to read at most.
    """
    sign = "&" if "?" in path else "?"
    for page in range(1, pages + 1):
        found = call("GET", f"{path}{sign}per_page=100&page={page}")
        yield from found
        if len(found) < 100:
            break
