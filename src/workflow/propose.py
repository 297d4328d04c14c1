"""Open a pull request with what a training anew has changed, or update the one that is open.

`python3 -m src.workflow.propose FOLDER`, with the patch and the report of the job before it. The
workflow that runs it may push and open pull requests: it pushes to branches `retrain/...` and to no
other, and only what DVC and the stages write. It needs only Python.
"""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.shared import errors
from src.shared.errors import UserError, plain
from src.shared.git import git
from src.workflow import github

PREFIX = "retrain/"
MARKER = "<!-- retrain -->"
MAIL = "41898282+github-actions[bot]@users.noreply.github.com"
ROLES = ("AUTHOR", "COMMITTER")
IDENTITY = {f"GIT_{role}_NAME": github.AUTHOR for role in ROLES} | {
    f"GIT_{role}_EMAIL": MAIL for role in ROLES
}
# What DVC and the stages write: the raw data's pointer, the embedded remote, results.
WRITTEN = re.compile(r"dvc\.lock|metrics/.+|[^.].*\.dvc|data/remote/files/md5/\S+")
APPROVE = (
    "It is checked once somebody who may write presses *Approve workflows to run* below; where "
    "there is no such button, close the pull request and open it again."
)
ALLOW = "allow it under Settings, Actions, General: Allow GitHub Actions to create pull requests"


def apply(patch: Path) -> None:
    """Apply a patch to the checkout and to Git's index.

    Raises:
        UserError: it changes what neither DVC nor a stage writes.
    """
    if not patch.is_file() or patch.is_symlink():
        raise UserError(f"{patch.name}: not there; the job before this one writes it")
    stat = git("apply", "--numstat", "-z", str(patch)).split("\0")
    changed = [line.split("\t", 2)[2] for line in stat if line.count("\t") >= 2]
    if other := [path for path in changed if not WRITTEN.fullmatch(path)]:
        raise UserError(f"{patch.name}: changes {plain(other[0])}, which no stage writes")
    git("status")  # after a look at all files Git knows that none has changed
    git("apply", "--index", str(patch))


def find() -> dict[str, Any] | None:
    """Return the pull request that an earlier run opened, if it is still open."""
    for pull in github.listed("pulls?state=open", pages=10):
        head = pull["head"]
        ours = pull["user"]["login"] == github.AUTHOR and str(pull["body"]).startswith(MARKER)
        here = (head["repo"] or {}).get("full_name") == os.environ["GITHUB_REPOSITORY"]
        if ours and here and head["ref"].startswith(PREFIX):
            return dict(pull)
    return None


def require_untouched(branch: str) -> str:
    """Return the last commit of a branch, after a look at who has pushed to it.

    Raises:
        UserError: somebody has, whose commits would be lost.
    """
    git("fetch", "--quiet", "origin", f"refs/heads/{branch}")
    mails = git("log", "--format=%ae", "HEAD..FETCH_HEAD").split()
    if others := set(mails) - {MAIL}:
        raise UserError(
            f"{branch}: {plain(min(others))} has pushed to it too, which is kept: merge or close "
            "its pull request, then run this again"
        )
    return git("rev-parse", "FETCH_HEAD")


def push(branch: str, expected: str) -> None:
    """Commit what is in Git's index, and push it to a branch.

    Args:
        branch: its name.
        expected: the commit that it is at; empty if it is new.
    """
    git("commit", "--quiet", "--message", "Train with the labelled rows that came in", **IDENTITY)
    lease = f"--force-with-lease=refs/heads/{branch}:{expected}"
    git("push", "--quiet", lease, "origin", f"HEAD:refs/heads/{branch}")


def main() -> None:
    """Push the branch, open or update its pull request."""
    folder = Path(sys.argv[1])
    came, report = (github.read_text(folder / name) or "" for name in ("came.md", "report.md"))
    text = github.tame(f"{came}\n{report}")
    body = f"{MARKER}\n[The run]({os.environ['RUN_URL']}). {APPROVE}\n\n{text}"
    pull = find()
    branch = pull["head"]["ref"] if pull else f"{PREFIX}{datetime.now(UTC):%Y-%m-%d}"
    there = pull or git("ls-remote", "--heads", "origin", f"refs/heads/{branch}")
    apply(folder / "update.patch")
    push(branch, require_untouched(branch) if there else "")
    if pull:
        github.call("PATCH", f"pulls/{pull['number']}", {"body": body})
        print(f"updated pull request #{pull['number']}")
        return
    title = "Train with the labelled rows that came in"
    content = {"title": title, "head": branch, "base": os.environ["MAIN"], "body": body}
    try:
        number = github.call("POST", "pulls", content)["number"]
    except UserError as error:
        raise UserError(
            f"the branch {branch} is pushed, but there is no pull request: {error}; {ALLOW}"
        ) from None
    print(f"opened pull request #{number}")


if __name__ == "__main__":
    errors.run(main)
