"""A Docker engine and a registry of the tests' own, with a base image that needs no Docker Hub.

`python -m tests.template.delivery.engine FOLDER COMMAND...`, which root runs, starts them for a
command of a user who is not root, such as `make test`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "mmdebstrap": "mmdebstrap",
    "/usr/sbin/sshd": "openssh-server",
}
DOCKERFILE = Path(__file__).parents[3] / "Dockerfile"
BASE = next(
    line.split()[1] for line in DOCKERFILE.read_text().splitlines() if line.startswith("FROM ")
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# The mirror that mmdebstrap takes by itself may be another than the machine's.
INCLUDE = "python3,python3-venv,ca-certificates"

DOWNLOAD = "python3 -m venv /v && /v/bin/pip download --quiet --no-deps --dest /v joblib"


# Where those are that somebody else has started.
HOST, REGISTRY = "TEST_DOCKER_HOST", "TEST_DOCKER_REGISTRY"


class NoEngineError(Exception):
    """Why there is none."""


@dataclass(frozen=True)
class Engine:
    host: str
    registry: str

    @property
    def variables(self) -> dict[str, str]:
        """What commands find the engine by. The legacy builder needs no plug-in."""
        flags = {"DOCKER_BUILDKIT": "0", "DOCKER_BUILD_FLAGS": "--network=host"}
        return os.environ | {"DOCKER_HOST": self.host} | flags

    def docker(self, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            env=self.variables,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker {arguments}: {done.stderr}"
        return done.stdout.strip()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, and end it by its id."""
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def listens(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def wait_for(what: str, process: subprocess.Popen[bytes], log: Path, answers) -> None:
    for _ in range(150):
        if answers():
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise NoEngineError(f"{what} does not start: {last[0][-200:]}")


def find() -> Engine | None:
    """Return what somebody else has started for these tests, if anybody has."""
    host, registry = os.environ.get(HOST), os.environ.get(REGISTRY)
    return Engine(host, registry) if host and registry else None


@contextlib.contextmanager
def start(folder: Path) -> Iterator[Engine]:
    """Start both, with all they write in a folder.

    Raises:
        NoEngineError: this machine cannot run them.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoEngineError("dockerd needs Linux and root")
    lacking = {package for name, package in PROGRAMS.items() if not shutil.which(name)}
    if lacking:
        raise NoEngineError(f"apt-get install {' '.join(sorted(lacking))}")
    folder.mkdir(exist_ok=True)
    host, registry = f"unix://{folder}/docker.sock", f"127.0.0.1:{free_port()}"
    settings = folder / "registry.yml"
    settings.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: {registry}}}\n"
    )
    daemon = ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none"]
    daemon += [f"--data-root={folder}/data", f"--exec-root={folder}/exec"]
    daemon += [f"--pidfile={folder}/docker.pid", f"--host={host}"]
    engine = Engine(host, registry)
    with contextlib.ExitStack() as stack:
        stack.callback(clean, folder)
        log = folder / "registry.log"
        process = stack.enter_context(running(["docker-registry", "serve", str(settings)], log))
        address = ("127.0.0.1", int(registry.partition(":")[2]))
        wait_for("docker-registry", process, log, lambda: listens(address))
        log = folder / "docker.log"
        process = stack.enter_context(running(daemon, log))
        info = ["docker", "info"]
        wait_for(
            "dockerd",
            process,
            log,
            lambda: (
                not subprocess.run(
                    info, env=engine.variables, capture_output=True, check=False
                ).returncode
            ),
        )
        stack.callback(remove_containers, engine)
        make_base(engine, folder)
        yield engine


def remove_containers(engine: Engine) -> None:
    if found := engine.docker("ps", "--all", "--quiet").split():
        engine.docker("rm", "--force", *found)


def clean(folder: Path) -> None:
    """Let go of what an engine may leave mounted, so that the folder can be removed."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def make_base(engine: Engine, folder: Path) -> None:
    """Make what the Dockerfile takes from Docker Hub: Debian with Python, and this machine's pip.

    pip must reach the package index from inside as it does from here.
    """
    names = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines())
    release, archive = names.get("VERSION_CODENAME", "stable").strip('"'), folder / "base.tar"
    command = ["mmdebstrap", "--variant=minbase", f"--include={INCLUDE}", release, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoEngineError(f"mmdebstrap: {done.stderr.strip().splitlines()[-1]}")
    engine.docker("import", str(archive), f"{BASE}-bare")
    archive.unlink()
    context = folder / "base"
    context.mkdir()
    shutil.copyfile(CERTIFICATES, context / "certificates")
    (context / "pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}\n{index_settings()}")
    (context / "Dockerfile").write_text(
        f"FROM {BASE}-bare\nCOPY certificates {CERTIFICATES}\nCOPY pip.conf /etc/pip.conf\n"
    )
    engine.docker("build", "--quiet", "--tag", BASE, str(context))
    try:
        engine.docker("run", "--rm", "--network=host", BASE, "sh", "-c", DOWNLOAD)
    except AssertionError as error:
        raise NoEngineError(f"no package index from inside a container: {error}") from None


def index_settings() -> str:
    """Give the package index that this machine's pip is set to, if to any."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    url = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_INDEX_URL") or done.stdout.strip()
    return f"index-url = {url}\n" if url else ""


def main() -> int:
    """Run a command with an engine, or without one and say why; return its exit status."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with contextlib.ExitStack() as stack:
        variables = dict(os.environ)
        try:
            engine = stack.enter_context(start(folder))
        except NoEngineError as reason:
            print(f"no Docker engine: {reason}", file=sys.stderr)
        else:
            folder.chmod(0o711)
            Path(engine.host.removeprefix("unix://")).chmod(0o666)
            variables |= {HOST: engine.host, REGISTRY: engine.registry}
        return subprocess.run(command, env=variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
