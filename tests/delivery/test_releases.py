"""Promotion with real Git, GTO and DVC; the engine's part is in tests/delivery."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from src.delivery import deploy, docker, releases
from src.shared.errors import UserError
from src.shared.paths import MODEL
from tests.dvc_runs import IDENTITY, call, commit, dvc, git
from tests.projects import settings_of, write_settings

IMAGE = "ghcr.io/owner/name@sha256:" + "1" * 64
PASSED = [{"Config": {"Labels": {"gate.passed": "1", "model.sha256": "2"}}}]
OTHER = "ghcr.io/owner/name@sha256:" + "2" * 64


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Git know who promotes, on a machine where nobody has told it."""
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def released(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an origin, whose remote is outside it, as the current folder."""
    monkeypatch.chdir(pipeline)
    monkeypatch.delenv("DVC_REMOTE_URL", raising=False)
    dvc(pipeline, "remote", "add", "--force", "--default", "store", str(tmp_path / "store"))
    commit(pipeline)
    git(pipeline, "clone", "--quiet", "--bare", ".", str(tmp_path / "origin.git"))
    git(pipeline, "remote", "add", "origin", str(tmp_path / "origin.git"))
    return pipeline


def train_again(folder: Path, **train: object) -> None:
    settings = settings_of(train={"arguments": {"C": 0.1}} | train)
    write_settings(folder, settings)
    dvc(folder, "repro")


def test_promotion_is_recorded_once_and_brings_the_model_back(released: Path, tmp_path: Path):
    head, first = git(released, "rev-parse", "HEAD").strip(), digest(released / MODEL)
    dvc(released, "push")
    release, new = releases.record(IMAGE, "production")
    assert (release.version, release.commit, new) == ("v1.0.0", head, True)
    tags = git(tmp_path / "origin.git", "tag")
    assert tags.split() == ["model#production#1", "model@v1.0.0"]
    assert releases.record(IMAGE, "production") == (release, False)
    assert git(tmp_path / "origin.git", "tag") == tags

    train_again(released)
    commit(released)
    dvc(released, "push")
    assert digest(released / MODEL) != first
    release, new = releases.record(OTHER, "production")
    assert (release.version, new) == ("v1.1.0", True)
    origin = (tmp_path / "origin.git").as_uri()
    dvc(tmp_path, "get", "--rev", "model@v1.0.0", origin, MODEL.as_posix(), "--out", "first")
    dvc(tmp_path, "get", "--rev", "model#production#2", origin, MODEL.as_posix(), "--out", "second")
    assert digest(tmp_path / "first") == first
    assert digest(tmp_path / "second") == digest(released / MODEL)

    known = releases.releases()
    assert releases.previous("production", known).image == IMAGE
    lines = releases.table(known).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["v1.1.0", "production"], ["v1.0.0", "-"]]
    assert all("accuracy 0." in line for line in lines[1:])
    assert lines[1].endswith(OTHER)


def test_model_that_main_does_not_name_gets_a_commit_beside_it(released: Path, tmp_path: Path):
    origin = tmp_path / "origin.git"
    before = git(origin, "rev-parse", "HEAD")
    train_again(released)  # as another machine would: what is not committed
    dvc(released, "push")
    status = git(released, "status", "--porcelain")
    assert "dvc.lock" in status
    release, _ = releases.record(IMAGE, "production")
    assert git(released, "rev-parse", f"{release.commit}^") == before
    assert git(origin, "rev-parse", "HEAD") == before
    assert git(released, "status", "--porcelain") == status
    dvc(tmp_path, "get", "--rev", "model@v1.0.0", origin.as_uri(), MODEL.as_posix(), "--out", "out")
    assert digest(tmp_path / "out") == digest(released / MODEL)


def test_without_a_store_the_tag_brings_the_model_along(pipeline: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(pipeline)
    monkeypatch.delenv("DVC_REMOTE_URL", raising=False)
    head = git(pipeline, "rev-parse", "HEAD")
    release, _ = releases.record(IMAGE, "production")
    assert git(pipeline, "rev-parse", f"{release.commit}^") == head
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch", "model@v1.0.0", str(pipeline), str(clone))
    dvc(clone, "pull", MODEL.as_posix())
    assert digest(clone / MODEL) == digest(pipeline / MODEL)


def test_same_model_in_another_image_is_another_version(released: Path):
    releases.record(IMAGE, "production")
    release, new = releases.record(OTHER, "production")
    assert (release.version, new) == ("v1.1.0", True)


def test_version_that_serves_again_is_the_current_one(released: Path):
    first, _ = releases.record(IMAGE, "production")
    releases.record(OTHER, "production")
    releases._assign(first, "production")
    known = releases.releases()
    assert [release.version for release in releases.served("production", known)] == ["v1.0.0"]
    with pytest.raises(UserError, match=r"production: no version served before v1\.0\.0"):
        releases.previous("production", known)


def test_rollback_leads_past_what_an_earlier_one_took_back(released: Path):
    names = ["first", "bad", "good"]
    images = {name: f"ghcr.io/owner/name@sha256:{at:064}" for at, name in enumerate(names)}
    first, _ = releases.record(images["first"], "production")
    releases.record(images["bad"], "production")
    releases._assign(first, "production")
    releases.record(images["good"], "production")
    assert releases.previous("production", releases.releases()).image == images["first"]


def test_tags_of_other_makings_are_passed_over(released: Path):
    release, _ = releases.record(IMAGE, "production")
    for tag in ("model#production", "model@v9.0.0"):
        git(released, "tag", "--annotate", "--message", "by\thand", tag)
    assert [one.version for one in releases.releases()] == [release.version]


def test_git_that_does_not_know_who_it_is_says_so(released: Path):
    code = (
        "from src.delivery import deploy, releases; from src.shared import errors, sidecar;"
        "deploy.require_passed = lambda image: sidecar.read(releases.SIDECAR).model.sha256;"
        "errors.run(releases.main)"
    )
    wanted = {"ENV": "production", "IMAGE": IMAGE, "GIT_COMMITTER_NAME": ""}
    said = call(released, "python", "-c", code, "promote", status=1, **wanted).err
    assert said.startswith("error: cannot tag the model: Git user name and email must be")
    assert not git(released, "tag")


def test_stages_are_apart(released: Path):
    releases.record(IMAGE, "production")
    with pytest.raises(UserError, match="staging: no version served before any"):
        releases.previous("staging", releases.releases())
    release, new = releases.record(IMAGE, "staging")
    assert (release.version, new) == ("v1.0.0", True)


def test_lock_of_another_model_is_refused(released: Path):
    (released / MODEL).write_bytes(b"another")
    with pytest.raises(UserError, match="does not name this models/model"):
        releases.record(IMAGE, "production")
    assert not git(released, "tag")


@pytest.mark.parametrize(
    ("image", "environment", "message"),
    [
        ("name:latest", "staging", "IMAGE is 'name:latest'; allowed: a digest"),
        ("", "staging", "IMAGE is ''"),
        ("--rm@sha256:" + "1" * 64, "staging", "IMAGE is"),
        (IMAGE, "", "ENV is ''; allowed: a name such as staging"),
        (IMAGE, "--all", "ENV is '--all'"),
    ],
)
def test_what_cannot_be_deployed_is_refused(image, environment, message):
    with pytest.raises(UserError) as caught:
        deploy.require(image, environment)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "x"),
        ("READY_SECONDS", "1s"),
        ("MEMORY", "0g"),
        ("MEMORY", "much"),
        ("RECORD", "a/b"),
        ("RECORD", "/srv/a:ro"),
        ("RECORD", "/"),
        ("RECORD", "-v"),
    ],
)
def test_wrong_settings_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name} is '{value}'"):
        deploy.settings()


def test_container_has_limits(monkeypatch):
    """What it may take of the host's memory and processes, besides what it may do."""
    ran = []

    def engine(*arguments: str, **how: bool) -> str:
        ran.append(arguments)
        said = {"run": "new", "exec": "ready", "inspect": json.dumps(PASSED)}
        return said.get(arguments[0], "")

    monkeypatch.setattr(deploy, "docker", engine)
    monkeypatch.setattr(docker, "docker", engine)
    monkeypatch.setenv("MEMORY", "700m")
    monkeypatch.setenv("PATH", "")  # no `gh`, which would ask GitHub for the image
    assert deploy.deploy(IMAGE, "staging", *deploy.settings())
    (started,) = (arguments for arguments in ran if arguments[0] == "run")
    assert {"--memory=700m", "--memory-swap=700m", "--pids-limit=512"} < set(started)
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} < set(started)
    assert started[-1] == IMAGE
    assert not any("record" in one.lower() for one in started)
    monkeypatch.delenv("MEMORY")
    assert deploy.settings() == (8000, 60, "2g", "")


@pytest.mark.parametrize("place", ["/srv/record", "record"])
def test_container_records_where_record_says(monkeypatch, place):
    """In a folder of the host or a volume; a container that records elsewhere is replaced."""
    ran = []
    serving = json.loads(json.dumps(PASSED))
    serving[0]["Config"]["Labels"]["serves"] = f"{IMAGE} on port 8000"

    def engine(*arguments: str, **how: bool) -> str:
        ran.append(arguments)
        said = {"run": "new", "exec": "ready", "ps": "old", "inspect": json.dumps(serving)}
        return said.get(arguments[0], "")

    monkeypatch.setattr(deploy, "docker", engine)
    monkeypatch.setattr(docker, "docker", engine)
    monkeypatch.setattr(deploy, "_require_port", lambda *_: None)
    monkeypatch.setenv("PATH", "")  # no `gh`, which would ask GitHub for the image
    assert not deploy.deploy(IMAGE, "staging", *deploy.settings())
    monkeypatch.setenv("RECORD", place)
    assert deploy.deploy(IMAGE, "staging", *deploy.settings())
    (started,) = (arguments for arguments in ran if arguments[0] == "run")
    assert {f"--volume={place}:/record", "--env=RECORD=/record", "--env=RECORD_ROWS"} < set(started)
    assert f"--label=serves={IMAGE} recording in {place} on port 8000" in started


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("status", "says", "told"),
    [
        (0, "", ""),
        (4, "To get started, run gh auth login", "not checked; run `gh auth login`"),
        (1, "Error: no attestations found for subject: sha256:1", "GitHub has none of this image"),
        (1, "HTTP 404: Not Found", "GitHub has none of this image"),
        (1, "X Verification failed", None),
    ],
)
def test_attestation_is_checked_where_there_is_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    says: str,
    told: str | None,
) -> None:
    stand_in = tmp_path / "gh"
    stand_in.write_text(
        f"#!/bin/sh\necho \"$@\" >'{tmp_path}/asked'\necho '{says}' >&2\nexit {status}\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    ran: list[str] = []

    def engine(*arguments: str, **how: bool) -> str:
        ran.append(arguments[0])
        return ""

    monkeypatch.setattr(deploy, "docker", engine)
    if told is None:
        with pytest.raises(UserError, match="check of its attestation failed: X Verification"):
            deploy.deploy(IMAGE, "staging", *deploy.settings())
        assert "pull" not in ran
        assert "run" not in ran
    else:
        deploy.require_attested(IMAGE)
        said = capsys.readouterr().err
        assert said.count("\n") == bool(told)
        assert told in said
    asked = (tmp_path / "asked").read_text().strip()
    assert asked == f"attestation verify oci://{IMAGE} --repo owner/name"


def test_attestation_is_asked_for_only_where_it_can_be(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    deploy.require_attested(IMAGE)
    assert "`gh` is not installed" in capsys.readouterr().err
    deploy.require_attested(IMAGE.replace("ghcr.io", "registry.example.org"))
    assert capsys.readouterr().err == ""


def test_missing_docker_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="docker: not found"):
        docker.docker("ps")


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
def test_engine_that_cannot_be_reached_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(UserError, match="docker ps failed: ") as caught:
        docker.docker("ps")
    assert "\n" not in str(caught.value)
