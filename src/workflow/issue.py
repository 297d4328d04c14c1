"""Keep one issue on what monitoring found: open it, update it, close it when all is well again.

`python3 -m src.workflow.issue FOLDER`, with what `make monitor` wrote there. The workflow that runs
it may write issues, and the report tells of what strangers sent: so it mentions nobody, and the
issue is known by its author, a label and a marker, which no text can forge together. It needs only
Python.
"""

import hashlib
import json
import os
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from src.shared import errors
from src.shared.errors import UserError
from src.shared.page import escape
from src.workflow import github

TITLE = "What comes in is not what the model was tested on"
LABEL, RETRAIN = "monitor", "retrain"
MARKER = "<!-- monitor"
NAMED = 700  # findings that the marker has room for
SHOWN = 20  # findings in a comment
WINDOWS = 3  # that must be well before the issue is closed
UNDECIDED = "undecided"  # as `make monitor` calls a window
BY_LABELS = ("metric", "label")  # kinds of findings


def windows_well(
    windows: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]
) -> int:
    """Count the last windows in which nothing was found; those that could not decide do not count.

    Labels come later than rows: where they told of something, only windows with labels end that.

    Args:
        windows: the oldest first.
        findings: what was found, and in which windows.
    """
    bad = {(begin, one["kind"] in BY_LABELS) for one in findings for begin in one["windows"]}
    decided = [(one["from"], False) for one in windows if one["status"] != UNDECIDED]
    counts = [_well(decided, bad)]
    if any(by_label for _, by_label in bad):
        counts.append(_well([(one["from"], True) for one in windows if one["labelled"]], bad))
    return min(counts)


def _well(windows: Sequence[Any], bad: Container[Any]) -> int:
    return len(list(takewhile(lambda one: one not in bad, reversed(windows))))


def names_of(findings: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return a short name for each finding, by its kind and column, and what was found there."""
    found = {}
    for one in findings:
        kind, column = str(one["kind"]), str(one["column"])
        name = hashlib.sha256(json.dumps([kind, column]).encode()).hexdigest()[:6]
        found[name] = ": ".join(filter(None, [column, str(one["text"])]))
    return found


def body_of(text: str, names: Iterable[str], well: int, url: str) -> str:
    """Return the issue's text.

    Args:
        text: the report of monitoring, of any length.
        names: of what it has found so far, for later runs.
        well: how many windows at the end are well.
        url: the address of the run that wrote the report.
    """
    marker = " ".join([MARKER, *sorted(names)[:NAMED], "-->"])
    return (
        f"{marker}\n{github.tame(text)}\n\n---\n"
        f"[The last run]({url}) found the last {well} windows well; after {WINDOWS} this issue is "
        f"closed. The label `{RETRAIN}` trains the model with the labelled rows that came in and "
        "opens a pull request.\n"
    )


def find() -> dict[str, Any] | None:
    """Return the open issue that an earlier run opened, if there is one."""
    for issue in github.listed(f"issues?state=open&labels={LABEL}", pages=10):
        ours = issue["user"]["login"] == github.AUTHOR and "pull_request" not in issue
        if ours and str(issue["body"]).startswith(MARKER):
            return dict(issue)
    return None


def named_before(body: str) -> set[str]:
    """Return the names of what an issue has told of so far."""
    return set(body.partition("\n")[0].split()[2:-1])


def keep(well: int, found: Mapping[str, str], text: str) -> str:
    """Open, update or close the issue; return what was done.

    Args:
        well: how many windows at the end are well.
        found: names and texts of the findings in any of them.
        text: the report.
    """
    issue, url = find(), os.environ["RUN_URL"]
    if issue is None:
        if not found or well >= WINDOWS:
            return "all is well, and no issue is open"
        content = {"title": TITLE, "labels": [LABEL], "body": body_of(text, found, well, url)}
        return f"opened issue #{github.call('POST', 'issues', content)['number']}"
    number, before = issue["number"], named_before(issue["body"])
    change: dict[str, Any] = {"body": body_of(text, before | found.keys(), well, url)}
    if well >= WINDOWS:
        change |= {"state": "closed", "state_reason": "completed"}
    github.call("PATCH", f"issues/{number}", change)
    if new := [f"- {escape(what)}" for name, what in found.items() if name not in before]:
        body = "\n".join(["New since the last run:", *new[:SHOWN]])
        github.call("POST", f"issues/{number}/comments", {"body": github.tame(body)})
    return f"{'closed' if 'state' in change else 'updated'} issue #{number}"


def main() -> None:
    """Bring the issue up to what the last comparison found."""
    folder = Path(sys.argv[1])
    text = github.read_text(folder / "monitor.md")
    content = github.read_text(folder / "monitor.json", limit=5_000_000)
    try:
        result = json.loads(content or "")
        well = windows_well(result["windows"], result["findings"])
        found, verdict = names_of(result["findings"]), str(result["verdict"])
    except (ValueError, TypeError, KeyError):
        raise UserError("monitor.json: not what `make monitor` writes; run it again") from None
    if verdict == UNDECIDED:
        raise UserError("the comparison could not decide; the issue stays as it is")
    print(keep(well, found, text or ""))


if __name__ == "__main__":
    errors.run(main)
