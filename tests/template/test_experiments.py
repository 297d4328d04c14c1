"""docs/experiments.md, typed command by command in a project that has run once, with real DVC."""

import json
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.dvc_runs import call, commit, dvc, git, make_git_project, repro
from tests.projects import ROOT
from tests.template.conftest import lend_environment

PAGE = (ROOT / "docs/experiments.md").read_text("utf-8")
DEADLINE = 120  # seconds that the queue may take

pytestmark = pytest.mark.slow


def blocks(heading: str, language: str = "console") -> list[str]:
    """Return what stands in a section's blocks of code, line by line."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines()]


def run(project: Path, command: str) -> str:
    """Do what a line of the page says; give what it printed."""
    assert not re.search(r"[|<>;$&]", command), "a shell would do something else with it"
    done = call(project, *shlex.split(command))
    if command.startswith("dvc queue start"):
        wait_for(project, experiments=3)
    return done.out


def wait_for(project: Path, experiments: int) -> None:
    """Wait until the queue's worker has saved so many experiments in all."""
    end = time.monotonic() + DEADLINE
    while len(names(project)) < experiments:
        assert time.monotonic() < end, dvc(project, "queue", "status").out
        time.sleep(0.2)


def names(project: Path) -> list[str]:
    """Give the names of the experiments."""
    refs = git(project, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    return [ref.split("/")[4] for ref in refs if re.fullmatch(r"refs/exps/\w{2}/\w{38}/.+", ref)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of fruit that has run, with a remote for Git; its trees are small."""
    folder = tmp_path_factory.mktemp("experiments")
    forest = {
        "estimator": "sklearn.ensemble.ExtraTreesClassifier",
        "arguments": {"n_estimators": 20, "min_samples_leaf": 2},
        "folds": 2,
    }
    gate = {"accuracy": {"min": 0.7}, "roc_auc": {"min": 0.6}}
    made = make_git_project(folder / "project", train=forest, gate=gate)
    shutil.copy(ROOT / "Makefile", made)
    lend_environment(made)
    dvc(made, "add", "data/raw.csv")
    repro(made)
    commit(made)
    git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
    git(made, "remote", "add", "origin", str(folder / "origin.git"))
    git(made, "push", "--quiet", "origin", "main")
    yield made
    dvc(made, "queue", "stop", "--kill")


def test_the_page(project: Path) -> None:
    head = git(project, "rev-parse", "HEAD")
    for line in [*blocks("One experiment"), *blocks("A grid")]:
        said = run(project, line)
    # The workspace is as it was, and the worst stay visible.
    assert git(project, "status", "--porcelain") == ""
    assert max(map(len, said.splitlines())) <= 80
    assert len(names(project)) == 3
    for name in names(project):
        assert re.search(rf"^{name} ", said, re.MULTILINE), said
    rows = said.split("\n\n")
    assert sum("REJECTED: accuracy too low" in row for row in rows) == 1
    assert said.index(" passed") < said.index("REJECTED")
    assert said.count("min_samples_leaf: 100") == 1
    assert "Experiments compared on this test split: 3." in said

    apply, *rest, branch = blocks("Take the best one")
    run(project, apply)
    assert "n_estimators: 20\n    min_samples_leaf: 1" in (project / "params.yaml").read_text()
    said = run(project, rest.pop(0))
    assert re.findall(r"Running stage '(\w+)'", said) == ["gate"]
    for line in rest:
        run(project, line)
    assert git(project, "status", "--porcelain") == ""
    assert repro(project) == []
    assert git(project, "rev-parse", "HEAD^") == head
    run(project, branch)
    assert git(project, "rev-parse", "one-row-in-a-leaf^") == head

    push, listing, *tidy = blocks("Share one")
    run(project, push)
    assert "leaf-1" in run(project, listing)
    other = project.parent / "other"
    git(project.parent, "clone", "--quiet", "origin.git", str(other))
    pull = re.findall(r"`(dvc exp pull .*?)`", PAGE.replace("\n", " "))[0]
    run(other, pull)
    assert names(other) == ["leaf-1"]
    assert "leaf-1" in call(other, "python", "-m", "src.experiments").out
    for line in tidy:
        run(project, line)
    assert "leaf-1" not in names(project)


def test_an_experiment_that_ends_at_the_gate_is_lost(project: Path) -> None:
    """Why the page ends them at evaluate. If DVC keeps them one day, the page can be simpler."""
    before = names(project)
    rejecting = ("-S", "gate.accuracy.min=0.999")
    said = dvc(project, "exp", "run", "--temp", "--name", "lost", *rejecting, status=255).err
    assert "failed to reproduce 'gate'" in said
    assert names(project) == before


def test_the_search(project: Path) -> None:
    yaml = YAML()
    settings = yaml.load(project / "params.yaml")
    settings["train"].update(yaml.load("\n".join(blocks("A search", "yaml")))["train"])
    yaml.dump(settings, project / "params.yaml")
    call(project, "python", "-m", "src.train")
    tried = (project / "metrics/train/candidates.csv").read_text().splitlines()
    assert tried[0] == "rank,chosen,mean,std,param_C,failed"
    assert len(tried) == 1 + 20
    drawn = json.loads((project / "metrics/train/plots/custom/search.json").read_text())
    assert len(drawn) == 20
    report = call(project, "python", "-m", "src.report").out
    assert "report.md" in report
    assert "as the best of 20 candidates" in (project / "report/report.md").read_text("utf-8")
