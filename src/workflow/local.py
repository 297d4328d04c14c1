"""Run a workflow on this machine as GitHub would, with act and without Docker.

`python -m src.workflow.local` runs the pull request's workflow on a clone of the last commit, or
with EVENT=push main's, which then pushes nothing. It takes actions that need GitHub or the network
from .github/stand-ins instead.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from src.shared import errors
from src.shared.errors import UserError
from src.shared.git import git
from src.shared.paths import REPORT
from src.workflow.champion import find_base

QUEUE = "      queue: max\n"  # new in 2026
STAND_INS = Path(".github/stand-ins")
USES = re.compile(r"uses: (([\w-]+)/([\w-]+))(?:/[\w/-]+)?@([0-9a-f]{40})")
VARIABLES = ("DVC_REMOTE_URL", "AWS_REGION", "AWS_ENDPOINT_URL_S3")
SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "GCP_CREDENTIALS",
    "AZURE_STORAGE_CONNECTION_STRING",
    "DVC_SSH_KEY",
    "DVC_SSH_KNOWN_HOSTS",
)


def stand_ins(workflow: str, folder: Path) -> list[str]:
    """Return the options by which act takes actions from folders instead of from GitHub."""
    found = {}
    for repository, _, name, commit in USES.findall(workflow):
        if (folder / name).is_dir():  # act does the checkout itself
            found[f"{repository}@{commit}"] = folder / name
    return [
        part for pair in found.items() for part in ("--local-repository", "=".join(map(str, pair)))
    ]


def command(
    clone: Path,
    event: str,
    payload: Mapping[str, Any],
    store: Path,
    *,
    workflow: str = "ci.yml",
    job: str | None = None,
    variables: Mapping[str, str],
    secrets: Mapping[str, str],
    environment: Mapping[str, str],
) -> list[str]:
    """Return the command that runs a workflow.

    Args:
        clone: the repository; act works on a copy of its files, without those that Git ignores.
        event: the event on GitHub, such as `pull_request`.
        payload: what GitHub says about the event.
        store: a folder for the cache and the artifacts, which GitHub would keep.
        workflow: the name of its file.
        job: the only job to run; without it all jobs run.
        variables: the repository's variables.
        secrets: the repository's secrets.
        environment: more variables. READY_VENV names a virtual environment to use, so that nothing
            is installed.
    """
    store.mkdir(parents=True, exist_ok=True)
    workflows = clone / ".github/workflows"
    text = (workflows / workflow).read_text("utf-8")
    every = "".join(
        file.read_text("utf-8") for file in workflows.glob("*.yml")
    )  # one calls another
    path = store / workflow
    path.write_text(text.replace(QUEUE, ""), encoding="utf-8")  # new in 2026; act refuses it
    event_file = store / "event.json"
    event_file.write_text(json.dumps(payload), encoding="utf-8")
    folder = (clone / STAND_INS).resolve()
    inside = {"ACTIONS_STORE": str(store.resolve()), "STAND_INS": str(folder), **environment}
    options = {"--var": variables, "--secret": secrets, "--env": inside}
    return [
        shutil.which("act", path=Path(sys.executable).parent) or "act",
        event,
        *(["--job", job] if job else []),
        "--directory", str(clone), "--workflows", str(path), "--eventpath", str(event_file),
        "--platform", "ubuntu-latest=-self-hosted", "--action-offline-mode",
        *stand_ins(every, folder),
        *(part for option, pairs in options.items() for pair in pairs.items()
          for part in (option, "=".join(pair))),
    ]  # fmt: skip


# What GitHub would say about each event, from the commit that it starts from.
EVENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "pull_request": lambda base: {"pull_request": {"number": 0, "base": {"sha": base}}},
    "push": lambda base: {"before": base or "0" * 40, "forced": False},
}


def caller() -> str:
    """Return the name of the workflow that runs for a push to main: it calls ci.yml."""
    workflows = Path(".github/workflows").glob("*.yml")
    found = [path.name for path in workflows if "uses: ./.github/" in path.read_text("utf-8")]
    if not found:
        raise UserError(".github/workflows: none calls ci.yml, so nothing runs on main")
    return found[0]


def _suit(clone: Path) -> None:
    """Take out of a clone's workflows what act refuses, without a change that Git would see."""
    for path in (clone / ".github/workflows").glob("*.yml"):
        text = path.read_text("utf-8")
        path.write_text(text.replace(QUEUE, ""), encoding="utf-8")
        git("-C", str(clone), "update-index", "--assume-unchanged", str(path))


def main() -> int:
    """Run the workflow of EVENT on the last commit; leave its report in report/."""
    event = os.environ.get("EVENT") or "pull_request"
    if event not in EVENTS:
        raise UserError(f"EVENT is {event!r}; allowed: {' or '.join(EVENTS)}")
    if git("status", "--porcelain"):
        print("changes that are not committed are not checked, as on GitHub", file=sys.stderr)
    base = find_base()
    if event == "push" and base == git("rev-parse", "HEAD"):
        base = git("rev-parse", "HEAD^") if git("rev-list", "--count", "HEAD") != "1" else ""
    payload = EVENTS[event](base)
    with tempfile.TemporaryDirectory() as name:
        clone, store = Path(name, "clone"), Path(name, "store")
        git("clone", "--quiet", ".", str(clone))
        _suit(clone)
        cache = Path(".dvc/cache/files")
        if cache.exists():  # so that no data is pulled
            shutil.copytree(cache, store / "cache/dvc-here" / cache)
        done = subprocess.run(
            command(
                clone,
                event,
                payload,
                store,
                workflow=caller() if event == "push" else "ci.yml",
                job="train" if event == "push" else None,
                variables={key: os.environ[key] for key in VARIABLES if os.environ.get(key)},
                secrets={key: os.environ[key] for key in SECRETS if os.environ.get(key)},
                environment={"READY_VENV": sys.prefix, "PUSH": "no"},
            ),
            env=os.environ | {"XDG_CACHE_HOME": name},
            check=False,
        )
        if (store / "report").exists():
            shutil.copytree(store / "report", REPORT, dirs_exist_ok=True)
            print(f"the report: {REPORT / 'report.html'}")
    return done.returncode


if __name__ == "__main__":
    errors.run(main)
