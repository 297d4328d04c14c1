import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", default="", help="the running service, as in http://host:8000")


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> str:
    url = str(request.config.getoption("--base-url", "")).rstrip("/")
    if not url:
        pytest.skip("no service named: --base-url http://host:port, or make integration URL=...")
    return url
