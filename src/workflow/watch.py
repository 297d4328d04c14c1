"""Compare a record with the model of this commit, as the workflow does every night.

`python -m src.workflow.watch` takes the record from RECORD, and labels from LABELS if that is set.
Exit status: 0 where it could decide or there is nothing to watch, 2 where it could not decide.
"""

import os
import subprocess
import sys

from src.shared import errors, record, store
from src.shared.errors import UserError
from src.shared.paths import REPORT, SIDECAR
from src.workflow import github, pull, state

UNDECIDED = 2
COMMAND = (sys.executable, "-m", "src.monitoring.monitor")


def holds_any(address: str) -> bool:
    """Tell whether a folder, here or in a store, holds a file of a record."""
    system, path = store.folder(address)
    with store.reached(address):
        return bool(system.exists(path)) and any(map(record.closed, system.find(path)))


def main() -> int:
    """Compare, and tell the next job whether the comparison could decide."""
    address, known = os.environ["RECORD"], state.read()
    if not holds_any(address):
        print(told := f"There is nothing to watch: {address} holds no record.")
        github.summarise(told)
        return 0
    if pull.fetch([SIDECAR.as_posix()], known.sources):
        raise UserError(
            f"{SIDECAR.as_posix()}: on no remote that this run can read, so nothing says what the "
            "model was trained on; main's own run pushes it"
        )
    status = subprocess.run(COMMAND, check=False).returncode
    page = REPORT / "monitor.md"
    if page.exists():
        github.summarise(page.read_text("utf-8"))
    if status not in (0, 1):
        return UNDECIDED
    github.output(decided="yes")
    return 0


if __name__ == "__main__":
    errors.run(main, status=UNDECIDED)
