from collections.abc import Iterator

import pytest

from tests.template.delivery.engine import Engine, NoEngineError, remove_containers, start


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine and a registry of their own, or a skip that says why there are none."""
    try:
        with start(tmp_path_factory.mktemp("engine")) as engine:
            yield engine
    except NoEngineError as reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture
def engine(started: Engine) -> Iterator[Engine]:
    """The engine, with no container before and after a test."""
    yield started
    remove_containers(started)
