"""Run DVC with a remote, and say in a few words why it failed."""

import os
import re
import subprocess
import sys

from src.shared.errors import UserError

# Some stores that speak S3 send the checksum of a whole file with a part of it.
VARIABLES = {
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_MAX_ATTEMPTS": "1",  # s3fs tries five times itself
}

# Patterns of DVC's messages, and what they mean.
CAUSES = {
    "NoSuchBucket|bucket does not exist": "the bucket does not exist",
    "NoCredentials|Unable to locate credentials|no credentials": "there are no credentials",
    "Signature|InvalidAccessKey|AccessDenied|Forbidden|403": "the credentials are refused",
    "[Tt]imeout|timed out": "the server does not answer",
    r"Internal Server Error|\(50\d\)|SlowDown|Unavailable": "the server fails (500)",
    "connect|Connection|reset|closed": "the server cannot be reached, or broke off",
}


def cause_of(message: str) -> str:
    """Return why DVC could not reach a remote, in a few words, and DVC's own message."""
    said = [line for line in message.splitlines() if line.startswith("ERROR")] or [message.strip()]
    line = said[0].removeprefix("ERROR: ").removeprefix("unexpected error - ")
    for pattern, cause in CAUSES.items():
        if re.search(pattern, "\n".join(said)):
            return f"{cause} ({line[:160]})"
    return line[:300]


def dvc(remote: str, url: str, *arguments: str) -> str:
    """Run DVC with a remote and return what it prints.

    Raises:
        UserError: DVC failed. The message names the remote and the cause.
    """
    # The workflow passes a variable or secret that is not set as an empty one.
    variables = {key: value for key, value in os.environ.items() if value} | VARIABLES
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        env=variables,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    # A pull that does not find all data ends with 1, too; the caller looks which files are there.
    if done.returncode and "Checkout failed" not in done.stderr:
        raise UserError(f"dvc {arguments[0]}: remote {remote} ({url}): {cause_of(done.stderr)}")
    return done.stdout
