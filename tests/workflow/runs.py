"""Clones of this repository, made quick, and real runs of its workflow in them."""

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

from src.workflow import local
from tests.dvc_runs import call, commit, git
from tests.dvc_runs import environment as clean_environment
from tests.projects import ROOT

OWNER = "https://github.com/someone/project"  # act takes the repository's name from it
QUICK_TEST = "def test_nothing() -> None:\n    assert True\n"
QUICK = "sklearn.linear_model.LogisticRegression\n  arguments: {max_iter: 1000}"
QUICK_MODEL = """train:
  estimator: MODEL
  folds: 2
  seed: 42

"""


def copy_repository(folder: Path) -> Path:
    """Copy what Git holds here, or would."""
    listed = git(
        ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(
            ("tests/", "benchmarks/", "hooks/", "{{")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def make_quick(folder: Path, model: str = QUICK) -> Path:
    """Give a copy one test, few types to check and a small model; run it and commit all on main."""
    shutil.rmtree(folder / "tests", ignore_errors=True)
    test = folder / "tests/pipeline/test_nothing.py"
    test.parent.mkdir(parents=True)
    test.write_text(QUICK_TEST, encoding="utf-8")
    edit(
        folder / ".github/workflows/ci.yml", "      queue: max\n", ""
    )  # act refuses it where it is called
    edit(folder / "pyproject.toml", 'files = ["."]', 'files = ["src/__init__.py"]')
    edit(folder / "params.yaml", r"(?s)train:\n.*?\n\n", QUICK_MODEL.replace("MODEL", model))
    edit(folder / "params.yaml", "resamples: 1000", "resamples: 100")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "remote", "add", "origin", OWNER)
    if not (folder / "data/raw.csv").exists():
        call(folder, "dvc", "pull", "--quiet", "data/raw.csv")
    repro(folder)
    commit(folder)
    return folder


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
        return self._run(clone, "push", payload, status, workflow="cd.yml", job="train")

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
    def state(self) -> dict[str, object]:
        """What the last run noted."""
        return dict(json.loads((self.store / "report/state.json").read_text("utf-8")))


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


def step(
    clone: Path, *arguments: str, status: int = 0, variables: dict[str, str] | None = None
) -> str:
    """Run one step's command as the workflow does, without act; give all that it prints."""
    unset = {key: "" for key in (*local.VARIABLES, *local.SECRETS) if key in os.environ}
    done = call(clone, sys.executable, "-m", *arguments, status=status, **unset | (variables or {}))
    return done.out + done.err
