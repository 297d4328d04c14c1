"""Check that dvc.lock and the metrics in Git are what the pipeline makes; if not, write a patch.

`python -m src.workflow.lock`, the last check of the workflow, compares the files in Git with what
the run has computed. The patch holds the difference.
"""

import json
import math
from typing import Any

from src.shared import revisions
from src.shared.errors import UserError
from src.shared.git import git
from src.shared.paths import DVC_LOCK, METRICS, REPORT
from src.workflow import state

PATCH = REPORT / "update.patch"

# Another processor may round differently: one row of a hundred may fall on the other side.
RELATIVE, ABSOLUTE = 0.01, 0.001


def disagreements(committed: dict[str, Any], computed: dict[str, Any]) -> list[str]:
    """List the metrics in Git that differ from what this run computed by more than a tolerance."""
    return [
        f"{name} is {committed.get(name)} in Git, {computed.get(name)} computed"
        for name in sorted(committed.keys() | computed.keys())
        if not _close(committed.get(name), computed.get(name))
    ]


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(one == other)


def write_patch() -> None:
    """Write report/update.patch: how the files here differ from those of the last commit."""
    git("add", "--intent-to-add", "--", ".")
    REPORT.mkdir(exist_ok=True)
    PATCH.write_text(git("diff", "--binary", "HEAD") + "\n", encoding="utf-8", newline="\n")


def main() -> int:
    """Compare Git with what this run computed; write report/update.patch if they differ."""
    stale = state.read().stale
    committed = revisions.read_json("HEAD", METRICS.as_posix()) or {}
    computed = json.loads(METRICS.read_text("utf-8"))
    wrong = [] if stale else disagreements(committed, computed)
    state.note(wrong=wrong)
    if not stale and not wrong:
        print(f"{DVC_LOCK} and the metrics in Git are what the pipeline makes")
        return 0
    write_patch()
    what = f"{DVC_LOCK} is stale: " + "; ".join(f"{name} ({why})" for name, why in stale.items())
    if wrong:
        what = f"{METRICS.as_posix()} is not what the pipeline makes: {'; '.join(wrong)}"
    raise UserError(f"{what}. `git apply` {PATCH.name} from the run's artifact, or `make repro`")


if __name__ == "__main__":
    state.run(main)
