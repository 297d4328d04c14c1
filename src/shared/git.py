"""The `git` command: what it prints, or its error in one line."""

import os
import subprocess
from collections.abc import Sequence

from src.shared.errors import UserError


def git(*arguments: str, **environment: str) -> str:
    """Run Git in the working directory.

    Args:
        arguments: the command, as a list and not for a shell.
        environment: variables to set.

    Returns:
        What it printed, without the last line's end.

    Raises:
        UserError: the command failed.
    """
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed: {' '.join(done.stderr.split())[:300]}")
    return done.stdout.removesuffix("\n")


def read_all(names: Sequence[str]) -> list[str | None]:
    """Read many files that Git holds at once; None for one that is not there.

    Args:
        names: commit and path as `commit:path`, the path from the repository's root.

    Raises:
        UserError: Git failed.
    """
    done = subprocess.run(
        ["git", "cat-file", "--batch"],  # noqa: S607
        input="".join(f"{name}\n" for name in names).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(f"git cat-file failed: {told[:300]}")
    found: list[str | None] = []
    rest = done.stdout
    for _ in names:
        head, _, rest = rest.partition(b"\n")
        if head.endswith(b" missing"):
            found.append(None)
            continue
        size = int(head.rpartition(b" ")[2])
        found.append(rest[:size].decode(errors="replace"))
        rest = rest[size + 1 :]
    return found
