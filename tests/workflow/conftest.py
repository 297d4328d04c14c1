import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.api import GitHub
from tests.workflow.runs import Hub, make_quick


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with the workflow, whose pipeline has run. Not to be changed: use `clone`."""
    return make_quick(tmp_path_factory.mktemp("quick") / "project")


@pytest.fixture
def clone(quick: Path, tmp_path: Path) -> Path:
    """A copy of `quick` for one test, with the data that its author has."""
    return Path(shutil.copytree(quick, tmp_path / "clone", symlinks=True))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A repository on GitHub whose owner has set nothing."""
    return Hub(tmp_path / "store")


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """GitHub's API, which this process is told of as a run is."""
    with GitHub() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
        server.shutdown()
