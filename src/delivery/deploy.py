"""`make deploy`: let an environment serve an image, without a moment in which nobody answers.

The old and the new container share the host's network and, by SO_REUSEPORT, the port. A service
opens the port only after its model has answered a known row right, so clients never reach one that
is not ready. The check runs inside the new container, on a socket of its own, so that no other
service can answer it. When the new container is ready, the old one gets SIGTERM and finishes its
requests. When it is not ready in time, it is removed, and the old one serves on, untouched. All
this uses the `docker` command, so the engine may be on another machine (DOCKER_HOST).
"""

import os
import re
import secrets
import subprocess
import sys
import time

from src.delivery.docker import docker, inspect, project
from src.shared import errors
from src.shared.errors import UserError

DIGEST = re.compile(r"\w[\w./:-]*@sha256:[0-9a-f]{64}")
CHECK = ("/app/.venv/bin/python", "-m", "src.service.probe")

# The container may only answer requests; /tmp, in memory, is for its socket.
HARDENED = (
    "--network=host",
    "--read-only",
    "--tmpfs=/tmp:size=16m,mode=1777",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=512",  # threads count: the libraries start one for each processor
)

# Without a value: Docker takes it from the environment here, if it is set.
PASSED_ON = ("--env=RECORD_ROWS", "--env=RECORD_MINUTES", "--env=RECORD_MAX_MB")


def deploy(
    image: str, environment: str, port: int, limit: float, memory: str, record: str = ""
) -> bool:
    """Replace the container that serves now by one of an image.

    Args:
        image: a repository with a digest, NAME@sha256:...
        environment: its name, such as staging.
        port: the host's port.
        limit: how many seconds the new container has to become ready.
        memory: how much it may take, such as 2g; one that takes more is ended and started anew.
        record: where it records what it is asked: a folder of the engine's machine or the name of
            a volume; nowhere if empty.

    Returns:
        Whether anything changed; nothing does if the image serves already.

    Raises:
        UserError: another service has the port, the image's attestation does not hold, the image
            cannot be pulled, no gate has passed its model, or its service is not ready in time.
            The old container serves on.
    """
    require(image, environment)
    recording = f" recording in {record}" if record else ""
    serves = f"{image}{recording} on port {port}"
    labels = {"service": service(environment), "serves": serves}
    old = containers(environment)
    serving = [
        one
        for one in old
        if inspect(one)["Config"]["Labels"].get("serves") == labels["serves"] and is_ready(one)
    ]
    if serving and len(old) == 1:
        return False
    if not serving:
        _require_port(port, labels["service"])
        require_attested(image)
        docker("pull", "--quiet", image)
        require_passed(image)
        name = f"--name={labels['service']}-{secrets.token_hex(4)}"
        flags = [name, *(f"--label={key}={value}" for key, value in labels.items()), *HARDENED]
        flags += [f"--memory={memory}", f"--memory-swap={memory}"]  # the latter is of both
        if record:
            flags += [f"--volume={record}:/record", "--env=RECORD=/record", *PASSED_ON]
        serving = [docker("run", "--detach", f"--env=PORT={port}", *flags, image)]
        _wait(serving[0], limit)
        docker("update", "--restart=unless-stopped", serving[0])
    for one in set(old) - set(serving):
        docker("update", "--restart=no", one)
        docker("stop", "--time=45", one)  # longer than the service takes to finish
        docker("rm", "--force", one)
    return True


def _require_port(port: int, service: str) -> None:
    """Refuse the port of another service: the two would share it, and also their clients."""
    for container in docker("ps", "--quiet", "--filter", "label=serves").split():
        labels = inspect(container)["Config"]["Labels"]
        if labels["service"] != service and labels["serves"].endswith(f" on port {port}"):
            raise UserError(f"port {port} belongs to {labels['service']}; set PORT to another one")


def require(image: str, environment: str) -> None:
    """Check the digest and the name of the environment.

    Raises:
        UserError: one of them is not allowed.
    """
    if not DIGEST.fullmatch(image):
        raise UserError(f"IMAGE is {image!r}; allowed: a digest, as in NAME@sha256:64 digits")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", environment):
        raise UserError(f"ENV is {environment!r}; allowed: a name such as staging")


def require_passed(image: str) -> str:
    """Check that an image on the engine says that a gate has passed its model.

    Returns:
        The SHA-256 of its model.

    Raises:
        UserError: it was not built by `make image`, or before this was noted.
    """
    labels = inspect(image)["Config"].get("Labels") or {}
    if not labels.get("gate.passed") or not labels.get("model.sha256"):
        raise UserError(
            f"{image}: does not say that a gate has passed its model; build it by `make publish`"
        )
    return str(labels["model.sha256"])


def require_attested(image: str) -> None:
    """Check by GitHub's `gh` that an image of ghcr.io comes from its repository's workflow.

    Images of private repositories, and those pushed by hand, have no attestation; one line says so.

    Raises:
        UserError: it has an attestation that does not hold, or GitHub did not answer.
    """
    registry, owner, *name = image.partition("@")[0].split("/")
    if registry != "ghcr.io" or not name:
        return  # cd.yml attests images of ghcr.io only
    try:
        command = ["gh", "attestation", "verify", f"oci://{image}", "--repo", f"{owner}/{name[0]}"]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        print("attestation: not checked, as `gh` is not installed", file=sys.stderr)
        return
    if done.returncode == 4:  # the code of `gh` for this
        print("attestation: not checked; run `gh auth login` or set GH_TOKEN", file=sys.stderr)
    elif re.search("no attestations found|HTTP 404", done.stderr, re.IGNORECASE):
        print("attestation: not checked, as GitHub has none of this image", file=sys.stderr)
    elif done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise UserError(f"{image}: the check of its attestation failed: {reason}")


def service(environment: str) -> str:
    """Return the name of an environment's service; an engine may serve several projects."""
    return f"{project()}-{environment}"


def containers(environment: str) -> list[str]:
    """Return the ids of the environment's containers, running or not."""
    label = f"label=service={service(environment)}"
    return docker("ps", "--all", "--no-trunc", "--quiet", "--filter", label).split()


def is_ready(container: str) -> bool:
    """Ask the service of this container, and of no other, whether it is ready."""
    return docker("exec", container, *CHECK, check=False) == "ready"


def _wait(container: str, limit: float) -> None:
    end = time.monotonic() + limit
    while not is_ready(container):
        running = inspect(container)["State"]["Running"]
        if not running or time.monotonic() > end:
            said = docker("logs", "--tail=5", container, check=False, merge=True)
            docker("rm", "--force", container)
            reason = f"was not ready within {limit:g} s" if running else "ended"
            raise UserError(f"the new container {reason}; the old one serves on. {said}")
        time.sleep(0.5)


def settings() -> tuple[int, float, str, str]:
    """Read the variables PORT, READY_SECONDS, MEMORY and RECORD."""
    port, limit = os.environ.get("PORT") or "8000", os.environ.get("READY_SECONDS") or "60"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"PORT is {port!r}; allowed: a number from 1 to 65535")
    if not limit.isdecimal():
        raise UserError(f"READY_SECONDS is {limit!r}; allowed: a whole number")
    memory = os.environ.get("MEMORY") or "2g"
    if not re.fullmatch(r"[1-9]\d*[mg]", memory):
        raise UserError(f"MEMORY is {memory!r}; allowed: a size such as 500m or 2g")
    record = os.environ.get("RECORD") or ""
    if not re.fullmatch(r"|/[\w./-]*\w|\w[\w.-]*", record):
        raise UserError(f"RECORD is {record!r}; allowed: an absolute path, or a volume's name")
    return int(port), float(limit), memory, record


def main() -> None:
    """Deploy IMAGE to ENV."""
    image, environment = os.environ.get("IMAGE", ""), os.environ.get("ENV", "")
    done = "serves now" if deploy(image, environment, *settings()) else "serves already"
    print(f"{environment}: {image} {done}", file=sys.stderr)


if __name__ == "__main__":
    errors.run(main)
