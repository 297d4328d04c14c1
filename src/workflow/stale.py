"""Find the stages that have not run since their inputs changed; the data itself is not needed."""

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from src.shared.errors import UserError
from src.shared.git import git
from src.shared.pipeline import Stage


def stale_stages(
    status: dict[str, list[Any]], stages: dict[str, Stage], pointers: dict[str, str]
) -> dict[str, str]:
    """List the stages that have not run since their inputs changed.

    Args:
        status: what `dvc status --json` says.
        stages: what dvc.lock records.
        pointers: for each file that a .dvc file points to, its hash.

    Returns:
        For each such stage, what changed. Data that is only missing here is not a change.
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


def read_pointers() -> dict[str, str]:
    """Return the hash of each file that a .dvc file in Git points to."""
    found = {}
    for name in filter(None, git("ls-files", "-z", "--", "*.dvc").split("\0")):
        content = YAML(typ="safe").load(Path(name).read_text("utf-8"))
        for out in content["outs"]:
            found[(Path(name).parent / out["path"]).as_posix()] = str(out["md5"])
    return found


def find_stale(stages: dict[str, Stage]) -> dict[str, str]:
    """Ask DVC what has changed since dvc.lock was written; see `stale_stages`."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise UserError(f"dvc status: {done.stderr.strip()[:300]}")
    return stale_stages(json.loads(done.stdout), stages, read_pointers())
