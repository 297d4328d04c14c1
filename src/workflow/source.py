"""Decide where a run's data comes from, once for all steps that pull and push."""

import os
from configparser import RawConfigParser
from pathlib import Path
from urllib.parse import urlsplit

from src.shared import files
from src.shared.paths import REPORT
from src.workflow import github, stages, state

CONFIG, LOCAL = Path(".dvc/config"), Path(".dvc/config.local")
CI = "ci"  # the name of the remote that DVC_REMOTE_URL stands for

# The variables that hold credentials for each kind of store; one of them is enough.
CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN"),
    "gs": ("GCP_CREDENTIALS",),
    "azure": ("AZURE_STORAGE_CONNECTION_STRING",),
    "ssh": ("DVC_SSH_KEY",),
}

# A server that does not answer may delay a run by two minutes at most.
TIMEOUTS = {"read_timeout": "12", "connect_timeout": "12"}

# Whoever can write to a remote could put another file there: DVC hashes what it pulls.
VERIFY = {"verify": "true"}


def read_config(*paths: Path) -> RawConfigParser:
    """Read DVC's configuration; a later file overrides an earlier one."""
    config = RawConfigParser()
    config.read(paths, encoding="utf-8")
    return config


def remotes(config: RawConfigParser) -> dict[str, str]:
    """Return the address of each remote, the default one first."""
    found = {
        section.split('"')[1]: config[section].get("url", "")
        for section in config.sections()
        if "remote " in section
    }
    default = config.get("core", "remote", fallback="")
    return dict(sorted(found.items(), key=lambda pair: pair[0] != default))


def is_local(url: str) -> bool:
    """Tell whether an address is a folder. The letter of a drive is not a scheme."""
    return len(urlsplit(url).scheme) < 2


def decide(url: str, variables: dict[str, str]) -> tuple[str, str]:
    """Decide where the data comes from.

    Args:
        url: the remote's address.
        variables: the environment.

    Returns:
        remote, cache or embedded; and the reason.
    """
    wanted = CREDENTIALS.get(urlsplit(url).scheme, ())
    if is_local(url) and not variables.get("DVC_REMOTE_URL"):
        # GitHub hides variables from forks: the repository may have another remote in a variable.
        return (
            "embedded",
            f"this run knows no other: {url}, and what main left in the Actions cache",
        )
    if wanted and not any(_usable(name, variables) for name in wanted):
        missing = " or ".join(wanted)
        return (
            "cache",
            f"{url} needs {missing}, which this run does not have: what main left in the cache",
        )
    return "remote", f"{url}"


def _usable(name: str, variables: dict[str, str]) -> bool:
    # A run that may not ask GitHub for a token, such as a fork's, cannot take a role.
    if name == "AWS_ROLE_ARN" and "ACTIONS_ID_TOKEN_REQUEST_URL" not in variables:
        return False
    return bool(variables.get(name))


def configure(name: str, url: str, variables: dict[str, str]) -> None:
    """Write address, time limits and key files to .dvc/config.local, which is not in Git."""
    local = read_config(LOCAL)
    scheme = urlsplit(url).scheme
    options = VERIFY | ({"url": url} if name == CI else {})
    if scheme == "s3":
        given = {
            "endpointurl": variables.get("AWS_ENDPOINT_URL_S3"),
            "region": variables.get("AWS_REGION"),
        }
        options |= TIMEOUTS | {key: value for key, value in given.items() if value}
    if scheme == "gs":
        options["credentialpath"] = _keep("gcp.json", variables["GCP_CREDENTIALS"])
    if scheme == "ssh":
        options["keyfile"] = _keep("ssh_key", variables["DVC_SSH_KEY"])
        hosts = Path.home() / ".ssh/known_hosts"
        hosts.parent.mkdir(mode=0o700, exist_ok=True)
        with hosts.open("a", encoding="utf-8") as file:
            file.write(variables.get("DVC_SSH_KNOWN_HOSTS", "") + "\n")
    for section, values in {f"'remote \"{name}\"'": options, "core": {"remote": name}}.items():
        if not local.has_section(section):
            local.add_section(section)
        local[section].update(values)
    with LOCAL.open("w", encoding="utf-8") as file:
        local.write(file)


def _keep(name: str, secret: str) -> str:
    """Write a secret to a file that only this user can read and Git ignores; return the path."""
    path = Path(".dvc/tmp", name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(secret.rstrip("\n") + "\n", encoding="utf-8")
    return str(path)


def main() -> None:
    """Decide where the data comes from; tell the log, the next steps and GitHub."""
    state.begin()
    # A commit may hold such a folder: it says nothing about this run.
    files.remove(REPORT)
    stages.require()
    variables = dict(os.environ)
    committed = remotes(read_config(CONFIG))
    name, url = next(iter(committed.items()), ("", ""))
    if variables.get("DVC_REMOTE_URL"):
        name, url = CI, variables["DVC_REMOTE_URL"]
    source, why = decide(url, variables)
    sources = {key: value for key, value in committed.items() if is_local(value)}
    if source == "remote":
        configure(name, url, variables)
        sources = {name: url} | sources
    state.note(source=source, why=why, sources=sources)
    print(f"data from the {state.PLACES[source]}: {why}")
    github.output(source=source)


if __name__ == "__main__":
    state.run(main)
