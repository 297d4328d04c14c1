"""Say in the issue of monitoring why a training anew opened no pull request.

`python3 -m src.workflow.stopped FOLDER`, with the report of the job that trained, if it wrote
one. It needs only Python, and mentions nobody: the reason may tell of what strangers sent.
"""

import json
import os
import sys
from pathlib import Path

from src.shared import errors
from src.shared.page import escape
from src.workflow import github, issue

SHOWN = 1_000  # signs of a reason


def reason(folder: Path, came: str) -> str:
    """Return why there is no pull request, in a sentence.

    Args:
        folder: of the report, which may be missing.
        came: what came in, where none of it is new; empty where the run was stopped.
    """
    if came:
        return f"Nothing was trained: {escape(came[:SHOWN])}."
    try:
        noted = json.loads(github.read_text(folder / "state.json") or "{}")
        problem = str(noted["problem"])
    except (ValueError, TypeError, KeyError):
        problem = ""
    if problem:
        return f"The training stopped: {escape(problem[:SHOWN])}"
    return "A step failed."


def main() -> None:
    """Comment on the open issue; do nothing if there is none."""
    came = os.environ["CAME"] if os.environ["NEW"] == "0" else ""
    told = reason(Path(sys.argv[1]), came)
    print(told)
    found = issue.find()
    if found is None:
        print("no issue of monitoring is open: there is nothing to comment on")
        return
    run = os.environ["RUN_URL"]
    body = f"{github.tame(told)}\n\nSo there is no pull request; [the run]({run}) tells more.\n"
    github.call("POST", f"issues/{found['number']}/comments", {"body": body})
    print(f"commented on issue #{found['number']}")


if __name__ == "__main__":
    errors.run(main)
