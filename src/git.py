"""The `git` command: what it prints, or its error in one line."""

import os
import subprocess

from src.errors import UserError


def git(*arguments: str, **environment: str) -> str:
    """Run Git in the working directory.

    Args:
        arguments: the command, as a list and not for a shell.
        environment: variables to set.

    Raises:
        UserError: the command failed.
    """
    command, variables = ["git", *arguments], os.environ | environment
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {arguments[0]} failed: {' '.join(done.stderr.split())[:300]}")
    return done.stdout.strip()
