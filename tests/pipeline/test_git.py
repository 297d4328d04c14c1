"""The pipeline with and without Git, and what it leaves for Git to see."""

from pathlib import Path

from tests.dvc_runs import dvc, git, repro
from tests.projects import STAGES, make_project


def test_before_the_first_commit(finished: Path) -> None:
    """`finished` has run all stages then; this says that it really was then."""
    assert git(finished, "rev-list", "--count", "HEAD").strip() == "1"
    assert "dvc.lock" in git(finished, "show", "--name-only", "--format=", "HEAD").splitlines()


def test_git_holds_metrics_but_no_data_or_models(finished: Path) -> None:
    tracked = git(finished, "ls-files", "data", "models", "metrics").splitlines()
    assert [name for name in tracked if not name.startswith("metrics/")] == ["data/schema.yaml"]
    assert {"metrics/gate.json", "metrics/train/metrics.json"} <= set(tracked)
    assert git(finished, "status", "--porcelain") == ""


def test_without_git_from_scratch_the_results_are_the_same(finished: Path, tmp_path: Path) -> None:
    """Two runs from scratch, one of them without Git, agree in every byte that they made."""
    folder = make_project(tmp_path / "project", code=True)
    dvc(folder, "init", "--quiet", "--no-scm")
    assert repro(folder) == list(STAGES)
    assert (folder / "dvc.lock").read_bytes() == (finished / "dvc.lock").read_bytes()
    assert repro(folder) == []
