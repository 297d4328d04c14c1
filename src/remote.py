"""Where the workflow's data comes from: decide once, then pull, push and see what arrived."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable
from configparser import RawConfigParser
from pathlib import Path
from urllib.parse import urlsplit

from src import base, findings, lock
from src.errors import UserError

CONFIG, LOCAL = Path(".dvc/config"), Path(".dvc/config.local")
CI = "ci"  # the name of the remote that DVC_REMOTE_URL stands for

# What opens each kind of store; any one of them will do.
CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN"),
    "gs": ("GCP_CREDENTIALS",),
    "azure": ("AZURE_STORAGE_CONNECTION_STRING",),
    "ssh": ("DVC_SSH_KEY",),
}

PLACES = {"remote": "remote", "cache": "cache", "embedded": "embedded remote"}

# A server that does not answer must not hold a run up for longer than two minutes.
TIMEOUTS = {"read_timeout": "12", "connect_timeout": "12"}

# Some stores that speak S3 send a whole file's checksum along with a part of it, so a pull of 50 MB
# or more would fail: DVC compares with its own hash instead.
VERIFY = {"verify": "true"}
VARIABLES = {
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_MAX_ATTEMPTS": "1",  # s3fs tries five times itself
}

# What DVC's message holds, and what it means.
CAUSES = {
    "NoSuchBucket|bucket does not exist": "the bucket does not exist",
    "NoCredentials|Unable to locate credentials|no credentials": "there are no credentials",
    "Signature|InvalidAccessKey|AccessDenied|Forbidden|403": "the credentials are refused",
    "[Tt]imeout|timed out": "the server does not answer",
    r"Internal Server Error|\(50\d\)|SlowDown|Unavailable": "the server fails (500)",
    "connect|Connection|reset|closed": "the server cannot be reached, or broke off",
}


def read_config(*paths: Path) -> RawConfigParser:
    """Read DVC's configuration; later files go before earlier ones."""
    config = RawConfigParser()
    config.read(paths, encoding="utf-8")
    return config


def remotes(config: RawConfigParser) -> dict[str, str]:
    """Give the address of each remote, the default one first."""
    found = {
        section.split('"')[1]: config[section].get("url", "")
        for section in config.sections()
        if "remote " in section
    }
    default = config.get("core", "remote", fallback="")
    return dict(sorted(found.items(), key=lambda pair: pair[0] != default))


def is_local(url: str) -> bool:
    """Tell whether an address is a folder. A drive's letter is no scheme."""
    return len(urlsplit(url).scheme) < 2


def decide(url: str, variables: dict[str, str]) -> tuple[str, str]:
    """Decide where the data comes from.

    Args:
        url: the remote's address.
        variables: the environment.

    Returns:
        remote, cache or embedded, and why.
    """
    wanted = CREDENTIALS.get(urlsplit(url).scheme, ())
    if is_local(url) and not variables.get("DVC_REMOTE_URL"):
        # GitHub hides variables from forks, so that this may be one of a repository with another.
        return (
            "embedded",
            f"this run knows no other: {url}, and what main left in the Actions cache",
        )
    if wanted and not any(_usable(name, variables) for name in wanted):
        missing = " or ".join(wanted)
        return (
            "cache",
            f"{url} needs {missing}, which this run has not: what main left in the cache",
        )
    return "remote", f"{url}"


def _usable(name: str, variables: dict[str, str]) -> bool:
    # A run that may not ask GitHub for a token, such as a fork's, cannot take a role.
    if name == "AWS_ROLE_ARN" and "ACTIONS_ID_TOKEN_REQUEST_URL" not in variables:
        return False
    return bool(variables.get(name))


def configure(name: str, url: str, variables: dict[str, str]) -> None:
    """Write what Git should not hold into .dvc/config.local: address, time limits, key files."""
    local = read_config(LOCAL)
    scheme = urlsplit(url).scheme
    options = {"url": url} if name == CI else {}
    if scheme == "s3":
        given = {
            "endpointurl": variables.get("AWS_ENDPOINT_URL_S3"),
            "region": variables.get("AWS_REGION"),
        }
        options |= TIMEOUTS | VERIFY | {key: value for key, value in given.items() if value}
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
    """Write a secret where only this user reads it and Git does not look; give the path."""
    path = Path(".dvc/tmp", name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(secret.rstrip("\n") + "\n", encoding="utf-8")
    return str(path)


def cause_of(message: str) -> str:
    """Say in a few words why DVC could not reach a remote, and what it said itself."""
    said = [line for line in message.splitlines() if line.startswith("ERROR")] or [message.strip()]
    line = said[0].removeprefix("ERROR: ").removeprefix("unexpected error - ")
    for pattern, cause in CAUSES.items():
        if re.search(pattern, "\n".join(said)):
            return f"{cause} ({line[:160]})"
    return line[:300]


def dvc(remote: str, url: str, *arguments: str) -> str:
    """Run DVC against a remote and give what it prints; with --quiet it would hide the cause.

    Raises:
        UserError: it failed. The message names the remote and the cause.
    """
    # A variable or secret that is not set comes from the workflow as an empty one.
    variables = {key: value for key, value in os.environ.items() if value} | VARIABLES
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        env=variables,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    # A pull without all the data is rc 1; what is missing is seen by looking.
    if done.returncode and "Checkout failed" not in done.stderr:
        raise UserError(f"dvc {arguments[0]}: remote {remote} ({url}): {cause_of(done.stderr)}")
    return done.stdout


def fetch(paths: Iterable[str], sources: dict[str, str]) -> set[str]:
    """Bring files from the cache or the first remote that has them; give those that none has."""
    absent = _absent(paths)
    for name, url in sources.items():
        if absent:
            dvc(name, url, "pull", "--allow-missing", "--remote", name, *sorted(absent))
            absent = _absent(absent)
    return absent


def _absent(paths: Iterable[str]) -> set[str]:
    return {path for path in paths if not Path(path).exists()}


def plan(
    stages: dict[str, lock.Stage],
    run: set[str],
    pointers: Collection[str],
    sources: dict[str, str],
) -> list[str]:
    """Fetch what stages read, and no more.

    Args:
        stages: what dvc.lock records.
        run: the stages that will run.
        pointers: the files that .dvc files stand for.
        sources: the remotes to ask, in this order.

    Returns:
        The stages to run besides, because nobody has what they make.

    Raises:
        UserError: nobody has a file that no stage makes.
    """
    maker = {path: name for name, stage in stages.items() for path in stage.outs}
    tracked = {path for path in maker if _ignored(path)} | set(pointers)
    remade: set[str] = set()
    while absent := fetch(lock.inputs(stages, remade | run, tracked), sources):
        if lost := sorted(absent & set(pointers)):
            asked = ", ".join(f"{name} ({url})" for name, url in sources.items()) or "none"
            raise UserError(
                f"{', '.join(lost)}: neither in the cache nor on a remote that this run can read "
                f"({asked}), so nothing was trained; whoever has the data: `dvc push`"
            )
        remade |= {maker[path] for path in absent}
    return [name for name in stages if name in remade and name not in run]


def _ignored(path: str) -> bool:
    """Tell whether Git leaves a file to DVC."""
    command = ["git", "check-ignore", "--quiet", "--", path]
    return subprocess.run(command, check=False).returncode == 0


def say_source() -> None:
    """Decide where the data comes from; say it in the log, in the findings and to the workflow."""
    # What a commit may hold there is no finding of this run.
    shutil.rmtree(findings.FOLDER, ignore_errors=True)
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
    findings.note(source=source, why=why, sources=sources)
    print(f"data from the {PLACES[source]}: {why}")
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as file:
            file.write(f"source={source}\n")


def pull(everything: bool, revision: str) -> None:
    """Pull what this run needs: all raw data, or only what the stages that will run read.

    Args:
        everything: whether all stages will run.
        revision: the champion's. Results that are the same there were confirmed there.
    """
    facts = findings.read("source", "sources")
    pointers = lock.read_pointers()
    locked = lock.read_lock()
    stages = lock.stages_of(locked)
    stale = lock.find_stale(stages)
    everything = everything or any(name not in stages for name in stale)
    confirm = facts["source"] != "remote" or not (
        lock.same_results(locked, base.read_yaml(revision, lock.LOCK))
        and base.read("HEAD", lock.METRICS) == base.read(revision, lock.METRICS)
    )
    run = list(stages) if everything else lock.followers(stages, stale)
    checked = [name for name in lock.CONFIRMED if confirm and name in stages and name not in run]
    remade = plan(stages, {*run, *checked}, pointers, facts["sources"])
    findings.note(everything=everything, stale=stale, confirm=confirm, remade=remade)
    print(
        f"stale: {', '.join(stale) or 'none'}; made again for lack: {', '.join(remade) or 'none'}"
    )


def push() -> None:
    """Push to the remote, then make sure that it holds every output."""
    facts = findings.read("source", "sources")
    if facts["source"] == "cache":
        if os.environ.get("DVC_REMOTE_URL"):
            raise UserError(f"nothing was pushed: data from the cache: {facts['why']}")
        # A new project, before anyone has set a secret.
        print(f"::warning::nothing was pushed: data from the cache: {facts['why']}")
        return
    name, url = next(iter(facts["sources"].items()))
    dvc(name, url, "push", "--remote", name)
    status = json.loads(dvc(name, url, "data", "status", "--not-in-remote", "--json"))
    if lacking := sorted({*status.get("not_in_remote", []), *status.get("not_in_cache", [])}):
        raise UserError(f"remote {name} ({url}) lacks {', '.join(lacking)} after the push")
    findings.note(pushed=url)
    print(f"pushed to {name} ({url}), which holds every output")


def main() -> None:
    """Do one of: decide, pull, push."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["decide", "pull", "push"])
    parser.add_argument("--everything", action="store_true", help="pull what all stages need")
    parser.add_argument("--champion", default="", help="the commit to compare with")
    chosen = parser.parse_args()
    if chosen.what == "decide":
        say_source()
    elif chosen.what == "pull":
        pull(chosen.everything, chosen.champion)
    else:
        push()


if __name__ == "__main__":
    findings.run(main)
