"""Run the `docker` command; name the project's images and containers."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from src.shared.errors import UserError


def docker(*arguments: str, check: bool = True, show: bool = False, merge: bool = False) -> str:
    """Run `docker` with the engine that DOCKER_HOST names, or else with this machine's.

    Args:
        arguments: the command, as a list and not for a shell.
        check: whether a failure is an error; if not, the result is an empty text.
        show: print its output on stderr instead of returning it.
        merge: return its stderr, too.

    Returns:
        Its stdout.

    Raises:
        UserError: Docker is not installed, or the command failed.
    """
    if not os.environ.get("DOCKER_HOST"):
        os.environ.pop(
            "DOCKER_HOST", None
        )  # the workflow passes a secret that is not set as an empty text
    try:
        command = ["docker", *arguments]
        pipe = sys.stderr if show else subprocess.PIPE
        done = subprocess.run(
            command,
            stdout=pipe,
            stderr=subprocess.STDOUT if merge else pipe,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise UserError("docker: not found; install the Docker command") from None
    if done.returncode and check:
        reason = ((done.stderr or "").strip() or "see above").splitlines()[-1]
        raise UserError(f"docker {arguments[0]} failed: {reason[:300]}")
    return "" if done.returncode else (done.stdout or "").strip()


def inspect(name: str) -> dict[str, Any]:
    """Return what the engine knows about a container or an image."""
    found: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return found


def project() -> str:
    """Return the project's name, which its images and containers bear."""
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    return str(content["project"]["name"]).lower()
