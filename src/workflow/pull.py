"""Pull what this run needs: all raw data, or only what the stages that will run read."""

import argparse
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from src.shared import pipeline, revisions
from src.shared.errors import UserError
from src.shared.paths import DVC_LOCK
from src.shared.pipeline import Stage
from src.workflow import stages as required
from src.workflow import stale, state
from src.workflow.remote import dvc


def fetch(paths: Iterable[str], sources: dict[str, str]) -> set[str]:
    """Pull files from the cache or the first remote that has them; return those that none has."""
    absent = _absent(paths)
    for name, url in sources.items():
        if absent:
            dvc(name, url, "pull", "--allow-missing", "--remote", name, *sorted(absent))
            absent = _absent(absent)
    return absent


def _absent(paths: Iterable[str]) -> set[str]:
    return {path for path in paths if not Path(path).exists()}


def plan(
    stages: dict[str, Stage],
    run: set[str],
    pointers: Collection[str],
    sources: dict[str, str],
) -> list[str]:
    """Pull what the stages read, and nothing else.

    Args:
        stages: what dvc.lock records.
        run: the stages that will run.
        pointers: the files that .dvc files point to.
        sources: the remotes to pull from, in this order.

    Returns:
        The other stages to run, because their outputs are on no remote.

    Raises:
        UserError: a file that no stage makes is on no remote.
    """
    maker = {path: name for name, stage in stages.items() for path in stage.outs}
    tracked = {path for path in maker if _ignored(path)} | set(pointers)
    remade: set[str] = set()
    while absent := fetch(pipeline.inputs(stages, remade | run, tracked), sources):
        if lost := sorted(absent & set(pointers)):
            asked = ", ".join(f"{name} ({url})" for name, url in sources.items()) or "none"
            raise UserError(
                f"{', '.join(lost)}: neither in the cache nor on a remote that this run can read "
                f"({asked}), so nothing was trained; if you have the data, run `dvc push`"
            )
        remade |= {maker[path] for path in absent}
    return [name for name in stages if name in remade and name not in run]


def _ignored(path: str) -> bool:
    """Tell whether Git ignores a file, so that DVC keeps it."""
    command = ["git", "check-ignore", "--quiet", "--", path]
    return subprocess.run(command, check=False).returncode == 0


def pull(everything: bool, revision: str) -> None:
    """Pull what this run needs, and note which stages the next steps have to run.

    Args:
        everything: whether all stages will run.
        revision: main's. What prepare and train made there was made by main's own run.
    """
    known = state.read()
    if not known.source:
        raise UserError("run `python -m src.workflow.source` first")
    locked = pipeline.read_lock()
    stages = pipeline.stages_of(locked)
    pointers = stale.read_pointers()
    changed = stale.find_stale(stages)
    everything = everything or any(name not in stages for name in changed)
    unconfirmed = other_results(stages, revision)
    again = list(stages) if everything else pipeline.followers(stages, [*changed, *unconfirmed])
    remade = plan(stages, {*again, *required.JUDGING} & stages.keys(), pointers, known.sources)
    run = [name for name in stages if name in {*again, *remade, *required.JUDGING}]
    required.remove_results(run)
    state.note(pulled=True, run=run, stale=changed, remade=remade)
    print(f"stages whose inputs changed: {', '.join(changed) or 'none'}")
    if unconfirmed and not everything:
        print(f"stages that run again because main has other results: {', '.join(unconfirmed)}")
    if remade:
        print(f"stages that run again because their outputs are on no remote: {', '.join(remade)}")


def other_results(stages: dict[str, Stage], revision: str) -> list[str]:
    """List the stages whose splits or model main has not made: nobody else may vouch for them.

    Args:
        stages: what dvc.lock records.
        revision: main's.
    """
    there = pipeline.stages_of(revisions.read_yaml(revision, DVC_LOCK.as_posix()))
    return [
        name
        for name in required.LASTING
        if name in stages and (name not in there or there[name].outs != stages[name].outs)
    ]


def main() -> None:
    """Pull for the workflow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--everything", action="store_true", help="pull what all stages need")
    parser.add_argument("--champion", default="", help="the commit to compare with")
    chosen = parser.parse_args()
    pull(chosen.everything, chosen.champion)


if __name__ == "__main__":
    state.run(main)
