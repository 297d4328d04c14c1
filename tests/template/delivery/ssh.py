"""A host that `DOCKER_HOST=ssh://user@host` reaches: sshd on loopback, in front of an engine."""

import contextlib
import getpass
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.projects import ROOT
from tests.template.delivery.engine import Engine, free_port, listens, running, wait_for

# Where OpenSSH looks is the user's real home; with these it looks where open-ssh wrote.
CLIENT = """#!/bin/sh
exec /usr/bin/ssh -F "$HOME/.ssh/config" -o IdentitiesOnly=yes \\
  -o BatchMode=yes -o UserKnownHostsFile="$HOME/.ssh/known_hosts" "$@"
"""


@contextlib.contextmanager
def reach(engine: Engine, folder: Path) -> Iterator[dict[str, str]]:
    """Give the variables by which `docker` goes through ssh, with what open-ssh makes of secrets.

    Args:
        engine: what listens behind sshd.
        folder: for keys and settings; made here.
    """
    home, programs = folder / "home", folder / "bin"
    home.mkdir(parents=True)
    programs.mkdir()
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    port, settings, log = free_port(), folder / "sshd_config", folder / "sshd.log"
    settings.write_text(
        f'ListenAddress 127.0.0.1\nPort {port}\nHostKey "{folder}/host"\nPidFile none\n'
        f'AuthorizedKeysFile "{folder}/user.pub"\nStrictModes no\nUsePAM no\n'
        f"PasswordAuthentication no\nSetEnv DOCKER_HOST={engine.host}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
    (programs / "ssh").write_text(CLIENT)
    (programs / "ssh").chmod(0o755)
    with running(["/usr/sbin/sshd", "-D", "-e", "-f", str(settings)], log) as process:
        wait_for("sshd", process, log, lambda: listens(("127.0.0.1", port)))
        key = (folder / "host.pub").read_text()
        secrets = {"SSH_KEY": (folder / "user").read_text().strip()}
        secrets["SSH_KNOWN_HOSTS"] = f"[127.0.0.1]:{port} {key}"
        variables = {"HOME": str(home)}
        subprocess.run(
            [ROOT / ".github/open-ssh"], env=os.environ | variables | secrets, check=True
        )
        yield variables | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "DOCKER_HOST": f"ssh://{getpass.getuser()}@127.0.0.1:{port}",
        }
