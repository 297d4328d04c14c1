"""What is said when a remote fails, and that nothing is lost."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from src.shared.files import sha256
from src.workflow import source
from tests.dvc_runs import call
from tests.faulty import ERROR_500, Proxy, answering
from tests.s3 import S3
from tests.workflow.runs import edit, pass_check, step

URL = {"DVC_REMOTE_URL": "s3://bucket/data"}
SHORTER = 12
START_UP = 10  # seconds in which a busy machine starts a few programs


@contextmanager
def hanging() -> Iterator[int]:
    with Proxy(1, hang=True) as proxy:
        yield proxy.port


def port_of(server: S3) -> int:
    return int(server.endpoint.rpartition(":")[2])


def set_up(clone: Path, server: S3, **variables: str) -> None:
    """Do the first steps of a run on main, in a clone that has run the pipeline."""
    given = URL | {"AWS_ENDPOINT_URL_S3": server.endpoint} | server.credentials | variables
    step(clone, "src.workflow.source", variables=given)
    pass_check(clone)


def push(clone: Path, server: S3, status: int, **variables: str) -> str:
    keys = server.credentials | variables
    return step(clone, "src.workflow.push", status=status, variables=keys)


def shorten_timeouts(clone: Path) -> None:
    """Wait less long than a run does, so that two minutes of a run are ten seconds here."""
    text = (clone / source.LOCAL).read_text("utf-8")
    for key, seconds in source.TIMEOUTS.items():
        assert f"{key} = {seconds}\n" in text
        text = text.replace(f"{key} = {seconds}\n", f"{key} = {int(seconds) // SHORTER}\n")
    (clone / source.LOCAL).write_text(text, encoding="utf-8")


def test_keys_that_are_wrong(clone, s3):
    set_up(clone, s3)
    said = push(clone, s3, 1, AWS_SECRET_ACCESS_KEY="wrong-secret-key")  # noqa: S106
    assert "error: dvc push: remote ci (s3://bucket/data): the credentials are refused" in said
    assert len(said.strip().splitlines()) == 1


def test_a_bucket_that_does_not_exist(clone, s3):
    set_up(clone, s3, DVC_REMOTE_URL="s3://nothing/data")
    said = push(clone, s3, 1)
    assert "error: dvc push: remote ci (s3://nothing/data): the bucket does not exist" in said


@pytest.mark.parametrize(
    ("server", "cause"),
    [
        (partial(answering, ERROR_500), "the server fails (500)"),
        (hanging, "the server does not answer"),
    ],
)
@pytest.mark.parametrize("what", ["pull", "push"])
def test_a_server_that_does_not_work(clone, s3, server, cause, what):
    with server() as port:
        set_up(clone, s3, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}")
        shorten_timeouts(clone)
        if what == "pull":
            (clone / "data/raw.csv").unlink()
            shutil.rmtree(clone / ".dvc/cache")
        start = time.monotonic()
        arguments = ["--everything"] if what == "pull" else []
        keys = s3.credentials
        said = step(clone, f"src.workflow.{what}", *arguments, status=1, variables=keys)
    assert f"error: dvc {what}: remote ci (s3://bucket/data): {cause}" in said
    assert time.monotonic() - start < 120 / SHORTER + START_UP


def test_a_server_that_dies_in_the_middle_of_a_push(clone, s3):
    with Proxy(port_of(s3), die_after=8_000) as proxy:
        set_up(clone, s3, AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{proxy.port}")
        start = time.monotonic()
        said = push(clone, s3, 1)
    assert "remote ci (s3://bucket/data): the server cannot be reached, or broke off" in said
    assert time.monotonic() - start < 120

    set_up(clone, s3)
    assert "which holds every output" in push(clone, s3, 0)
    # Every file whole, under the hash of what it holds.
    sizes = {path.name: path.stat().st_size for path in s3.folder.rglob("*") if path.is_file()}
    cached = (clone / ".dvc/cache/files").rglob("*")
    whole = {path.name: path.stat().st_size for path in cached if path.is_file()}
    assert sizes
    assert sizes.items() <= whole.items()


def test_a_large_file_comes_back_whole(clone, s3):
    """In parts, each of which this server sends with the checksum of the whole."""
    raw = clone / "data/raw.csv"
    raw.unlink()  # the cache may share its bytes
    raw.write_bytes(os.urandom(1_000_000) * 60)
    digest = sha256(raw)
    call(clone, "dvc", "add", "--quiet", "data/raw.csv")
    set_up(clone, s3)
    push(clone, s3, 0)
    raw.unlink()
    shutil.rmtree(clone / ".dvc/cache")
    step(clone, "src.workflow.pull", "--everything", variables=s3.credentials)
    assert sha256(raw) == digest


def test_a_push_is_believed_when_the_remote_holds_all(clone, s3):
    set_up(clone, s3)
    for path in (clone / ".dvc/cache/files").rglob("*"):
        if path.is_file():
            path.unlink()
    said = push(clone, s3, 1)
    assert "does not hold data/prepared/test.parquet" in said


def test_a_stage_that_never_ran_is_run(clone):
    new = "  extra:\n    cmd: python -m compileall -q src/schema.py\n    deps: [src/schema.py]\n"
    edit(clone / "dvc.yaml", "stages:\n", f"stages:\n{new}")
    for what in ("source", "pull"):
        step(clone, f"src.workflow.{what}")
    step(clone, "src.workflow.repro", "validate")
    said = step(clone, "src.workflow.repro")
    assert "Running stage 'extra'" in said
    assert "Running stage 'gate'" in said
