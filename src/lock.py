"""Whether dvc.lock and the metrics in Git are what this pipeline makes, and what to do if not.

`python -m src.lock`, the last check of the workflow, compares Git with what the run has computed
and writes the difference as a patch. All that is asked here can be answered without the data.
"""

import json
import math
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from src import base, findings
from src.errors import UserError
from src.git import git

LOCK = "dvc.lock"
METRICS = "metrics/evaluate/metrics.json"
PATCH = findings.FOLDER / "update.patch"

# Stages whose word is not taken: where DVC has no reason to run them, they are run without it.
CONFIRMED = ("validate", "evaluate")

# Another processor may round differently: one row of a hundred may fall on the other side.
RELATIVE, ABSOLUTE = 0.01, 0.001


@dataclass(frozen=True)
class Stage:
    """A stage as dvc.lock records it: hashes of what it read and made, by path."""

    deps: dict[str, str]
    outs: dict[str, str]


def stages_of(lock: dict[str, Any]) -> dict[str, Stage]:
    """Give the stages of a parsed dvc.lock, each after those that it depends on.

    Raises:
        UserError: they depend on one another.
    """
    found = {
        name: Stage(_hashes(entry.get("deps", [])), _hashes(entry.get("outs", [])))
        for name, entry in lock.get("stages", {}).items()
    }
    ordered: dict[str, Stage] = {}
    while left := {name: stage for name, stage in found.items() if name not in ordered}:
        made = {path for stage in left.values() for path in stage.outs}
        ready = {name: stage for name, stage in left.items() if not made & stage.deps.keys()}
        if not ready:
            raise UserError(f"{LOCK}: {', '.join(left)} depend on one another; run `dvc repro`")
        ordered |= ready
    return ordered


def _hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["path"]: str(entry.get("md5")) for entry in entries}


def stale_stages(
    status: dict[str, list[Any]], stages: dict[str, Stage], pointers: dict[str, str]
) -> dict[str, str]:
    """List the stages that were not run after their inputs last changed.

    Args:
        status: what `dvc status --json` says.
        stages: what dvc.lock records.
        pointers: for each file that a .dvc file stands for, its hash.

    Returns:
        For each such stage what changed. Data that is merely not here is no change.
    """
    made = {path: md5 for stage in stages.values() for path, md5 in stage.outs.items()} | pointers
    found = {}
    for name in [*stages, *(name for name in status if name not in stages)]:
        if name.endswith(".dvc"):
            continue
        changes = list(_changes(status.get(name, []), made))
        deps = stages[name].deps.items() if name in stages else ()
        changes += [path for path, md5 in deps if made.get(path, md5) != md5]
        if changes or name not in stages:
            found[name] = ", ".join(dict.fromkeys(changes)) or "new"
    return found


def _changes(status: list[Any], made: Collection[str]) -> list[str]:
    changes = []
    for entry in status:
        if isinstance(entry, str):  # "changed command", "always changed"
            changes.append(entry.removeprefix("changed "))
            continue
        for path, what in (pair for part in entry.values() for pair in part.items()):
            if isinstance(what, dict):  # parameters
                changes += what
            elif what not in ("deleted", "not in cache") or path not in made:
                changes.append(path)
    return changes


def followers(stages: dict[str, Stage], names: Collection[str]) -> list[str]:
    """Give these stages and all that depend on what they make, in the pipeline's order."""
    chosen: list[str] = []
    made: set[str] = set()
    for name, stage in stages.items():
        if name in names or made & stage.deps.keys():
            chosen.append(name)
            made |= stage.outs.keys()
    return chosen


def inputs(stages: dict[str, Stage], names: Collection[str], tracked: Collection[str]) -> set[str]:
    """Give the data that these stages read and that none of them makes.

    Args:
        stages: what dvc.lock records.
        names: the stages that will run.
        tracked: the files that DVC keeps, and Git does not.
    """
    read = {path for name in names for path in stages[name].deps}
    made = {path for name in names for path in stages[name].outs}
    return (read - made) & set(tracked)


def same_results(here: dict[str, Any], there: dict[str, Any]) -> bool:
    """Tell whether two dvc.lock agree in every stage but the gate, which only reads metrics."""
    one, other = (
        {name: entry for name, entry in lock.get("stages", {}).items() if name != "gate"}
        for lock in (here, there)
    )
    return bool(one) and one == other


def disagreements(committed: dict[str, Any], computed: dict[str, Any]) -> list[str]:
    """List the metrics in Git that are not, within a tolerance, what this run computed."""
    return [
        f"{name} is {committed.get(name)} in Git, {computed.get(name)} computed"
        for name in sorted(committed.keys() | computed.keys())
        if not _close(committed.get(name), computed.get(name))
    ]


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(one == other)


def read_lock() -> dict[str, Any]:
    """Read dvc.lock, without stages that dvc.yaml has no more; empty where there is none."""
    path = Path(LOCK)
    if not path.exists():
        return {}
    locked = base.parse_yaml(path.read_text("utf-8"))
    known = base.parse_yaml(Path("dvc.yaml").read_text("utf-8")).get("stages", {})
    # A stage of a `matrix` or `foreach` is named as in train@small.
    stages = {
        name: stage
        for name, stage in locked.get("stages", {}).items()
        if name.partition("@")[0] in known
    }
    return locked | {"stages": stages}


def read_pointers() -> dict[str, str]:
    """Give, for each file that a .dvc file in Git stands for, its hash."""
    found = {}
    for name in filter(None, git("ls-files", "-z", "--", "*.dvc").split("\0")):
        content = YAML(typ="safe").load(Path(name).read_text("utf-8"))
        for out in content["outs"]:
            found[(Path(name).parent / out["path"]).as_posix()] = str(out["md5"])
    return found


def find_stale(stages: dict[str, Stage]) -> dict[str, str]:
    """Ask DVC what changed since dvc.lock was written; see `stale_stages`."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise UserError(f"dvc status: {done.stderr.strip()[:300]}")
    return stale_stages(json.loads(done.stdout), stages, read_pointers())


def main() -> int:
    """Compare Git with what this run computed; if they differ write report/update.patch."""
    stale = findings.read().get("stale", {})
    committed = base.read_json("HEAD", METRICS) or {}
    computed = json.loads(Path(METRICS).read_text("utf-8"))
    wrong = [] if stale else disagreements(committed, computed)
    findings.note(wrong=wrong)
    if not stale and not wrong:
        print(f"{LOCK} and the metrics in Git are what the pipeline makes")
        return 0
    git("add", "--intent-to-add", "--", ".")
    findings.FOLDER.mkdir(exist_ok=True)
    PATCH.write_text(git("diff", "--binary", "HEAD") + "\n", encoding="utf-8", newline="\n")
    what = f"{LOCK} is stale: " + "; ".join(f"{name} ({why})" for name, why in stale.items())
    if wrong:
        what = f"{METRICS} is not what the pipeline makes: {'; '.join(wrong)}"
    raise UserError(f"{what}. `git apply` {PATCH.name} from the run's artifact, or `make repro`")


if __name__ == "__main__":
    findings.run(main)
