import fcntl
from collections.abc import Iterator

import pytest

from tests.template.delivery.engine import Engine, NoEngineError, find, remove_containers, start


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine and a registry for the tests, or a skip that says why there are none."""
    if found := find():
        yield found
        return
    try:
        with start(tmp_path_factory.mktemp("engine")) as engine:
            yield engine
    except NoEngineError as reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture
def engine(started: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine for one test at a time, with no container before and after it."""
    with (tmp_path_factory.getbasetemp().parent / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_containers(started)
        yield started
        remove_containers(started)
