"""The pipeline as dvc.yaml and dvc.lock describe it: its stages, what they read and make."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.shared import revisions
from src.shared.errors import UserError
from src.shared.paths import DVC_LOCK, DVC_YAML


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        deps: the hash of each file or folder that it read, by path; in dvc.yaml empty.
        outs: the same of what it made.
        command: what it runs.
    """

    deps: dict[str, str]
    outs: dict[str, str]
    command: str = ""


OUTPUTS = ("outs", "metrics", "plots")  # under which dvc.yaml lists what a stage makes


def names(path: Path = DVC_YAML) -> list[str]:
    """Return the names of the stages in dvc.yaml, in its order."""
    return list(revisions.parse_yaml(path.read_text("utf-8")).get("stages", {}))


def declared(path: Path = DVC_YAML) -> dict[str, Stage]:
    """Return the stages as dvc.yaml declares them, each after those that it depends on.

    Raises:
        UserError: they depend on one another.
    """
    stages = {
        name: Stage(
            dict.fromkeys(entry.get("deps", []), ""),
            {path_of(out): "" for kind in OUTPUTS for out in entry.get(kind, [])},
            str(entry.get("cmd", "")),
        )
        for name, entry in revisions.parse_yaml(path.read_text("utf-8")).get("stages", {}).items()
    }
    return _in_order(stages, path)


def path_of(entry: str | dict[str, Any]) -> str:
    """Return an output's path: it may be followed by options, as in {path: {cache: false}}."""
    return entry if isinstance(entry, str) else next(iter(entry))


def read_lock() -> dict[str, Any]:
    """Read dvc.lock, without stages that are no longer in dvc.yaml; empty where there is none."""
    if not DVC_LOCK.exists():
        return {}
    locked = revisions.parse_yaml(DVC_LOCK.read_text("utf-8"))
    known = names()
    # A stage of a `matrix` or `foreach` is named as in train@small.
    stages = {
        name: stage
        for name, stage in locked.get("stages", {}).items()
        if name.partition("@")[0] in known
    }
    return locked | {"stages": stages}


def stages_of(lock: dict[str, Any]) -> dict[str, Stage]:
    """Return the stages of a parsed dvc.lock, each after those that it depends on.

    Raises:
        UserError: they depend on one another.
    """
    found = {
        name: Stage(_hashes(entry.get("deps", [])), _hashes(entry.get("outs", [])))
        for name, entry in lock.get("stages", {}).items()
    }
    return _in_order(found, DVC_LOCK)


def made(lock: dict[str, Any], path: Path) -> str | None:
    """Return the hash of what a parsed dvc.lock says that a stage made; None if none did."""
    name = path.as_posix()
    stages = stages_of(lock).values()
    return next((stage.outs[name] for stage in stages if name in stage.outs), None)


def _in_order(stages: dict[str, Stage], path: Path) -> dict[str, Stage]:
    ordered: dict[str, Stage] = {}
    while left := {name: stage for name, stage in stages.items() if name not in ordered}:
        made = {path for stage in left.values() for path in stage.outs}
        ready = {name: stage for name, stage in left.items() if not made & stage.deps.keys()}
        if not ready:
            raise UserError(f"{path}: {', '.join(left)} depend on one another; run `dvc repro`")
        ordered |= ready
    return ordered


def _hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["path"]: str(entry.get("md5")) for entry in entries}


def followers(stages: dict[str, Stage], names: Collection[str]) -> list[str]:
    """Return these stages and all that depend on what they make, in the pipeline's order."""
    chosen: list[str] = []
    made: set[str] = set()
    for name, stage in stages.items():
        if name in names or made & stage.deps.keys():
            chosen.append(name)
            made |= stage.outs.keys()
    return chosen


def inputs(stages: dict[str, Stage], names: Collection[str], tracked: Collection[str]) -> set[str]:
    """Return the data that these stages read and that none of them makes.

    Args:
        stages: what dvc.lock records.
        names: the stages that will run.
        tracked: the files that DVC keeps, and Git does not.
    """
    read = {path for name in names for path in stages[name].deps}
    made = {path for name in names for path in stages[name].outs}
    return (read - made) & set(tracked)
