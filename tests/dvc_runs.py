"""Real runs of DVC, with the environment that runs the tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from tests.projects import ROOT, Result, make_project

# What the tests must not take over from whoever runs them, for example from a Git hook.
FOREIGN = re.compile(
    "GIT_|DVC_|PYTEST_|MAKE|MFLAGS$|MIN_ACCURACY$|PYTHONPATH$|PYTHONDONTWRITEBYTECODE$"
)
IDENTITY = {
    f"GIT_{role}_{what}": f"test{'@localhost' * (what == 'EMAIL')}"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}
EMBEDDED = """\
[core]
    remote = embedded
    analytics = false
    check_update = false
['remote "embedded"']
    url = ../data/remote
"""


def environment(folder: Path) -> dict[str, str]:
    """Give the environment for programs in a project: `python` is the one that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    site = {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp"), "GIT_CONFIG_GLOBAL": os.devnull}
    return kept | IDENTITY | site | {"PATH": programs}


def call(folder: Path, *command: str, status: int = 0, **variables: str) -> Result:
    """Run a program in a project; it must end with `status`."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return Result(done.returncode, done.stdout, done.stderr)


def git(folder: Path, *arguments: str) -> str:
    """Run Git and give what it prints."""
    return call(folder, "git", *arguments).out


def commit(folder: Path) -> None:
    """Commit all there is."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Everything")


def dvc(folder: Path, *arguments: str, status: int = 0) -> Result:
    """Run DVC; it must end with `status`."""
    return call(folder, sys.executable, "-m", "dvc", *arguments, status=status)


def repro(folder: Path, *arguments: str, status: int = 0) -> list[str]:
    """Run `dvc repro` and give the stages that ran, in their order."""
    return re.findall(r"Running stage '(\w+)'", dvc(folder, "repro", *arguments, status=status).out)


def make_git_project(
    folder: Path,
    task: str = "binary",
    table: pd.DataFrame | None = None,
    **sections: dict[str, Any],
) -> Path:
    """Make a project with DVC in a new Git repository, which has no commit yet.

    Its remote is the embedded one, whatever the one of the project that holds these tests is.

    Args:
        folder: where to make it.
        task: binary, multiclass or regression.
        table: the raw table, if it is another than the task's.
        sections: see `settings_of`.
    """
    make_project(folder, task, table, code=True, **sections)
    (folder / ".dvc").mkdir()
    for name in (".gitattributes", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc/config").write_text(EMBEDDED)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    return folder
