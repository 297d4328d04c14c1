"""From a commit to production and back, with a real engine and a real registry.

One test, as its steps follow from one another and the engine and the image take a minute to make.
"""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from tests.dvc_runs import IDENTITY, commit, dvc, git, make_git_project
from tests.projects import ROOT
from tests.template.delivery.engine import Engine, free_port
from tests.template.delivery.ssh import reach

BROKEN = {
    "hangs": 'CMD ["/app/.venv/bin/python", "-c", "import time; time.sleep(600)"]',
    "ends": "COPY Dockerfile /app/models/model.joblib",
}


class Client:
    """Asks one thing after another, each time on a new connection, until it is told to stop."""

    def __init__(self, port: int) -> None:
        self.url, self.statuses = f"http://127.0.0.1:{port}/health", [0][:0]
        self.lost: list[str] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                with urllib.request.urlopen(self.url, timeout=10) as response:  # noqa: S310
                    self.statuses.append(response.status)
            except OSError as error:
                self.lost.append(repr(error))
            time.sleep(0.01)

    def __enter__(self) -> "Client":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


class Project:
    """A small project, and the commands that somebody types in it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        self.repository = f"{engine.registry}/owner/name"
        make_git_project(folder)
        for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements/serve.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(ROOT / "tests/integration", folder / "tests/integration")
        dvc(folder, "repro")
        commit(folder)

    def run(self, *module: str, given: dict[str, str] | None = None, status: int = 0) -> str:
        """Run a module of src and give all it prints."""
        done = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=self.folder,
            env=self.engine.variables | IDENTITY | (given or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{module}: {done.returncode}\n{done.stdout}"
        return done.stdout.strip()

    def publish(self) -> str:
        return self.run(
            "src.delivery.image", "publish", given={"REPOSITORY": self.repository}
        ).splitlines()[-1]

    def derive(self, image: str, line: str) -> str:
        """Push an image with one more line in its Dockerfile."""
        tag, context = f"{self.repository}:derived", self.folder.parent / "derived"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(f"FROM {image}\n{line}\n")
        self.engine.docker("build", "--quiet", "--tag", tag, str(context))
        pushed = self.engine.docker("push", tag)
        return f"{self.repository}@{pushed.partition('digest: ')[2].split()[0]}"


def version(port: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=10) as response:
        return dict(json.load(response))


def test_from_a_commit_to_production_and_back(engine: Engine, tmp_path: Path, capsys):
    project = Project(tmp_path / "project", engine)
    head = git(project.folder, "rev-parse", "HEAD").strip()
    image = project.publish()
    check_image(project, image, head)
    again = project.run("src.delivery.image", "publish", given={"REPOSITORY": project.repository})
    assert "exists already; nothing to build" in again
    assert again.splitlines()[-1] == image

    staging = {"ENV": "staging", "PORT": str(free_port()), "IMAGE": image}
    assert "serves now" in project.run("src.delivery.deploy", given=staging)
    check_container(engine)
    url = f"http://127.0.0.1:{staging['PORT']}"
    tested = project.run("pytest", "tests/integration", "--base-url", url, "-q")
    assert "1000 of 1000 requests answered right" in tested
    assert "failed" not in tested

    with reach(engine, tmp_path / "ssh") as through_ssh:
        assert "serves already" in project.run("src.delivery.deploy", given=staging | through_ssh)
        other = staging | {"IMAGE": project.derive(image, "ENV COMMIT=other")}
        assert "serves now" in project.run("src.delivery.deploy", given=other | through_ssh)
        stranger = through_ssh | {"HOME": str(tmp_path)}  # who has no key
        said = project.run("src.delivery.deploy", given=staging | stranger, status=1)
        assert said.startswith("error: docker "), said
        assert len(said.splitlines()) == 1
    assert version(int(staging["PORT"]))["commit"] == "other"

    production = {"ENV": "production", "PORT": str(free_port()), "IMAGE": image}
    port = int(production["PORT"])
    taken = production | {"PORT": staging["PORT"]}
    said = project.run("src.delivery.deploy", given=taken, status=1)
    assert (
        said
        == f"error: port {staging['PORT']} belongs to ml-pipeline-staging; set PORT to another one"
    )
    assert "serves now" in project.run("src.delivery.deploy", given=production)
    assert (
        project.run("src.delivery.releases", "promote", given=production)
        == "production: v1.0.0 promoted"
    )

    # The same commit once more: nothing changes.
    before = engine.docker("ps", "--all", "--no-trunc"), git(project.folder, "tag")
    assert "serves already" in project.run("src.delivery.deploy", given=production)
    said = project.run("src.delivery.releases", "promote", given=production)
    assert said == "production: v1.0.0 is promoted already"
    after = engine.docker("ps", "--all", "--no-trunc"), git(project.folder, "tag")
    assert [ids(before[0]), before[1]] == [ids(after[0]), after[1]]

    for name, line in BROKEN.items():
        broken = production | {"IMAGE": project.derive(image, line), "READY_SECONDS": "6"}
        with Client(port) as client:
            said = project.run("src.delivery.deploy", given=broken, status=1)
        assert "the old one serves on" in said, name
        assert client.lost == []
        assert set(client.statuses) == {200}
        assert len(client.statuses) > 50
        assert ids(engine.docker("ps", "--all", "--no-trunc")) == ids(before[0])
        with capsys.disabled():
            print(f"\nan image that {name}: the old one answered all {len(client.statuses)}")

    second = production | {"IMAGE": project.derive(image, "ENV COMMIT=second"), "RECORD": "asked"}
    with Client(port) as client:
        assert "serves now" in project.run("src.delivery.deploy", given=second)
        assert version(port)["commit"] == "second"
        request_id = ask(project, port)
        assert project.run("src.delivery.releases", "promote", given=second).endswith(
            "v1.1.0 promoted"
        )
        assert "v1.0.0 serves again" in project.run(
            "src.delivery.releases", "rollback", given=production
        )
    assert version(port)["commit"] == head
    assert recorded(engine, image, "asked") == [request_id]  # written when it was stopped
    assert client.lost == []
    assert set(client.statuses) == {200}
    with capsys.disabled():
        print(f"there and back: {len(client.statuses)} requests, none lost")
    assert len(engine.docker("ps", "--quiet").split()) == 2  # one for each environment
    listed = project.run("src.delivery.releases", "models").splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["v1.1.0", "-"], ["v1.0.0", "production"]]


def ask(project: Project, port: int) -> str:
    """Ask for the sidecar's example; give the request's id."""
    row = json.loads((project.folder / "models/model.json").read_text())["example"]["row"]
    url, kind = f"http://127.0.0.1:{port}/predict", {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(row).encode(), kind)
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(response.headers["x-request-id"])


def recorded(engine: Engine, image: str, volume: str) -> list[str]:
    """Read the ids of the requests that a volume holds, by a container that has it."""
    code = """
import pathlib, pyarrow.parquet
for path in sorted(pathlib.Path("/record").glob("[0-9]*.parquet")):
    print(*pyarrow.parquet.read_table(path)["request_id"].to_pylist())
"""
    read = ["run", "--rm", "--network=host", f"--volume={volume}:/record", image]
    return engine.docker(*read, "/app/.venv/bin/python", "-c", code).split()


def ids(listed: str) -> list[str]:
    return [line.split()[0] for line in listed.splitlines()]


def check_image(project: Project, image: str, head: str) -> None:
    """The image says what it holds, needs no shell and runs as nobody."""
    (facts,) = json.loads(project.engine.docker("inspect", image))
    sidecar = json.loads((project.folder / "models/model.json").read_text())
    labels = facts["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == head
    assert labels["model.sha256"] == sidecar["model"]["sha256"]
    assert facts["Config"]["User"] == "10001:10001"
    assert facts["Config"]["Cmd"] == ["/app/.venv/bin/python", "-m", "src.service.server"]
    assert facts["Config"]["Healthcheck"]["Test"][0] == "CMD"
    tags = project.engine.docker("image", "ls", "--format", "{{.Tag}}", project.repository)
    assert tags.split()[0] == head


def check_container(engine: Engine) -> None:
    """No DVC, no compiler, no pip; bytecode is there; nothing can be written; healthy."""
    (container,) = engine.docker("ps", "--quiet").split()
    code = """
import importlib.util, os, pathlib, shutil
assert [os.getuid(), os.getgid()] == [10001, 10001]
assert not any(map(importlib.util.find_spec, ["dvc", "dvclive", "pip", "pytest"]))
assert not any(map(shutil.which, ["gcc", "cc", "git"]))
assert pathlib.Path("/app/src/__pycache__").is_dir()
assert sorted(os.listdir("/app")) == [".venv", "metrics", "models", "src"]
for path in ("/app/x", "/app/models/model.joblib", "/var/x"):
    try:
        open(path, "w")
    except OSError:
        continue
    raise AssertionError(path)
"""
    engine.docker("exec", container, "/app/.venv/bin/python", "-c", code)
    health = "{{.State.Health.Status}}"
    for _ in range(60):
        if engine.docker("inspect", "--format", health, container) == "healthy":
            return
        time.sleep(0.5)
    raise AssertionError(engine.docker("inspect", "--format", "{{json .State.Health}}", container))
