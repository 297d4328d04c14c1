"""The `git` command: what it prints, or its error in one line."""

import os
import subprocess

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
