"""Remotes of every kind, each a real server on loopback: what was replaced there is not taken.

The plug-ins and Google's server lie in a folder of their own, .venv/remotes, which only these tests
put on the path. Azure's server, azurite, comes from npm, where .ci/run takes it from: its test runs
where `azurite-blob` is on the PATH (`npm install --global azurite`).
"""

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.projects import ROOT, Result, call
from tests.s3 import serve_s3
from tests.template.conftest import Generate
from tests.template.delivery.engine import free_port, listens, running, wait_for

PACKAGES = ROOT / ".venv/remotes"
MODEL = b"a model that was judged" * 40
OTHER = b"a model of a stranger's" * 40

# Azurite's account, the same everywhere: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Remote:
    """A server: how a project names it, what it keeps its files in, what opens it."""

    answers: dict[str, str]
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    local: dict[str, str] = field(default_factory=dict)  # what its owner sets in .dvc/config.local

    def replace(self) -> None:
        """Put another model where the server keeps the one it was given."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        kept = [path for path in files if MODEL in path.read_bytes()]
        assert kept, f"no file of the server holds what was pushed: {files}"
        for path in kept:
            path.chmod(0o644)  # DVC's own files may only be read
            path.write_bytes(path.read_bytes().replace(MODEL, OTHER))


@contextmanager
def embedded(folder: Path) -> Iterator[Remote]:
    yield Remote({"remote": "embedded"}, Path("ml-pipeline/data/remote").resolve())


@contextmanager
def s3(folder: Path) -> Iterator[Remote]:
    (folder / "bucket").mkdir()
    with serve_s3(folder) as server:
        url = {"remote_url": "s3://bucket/path", "s3_endpoint": server.endpoint}
        yield Remote({"remote": "s3"} | url, folder, server.credentials)


@contextmanager
def ssh(folder: Path) -> Iterator[Remote]:
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True)
    port, settings, log = free_port(), folder / "sshd_config", folder / "sshd.log"
    settings.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:  # sshd insists on it then
        Path("/run/sshd").mkdir(exist_ok=True)
    with running(["/usr/sbin/sshd", "-D", "-e", "-f", str(settings)], log) as process:
        wait_for("sshd", process, log, lambda: listens(("127.0.0.1", port)))
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}/data"
        secrets = {
            "DVC_SSH_KEY": (folder / "user").read_text(),
            "DVC_SSH_KNOWN_HOSTS": f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}",
        }
        answers = {"remote": "ssh", "remote_url": url}
        yield Remote(answers, folder / "data", secrets, {"keyfile": str(folder / "user")})


@contextmanager
def gcs(folder: Path) -> Iterator[Remote]:
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "gcp_storage_emulator", "--data-dir", str(folder / "data")]
    command += ["start", "--host", "127.0.0.1", "--port", str(port), "--default-bucket", "bucket"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PACKAGES))
        with running(command, log) as process:
            wait_for("Google's server", process, log, lambda: listens(("127.0.0.1", port)))
            address = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
            answers = {"remote": "gcs", "remote_url": "gs://bucket/path"}
            yield Remote(answers, folder / "data", address | {"GCP_CREDENTIALS": "{}"})


@contextmanager
def azure(folder: Path) -> Iterator[Remote]:
    if not (azurite := shutil.which("azurite-blob")):
        pytest.skip("azurite-blob is not on the PATH: `npm install --global azurite`")
    port, log = free_port(), folder / "log"
    command = [azurite, "--blobPort", str(port), "--location", str(folder / "data")]
    with running([*command, "--skipApiVersionCheck", "--disableTelemetry"], log) as process:
        wait_for("azurite", process, log, lambda: listens(("127.0.0.1", port)))
        text = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        )
        make = (
            "import sys; from azure.storage.blob import BlobServiceClient as Client; "
            "Client.from_connection_string(sys.argv[1]).create_container('container')"
        )
        path = {"PYTHONPATH": str(PACKAGES)}
        assert call("python", "-c", make, text, folder=folder, **path).status == 0
        answers = {"remote": "azure", "remote_url": "azure://container/path"}
        yield Remote(answers, folder / "data", {"AZURE_STORAGE_CONNECTION_STRING": text})


Server = Callable[[Path], AbstractContextManager[Remote]]


@pytest.mark.parametrize("server", [embedded, s3, ssh, gcs, azure])
def test_what_was_replaced_on_the_remote_is_not_taken(
    generate: Generate, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> None:
    with server(tmp_path_factory.mktemp("server")) as remote:
        project = generate(**remote.answers)
        name = "embedded" if remote.answers["remote"] == "embedded" else "storage"

        def run(*arguments: str, **variables: str) -> Result:
            path = {"PYTHONPATH": f"{project}{os.pathsep}{PACKAGES}"}
            return call("python", "-m", *arguments, folder=project, **path, **variables)

        def pull(*arguments: str) -> bytes | None:
            """Pull as on a machine that has nothing; give what came."""
            shutil.rmtree(project / ".dvc/cache")
            (project / "model.bin").unlink(missing_ok=True)
            done = run("dvc", "pull", *arguments, "model.bin", **remote.variables)
            came = project / "model.bin"
            assert (done.status == 0) == came.exists(), done.err
            return came.read_bytes() if came.exists() else None

        for key, value in remote.local.items():
            assert run("dvc", "remote", "modify", "--local", name, key, value).status == 0
        (project / "model.bin").write_bytes(MODEL)
        assert run("dvc", "add", "--quiet", "model.bin").status == 0
        pushed = run("dvc", "push", "model.bin", **remote.variables)
        assert pushed.status == 0, pushed.err
        assert pull() == MODEL
        remote.replace()
        assert pull() is None

        if name == "storage":  # as the workflow does it, where only a variable names the remote
            url = {"DVC_REMOTE_URL": remote.answers["remote_url"]}
            if endpoint := remote.answers.get("s3_endpoint"):
                url["AWS_ENDPOINT_URL_S3"] = endpoint
            done = run("src.workflow.source", **remote.variables, **url)
            assert done.out.startswith("data from the remote"), done
            assert pull("--remote", "ci") is None
