import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.s3 import S3, serve_s3
from tests.workflow.api import GitHub
from tests.workflow.runs import LEFT_OUT, Hub, make_quick


@pytest.fixture(scope="session")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project whose workflow leaves out lint, unit tests and smoke model. Use `clone`."""
    return make_quick(tmp_path_factory.mktemp("lean") / "project", *LEFT_OUT)


@pytest.fixture
def clone(lean: Path, tmp_path: Path) -> Path:
    """A copy of `lean` for one test, with the data that its author has."""
    return Path(shutil.copytree(lean, tmp_path / "clone", symlinks=True))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A repository on GitHub whose owner has set nothing."""
    return Hub(tmp_path / "store")


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    """A server with the bucket `bucket`."""
    (tmp_path / "s3/bucket").mkdir(parents=True)
    with serve_s3(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def s3_hub(tmp_path: Path, s3: S3) -> Hub:
    """A repository on GitHub whose owner has named that bucket and given the keys."""
    variables = {"DVC_REMOTE_URL": "s3://bucket/data", "AWS_ENDPOINT_URL_S3": s3.endpoint}
    return Hub(tmp_path / "store", variables, s3.credentials)


@pytest.fixture
def objects(s3: S3) -> Callable[[], set[str]]:
    """List what the bucket holds."""
    return lambda: {path.name for path in s3.folder.rglob("*") if path.is_file()}


@pytest.fixture
def github() -> Iterator[GitHub]:
    """GitHub's API."""
    with GitHub() as server:
        yield server
        server.shutdown()
