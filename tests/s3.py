"""A real S3 server for the tests: rclone, over a folder, on a free port of this machine."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class S3:
    """Where a server listens, and the one key it takes. Its buckets are the folders in `folder`."""

    endpoint: str
    folder: Path
    key: str = "test-access-key"  # rclone refuses short ones even when they are right
    secret: str = "test-secret-key"  # noqa: S105

    @property
    def credentials(self) -> dict[str, str]:
        """The variables from which AWS's clients, and so DVC, take the key."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}


@contextmanager
def serve_s3(folder: Path) -> Iterator[S3]:
    """Serve a folder until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = S3(f"http://{address}", folder)
    rclone = shutil.which("rclone", path=Path(sys.executable).parent) or "rclone"
    command = [rclone, "serve", "s3", str(folder), "--addr", address]
    command += ["--auth-key", f"{server.key},{server.secret}", "--config", "", "--quiet"]
    process = subprocess.Popen(command)
    try:
        _wait(process, address)
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    host, port = address.split(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port))).close()
        except OSError:
            assert process.poll() is None, "rclone has ended"
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"no S3 server at {address} within ten seconds")
