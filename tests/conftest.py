"""Fixtures that the tests of the pipeline share. The projects they make are in projects.py."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.dvc_runs import commit, make_git_project, repro
from tests.projects import STAGES, Result, make_project, run_stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs a pipeline that DVC has run."""
    for item in items:
        if not {"finished", "quick"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`make_project` in an empty folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIN_ACCURACY", raising=False)
    return partial(make_project, tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run stages in the current folder, in this process; give how the last one ended.

    Those that stand between them in the pipeline, such as one's own, run as well.
    """

    def run_stages(*stages: str) -> Result:
        first, last = stages[0], stages[-1]
        before = () if first == last else STAGES[STAGES.index(first) : STAGES.index(last)]
        for stage in before:
            assert run_stage(stage) == 0, capsys.readouterr()
        capsys.readouterr()
        status = run_stage(last)
        return Result(status, *capsys.readouterr())

    return run_stages


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has run, all committed. Not to be changed: use `pipeline`.

    It runs before the first commit, which is what somebody does who tries the template.
    """
    folder = make_git_project(tmp_path_factory.mktemp("finished") / "project")
    assert repro(folder) == list(STAGES)
    commit(folder)
    return folder


@pytest.fixture
def pipeline(finished: Path, tmp_path: Path) -> Path:
    """A copy of `finished` for one test."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MIN_ACCURACY", raising=False)
        assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which every stage has run; it is the current folder."""
    folder = Path(shutil.copytree(trained_once, tmp_path / "trained"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MIN_ACCURACY", raising=False)
    return folder
