"""Clones of this repository, as a newcomer makes them."""

import os
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.dvc_runs import git
from tests.projects import ROOT

# Stages whose results are not all in Git: a clone makes them anew. The others run if these differ.
MADE = {"prepare", "train", "evaluate"}


def clone(folder: Path, *options: str) -> Path:
    """Clone what is committed of this repository to a path that holds spaces."""
    target = folder / "a clean clone"
    # With the user's own settings: they may be what lets Git read the repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "clone", "--quiet", *options, ROOT, target], check=True, env=own)
    return target


def assert_as_committed(folder: Path) -> None:
    """Check that nothing differs from the commit, but for the bytes of the models in dvc.lock.

    Another processor can give a model other bytes, and the same predictions.
    """
    assert git(folder, "status", "--porcelain") in ("", " M dvc.lock\n")
    committed = git(folder, "show", "HEAD:dvc.lock")
    assert _without_models(folder.joinpath("dvc.lock").read_text()) == _without_models(committed)


def _without_models(lock: str) -> Any:
    content = YAML(typ="safe").load(lock)
    for stage in content["stages"].values():
        for entry in stage["deps"] + stage["outs"]:
            if entry["path"].startswith("models/"):
                del entry["md5"], entry["size"]
    return content
