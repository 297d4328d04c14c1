"""Small projects with this project's workflow, and real runs of it."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from src.shared import files
from src.shared.paths import PROVENANCE
from src.workflow import local, state
from src.workflow.state import State
from tests.dvc_runs import call, commit, git, make_git_project
from tests.dvc_runs import environment as clean_environment
from tests.projects import ROOT, settings_of, write_settings

OWNER = "https://github.com/someone/project"  # act takes the repository's name from it
# Steps of a run that most scenarios are not about.
LEFT_OUT = (
    "make lint",
    "python -m src.workflow.unit",
    'python -m src.workflow.unit "$BASE"',
    "python -m src.workflow.smoke",
)

PYPROJECT = """\
[project]
name = "quick"
requires-python = ">=3.11,<3.15"

[tool.ruff]
include = ["tests/**"]

[tool.mypy]
files = ["tests"]
"""
TEST = '"""A test."""\n\n\ndef test_nothing() -> None:\n    """Pass."""\n'
SETTINGS: dict[str, dict[str, Any]] = {"gate": {"accuracy": {"min": 0.6, "max_drop": 0.05}}}


def make_quick(
    folder: Path,
    *left_out: str,
    table: pd.DataFrame | None = None,
    schema: Mapping[str, str] = MappingProxyType({}),
    **sections: dict[str, Any],
) -> Path:
    """Make a small project that has run, with the workflow and one test; commit it on main.

    Its data, parameters and remote are its own, whatever those of this project are.

    Args:
        folder: where to make it.
        left_out: commands of ci.yml that shall do nothing.
        table: the raw table, if it is another than the one of fruit.
        schema: texts to replace in data/schema.yaml, by others.
        sections: of params.yaml, besides `SETTINGS`.
    """
    make_git_project(folder, "binary", table, **SETTINGS | sections)
    for old, new in schema.items():
        edit(folder / "data/schema.yaml", old, new)
    for name in (".github", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    for path in (ROOT / "Makefile", *ROOT.glob("*.mk")):
        shutil.copy(path, folder)
    for workflow in (folder / ".github/workflows").glob("*.yml"):
        text = workflow.read_text("utf-8")  # act knows no queues where one workflow calls another
        workflow.write_text(text.replace("      queue: max\n", ""), encoding="utf-8")
    ci = folder / ".github/workflows/ci.yml"
    for command in left_out:
        text = ci.read_text("utf-8")
        assert f"run: {command}\n" in text
        ci.write_text(text.replace(f"run: {command}\n", "run: true\n"), encoding="utf-8")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "tests/pipeline").mkdir(parents=True)
    (folder / "tests/pipeline/test_nothing.py").write_text(TEST)
    git(folder, "remote", "add", "origin", OWNER)
    call(folder, "dvc", "add", "--quiet", "data/raw.csv")
    call(folder, "dvc", "push", "--quiet", "data/raw.csv")
    git(folder, "add", "--force", "data/remote")
    repro(folder)
    commit(folder)
    return folder


def change(folder: Path, **sections: dict[str, Any]) -> None:
    """Write params.yaml anew: what `make_quick` has written, but for these keys."""
    write_settings(folder, settings_of("binary", **(SETTINGS | sections)))


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Replace what stands once in a file, and must stand there."""
    text = path.read_text("utf-8")
    if pattern not in text:
        new, count = re.subn(pattern, lambda _: replacement, text)
    else:
        new, count = text.replace(pattern, replacement), text.count(pattern)
    assert count == 1, f"{pattern} stands {count} times in {path}"
    path.write_text(new, encoding="utf-8")


def repro(folder: Path, status: int = 0) -> None:
    """Run the pipeline as an author does."""
    call(folder, "dvc", "repro", "--quiet", status=status)


@dataclass(frozen=True)
class Run:
    """How a run of the workflow ended."""

    status: int
    log: str
    report: str

    @property
    def steps(self) -> dict[str, bool]:
        """Give the steps that ran, in their order, and whether each succeeded."""
        found = re.findall(r"(Success|Failure) - Main (.+?) \[", self.log)
        return {name: verdict == "Success" for verdict, name in found}

    @property
    def failed(self) -> list[str]:
        return [name for name, good in self.steps.items() if not good]


@dataclass(frozen=True)
class Hub:
    """A repository on GitHub, as far as its workflow is concerned.

    Attributes:
        store: its cache and artifacts.
        variables: what its owner has set; runs for forks do not get them.
        secrets: what its owner has set; runs for forks do not get them.
    """

    store: Path
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def pull_request(self, clone: Path, *, fork: bool = False, status: int = 0) -> Run:
        """Run the workflow for what is committed, against main."""
        payload = {
            "pull_request": {
                "number": 7,
                "base": {"sha": git(clone, "rev-parse", "main").strip()},
            }
        }
        hub = Hub(self.store) if fork else self
        return hub._run(clone, "pull_request", payload, status)

    def merge_request(self, clone: Path, branch: str) -> Run:
        """Run it as GitHub does: on a merge into main, which has moved since the event was made."""
        git(clone, "switch", "--quiet", "--detach", "main")
        git(clone, "merge", "--quiet", "--no-ff", "--message", "Merge", branch)
        head = git(clone, "rev-parse", branch).strip()
        payload = {"pull_request": {"number": 7, "base": {"sha": ""}, "head": {"sha": head}}}
        return self._run(clone, "pull_request", payload, 0)

    def push(self, clone: Path, *, before: str = "HEAD^", status: int = 0) -> Run:
        """Run the workflow for what is committed, as pushed to main."""
        known = subprocess.run(
            ["git", "rev-parse", before], cwd=clone, capture_output=True, text=True, check=False
        )
        sha = known.stdout.strip() if known.returncode == 0 else "0" * 40
        payload = {"before": sha, "forced": False}
        workflows = (clone / ".github/workflows").glob("*.yml")
        [caller] = [
            path.name for path in workflows if "uses: ./.github/" in path.read_text("utf-8")
        ]
        return self._run(clone, "push", payload, status, workflow=caller, job="train")

    def _run(
        self,
        clone: Path,
        event: str,
        payload: Mapping[str, object],
        status: int,
        workflow: str = "ci.yml",
        job: str | None = None,
    ) -> Run:
        shutil.rmtree(self.store / "report", ignore_errors=True)
        found, log = run_workflow(
            clone,
            event,
            payload,
            self.store,
            workflow=workflow,
            job=job,
            variables=self.variables,
            secrets=self.secrets,
        )
        report = self.store / "report/report.md"
        assert found == status, log
        return Run(found, log, report.read_text("utf-8") if report.exists() else "")

    @property
    def state(self) -> State:
        """What the last run noted."""
        return State(**json.loads((self.store / "report/state.json").read_text("utf-8")))


def run_workflow(
    clone: Path,
    event: str,
    payload: Mapping[str, object],
    store: Path,
    *,
    workflow: str = "ci.yml",
    job: str | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
    secrets: Mapping[str, str] = MappingProxyType({}),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """Run a workflow in act; give how it ended and all that it printed."""
    command = local.command(
        clone,
        event,
        payload,
        store,
        workflow=workflow,
        job=job,
        variables=variables,
        secrets=secrets,
        environment={"READY_VENV": sys.prefix, "PYTEST_XDIST_AUTO_NUM_WORKERS": "0", **environment},
    )
    done = subprocess.run(
        command,
        env=clean_environment(clone) | {"XDG_CACHE_HOME": str(store / "act"), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return done.returncode, done.stdout


def noted(clone: Path) -> Path:
    """Give the file that the workflow's steps have noted their facts in."""
    return clone / ".git/workflow/state.json"


def pass_check(clone: Path) -> None:
    """Note what the metrics check notes of a model that passed."""
    with contextlib.chdir(clone):
        state.note(judged=files.md5(PROVENANCE))


def step(
    clone: Path, *arguments: str, status: int = 0, variables: dict[str, str] | None = None
) -> str:
    """Run one step's command as the workflow does, without act; give all that it prints."""
    unset = {key: "" for key in (*local.VARIABLES, *local.SECRETS) if key in os.environ}
    done = call(clone, sys.executable, "-m", *arguments, status=status, **unset | (variables or {}))
    return done.out + done.err
