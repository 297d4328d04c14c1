"""Compare a record with the model of this commit, as the workflow does every night.

`python -m src.workflow.watch` takes the record from RECORD, and labels from LABELS if that is set.
Exit status: 0 where it could decide or there is nothing to watch, 2 where it could not decide.
"""

import os
import subprocess
import sys
from pathlib import Path

from src.shared import errors, record, store
from src.shared.errors import UserError
from src.shared.paths import REPORT, SIDECAR
from src.workflow import pull, state

UNDECIDED = 2
COMMAND = (sys.executable, "-m", "src.monitoring.monitor")


def holds_any(address: str) -> bool:
    """Tell whether a folder, here or in a store, holds a file of a record."""
    system, path = store.folder(address)
    with store.reached(address):
        return bool(system.exists(path)) and any(map(record.closed, system.find(path)))


def summarise(what: str) -> None:
    """Add to the run's summary."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"{what}\n")


def main() -> int:
    """Compare, and tell the next job whether the comparison could decide."""
    address, known = os.environ["RECORD"], state.read()
    if not holds_any(address):
        print(told := f"There is nothing to watch: {address} holds no record.")
        summarise(told)
        return 0
    if pull.fetch([SIDECAR.as_posix()], known.sources):
        raise UserError(
            f"{SIDECAR.as_posix()}: on no remote that this run can read, so nothing says what the "
            "model was trained on; main's own run pushes it"
        )
    status = subprocess.run(COMMAND, check=False).returncode
    page = REPORT / "monitor.md"
    if page.exists():
        summarise(page.read_text("utf-8"))
    if status in (0, 1) and (output := os.environ.get("GITHUB_OUTPUT")):
        with Path(output).open("a", encoding="utf-8") as file:
            file.write("decided=yes\n")
    return 0 if status in (0, 1) else UNDECIDED


if __name__ == "__main__":
    errors.run(main, status=UNDECIDED)
