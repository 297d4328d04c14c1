"""Run the unit tests that a change can break: on main all of them, on a pull request some.

`python -m src.workflow.unit REVISION` compares with main. What is the same there was tested there.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from src.shared import errors, revisions
from src.shared.git import git

TESTS = Path("tests")

# No unit test reads these; they bring projects of their own.
UNREAD = ("data/*", "metrics/*", "docs/*", ".github/*", "*.md", "params.yaml", "dvc.lock")

# Not part of a project: these need a running service, and the template's own tools.
LEFT_OUT = ("integration", "template")

HOUSE = TESTS / "pipeline/test_rooms.py"  # looks at every room


def find_rooms() -> set[str]:
    """Return the names of the folders that hold tests."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name.isalpha()}
    return folders - {*LEFT_OUT}


def choose(changed: Iterable[str], rooms: set[str]) -> set[str]:
    """Return the rooms whose tests a change can break.

    Args:
        changed: the files that differ, from the project's root.
        rooms: all rooms that have tests.
    """
    chosen: set[str] = set()
    for path in changed:
        if any(fnmatch(path, pattern) for pattern in UNREAD):
            continue
        top, *rest = PurePosixPath(path).parts
        if top not in ("src", "tests") or len(rest) < 2 or rest[0] not in rooms:
            return rooms  # shared code, a stage, a requirement: what all may depend on
        chosen |= {rest[0], "workflow"} & rooms  # only the workflow may import other rooms
    return chosen


def main() -> int:
    """Choose tests, say why in one line, run them; return pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default="", help="main; without it all tests run")
    revision, rooms = parser.parse_args().revision, find_rooms()
    chosen = rooms
    if revisions.exists(revision):
        options = ("--name-only", "--relative", "--no-renames", "-z")
        changed = git("diff", *options, revision, "HEAD").split("\0")
        chosen = choose(filter(None, changed), rooms)
    if not chosen:
        print(f"unit tests: none, as nothing that they test differs from main ({revision[:10]})")
        return 0
    if chosen == rooms:
        print("unit tests: all", flush=True)
        wanted = [str(TESTS), *(f"--ignore={TESTS / name}" for name in LEFT_OUT)]
    else:
        names = ", ".join(sorted(chosen))
        print(f"unit tests: of {names}, as this change can break no other", flush=True)
        rooms_tests = {TESTS / room for room in chosen}
        house = set() if "pipeline" in chosen or not HOUSE.exists() else {HOUSE}
        wanted = sorted(map(str, rooms_tests | house))
    command = [sys.executable, "-m", "pytest", "-n", "auto", "--dist", "worksteal"]
    command += ["-m", "not slow", *wanted]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    errors.run(main)
