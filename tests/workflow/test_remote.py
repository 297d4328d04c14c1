"""Where the data comes from, and what is said when a remote fails."""

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
from tests.workflow.runs import edit, step

KEY = {"AWS_ACCESS_KEY_ID": "x"}
ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/ci"}
MAY_ASK = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://localhost"}
NAMED = {"DVC_REMOTE_URL": "named"}
URL = {"DVC_REMOTE_URL": "s3://bucket/data"}
SHORTER = 6


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("../data/remote", {}, "embedded"),
        ("C:/data/remote", {}, "embedded"),
        ("/mnt/share", NAMED, "remote"),
        ("s3://bucket", {}, "cache"),
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": ""}, "cache"),
        ("s3://bucket", KEY, "remote"),
        ("s3://bucket", NAMED | KEY, "remote"),
        ("s3://bucket", ROLE, "cache"),  # a fork's run, which gets no token
        ("s3://bucket", ROLE | MAY_ASK, "remote"),
        ("gs://bucket", KEY, "cache"),
        ("gs://bucket", {"GCP_CREDENTIALS": "{}"}, "remote"),
        ("azure://container", {"AZURE_STORAGE_CONNECTION_STRING": "x"}, "remote"),
        ("ssh://host/path", {}, "cache"),
        ("ssh://host/path", {"DVC_SSH_KEY": "x"}, "remote"),
        ("https://host/path", {}, "remote"),
    ],
)
def test_the_source(url, variables, expected):
    assert source.decide(url, variables)[0] == expected


def test_what_is_missing_is_named():
    assert "AWS_ACCESS_KEY_ID or AWS_ROLE_ARN" in source.decide("s3://bucket", {})[1]


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


def push(clone: Path, server: S3, status: int, **variables: str) -> str:
    keys = server.credentials | variables
    return step(clone, "src.workflow.push", status=status, variables=keys)


def shorten_timeouts(clone: Path) -> None:
    """Wait less long than a run does, so that two minutes of a run are twenty seconds here."""
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
    assert time.monotonic() - start < 120 / SHORTER


def test_a_server_that_dies_in_the_middle_of_a_push(clone, s3):
    with Proxy(port_of(s3), die_after=60_000) as proxy:
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
    assert "lacks data/prepared/test.parquet" in said


def test_a_run_takes_no_state_from_the_commit(clone):
    """As if its stages had run already, and need not run again."""
    (clone / "report").mkdir(exist_ok=True)
    (clone / "report/state.json").write_text('{"seconds": {"evaluate": 0.1}}')
    assert "run `python -m src.workflow.source`" in step(clone, "src.workflow.repro", status=1)
    step(clone, "src.workflow.source")
    assert "evaluate" not in (clone / "report/state.json").read_text()


def test_a_stage_that_never_ran_is_run(clone):
    new = "  extra:\n    cmd: python -m compileall -q src/schema.py\n    deps: [src/schema.py]\n"
    edit(clone / "dvc.yaml", "stages:\n", f"stages:\n{new}")
    edit(clone / "dvc.yaml", "  gate:\n", "  judge:\n")
    for what in ("source", "pull"):
        step(clone, f"src.workflow.{what}")
    step(clone, "src.workflow.repro", "validate")
    said = step(clone, "src.workflow.repro")
    assert "Running stage 'extra'" in said
    assert "Running stage 'judge'" in said


def test_no_credentials_on_main(clone):
    step(clone, "src.workflow.source", variables=URL)
    said = step(clone, "src.workflow.push", status=1, variables=URL)
    assert "nothing was pushed" in said
    assert "AWS_ACCESS_KEY_ID" in said
    # A new project whose remote nobody has opened yet is no error.
    assert "::warning::nothing was pushed" in step(clone, "src.workflow.push")
