"""Data from a URL: what does not come whole, in time and of a fit size is refused."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException  # type: ignore[import-untyped]

from tests.template.conftest import Generate, load_hook

TABLE = b"size,ripe\n1,yes\n2,no\n"


class Handler(BaseHTTPRequestHandler):
    """Serves a file in the way that its name says."""

    protocol_version = "HTTP/1.1"
    released = threading.Event()

    def log_message(self, format: str, *args: object) -> None: ...

    def start(self, **headers: object) -> None:
        self.close_connection = True
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def do_GET(self) -> None:
        getattr(self, self.path.strip("/").partition(".")[0])()

    def whole(self) -> None:
        self.start(Content_Length=len(TABLE))
        self.wfile.write(TABLE)

    def unannounced(self) -> None:
        self.start()
        self.wfile.write(TABLE)

    def short(self) -> None:
        self.start(Content_Length=len(TABLE) + 1)
        self.wfile.write(TABLE)

    def cut(self) -> None:
        self.start(Transfer_Encoding="chunked")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(TABLE), TABLE))

    def large(self) -> None:
        self.start(Content_Length=10**12)
        self.wfile.write(TABLE)

    def endless(self) -> None:
        self.start()
        while not self.released.is_set():
            try:
                self.wfile.write(TABLE * 100)
            except OSError:
                return

    def slow(self) -> None:
        self.start(Content_Length=10_000)
        while not self.released.wait(0.01):
            try:
                self.wfile.write(b"1")
            except OSError:
                return

    def hanging(self) -> None:
        self.start(Content_Length=10)
        self.released.wait(20)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    Handler.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        Handler.released.set()
        server.shutdown()


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """The hook's function, with a small limit of size."""
    monkeypatch.chdir(tmp_path)
    hook = load_hook()
    hook |= {"MOST_BYTES": 50_000}

    def downloaded(url: str, **limits: float) -> bytes:
        hook.update(limits)
        hook["download"](url)
        return Path(hook["DATA"]).read_bytes()

    return downloaded


@pytest.mark.parametrize("name", ["whole", "unannounced"])
def test_whole_file_comes(download, address: str, name: str) -> None:
    assert download(f"{address}/{name}.csv") == TABLE


@pytest.mark.parametrize(
    ("name", "limits", "message"),
    [
        ("short", {}, "a whole file; 21 of 22 bytes came: try again"),
        ("cut", {}, "a URL that can be read: IncompleteRead"),
        ("large", {}, "at most 50,000 bytes by URL; download it"),
        ("endless", {}, "at most 50,000 bytes by URL; download it"),
        ("slow", {"MOST_SECONDS": 0.5}, "what comes within 0.5 s; download it"),
        ("hanging", {"PATIENCE": 0.3}, "a URL that can be read: timed out"),
    ],
)
def test_what_does_not_come_as_it_should_is_refused(
    download, address: str, name: str, limits: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        download(f"{address}/{name}.csv", **limits)


def test_short_file_leaves_no_project(
    generate: Generate, address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = {"target": "ripe", "positive": "yes", "bound": "0.5", "project_slug": "x"}
    with pytest.raises(FailedHookException):
        generate(data=f"{address}/short.csv", **answers)
    assert "allowed: a whole file; 21 of 22 bytes came" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("raw", ["../../raw.csv", "data/raw.parquet", ""])
def test_answer_to_what_is_no_question_is_refused(
    generate: Generate, tmp_path: Path, capfd: pytest.CaptureFixture[str], raw: str
) -> None:
    with pytest.raises(FailedHookException):
        generate(__raw=raw, project_slug="x")
    assert "__raw is " in capfd.readouterr().err
    assert not (tmp_path / "x").exists()
