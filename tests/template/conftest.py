"""Projects generated for the tests, by Cookiecutter in this process, from a copy of the template.

The copy holds what Git knows of this working tree: no caches, no .venv, nothing that is ignored.
"""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from cookiecutter.main import cookiecutter  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
TEMPLATE = "{{cookiecutter.project_slug}}"

Generate = Callable[..., Path]


def tracked(folder: Path) -> list[str]:
    """List what Git tracks, or would if it were told to."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout.decode()
    return sorted(
        name for name in set(names.split("\0")) if name and os.path.lexists(folder / name)
    )


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables that keep the user's settings of Git and Cookiecutter out, and safe from writes."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\nname = Test\nemail = test@example.org\n[safe]\ndirectory = *\n"
    )
    folders = {name: str(home / name) for name in ("cookiecutters_dir", "replay_dir")}
    (home / "config.yaml").write_text(yaml.safe_dump(folders))
    return {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "COOKIECUTTER_CONFIG": str(home / "config.yaml"),
    }


@pytest.fixture
def here(settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which becomes the current one, with the settings above."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def template(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository as a clone would have it, in a Git repository of its own."""
    copy = tmp_path_factory.mktemp("template") / "ml-template"
    for name in tracked(ROOT):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "-m", "Template"],
    ):
        subprocess.run(["git", *command], cwd=copy, env=os.environ | settings, check=True)
    return copy


@pytest.fixture
def generate(template: Path, here: Path) -> Generate:
    """Generate a project into the current folder, an empty one, from the answers given."""

    def run(**answers: str) -> Path:
        return Path(cookiecutter(str(template), no_input=True, extra_context=answers))

    return run


def load_hook(**answers: str) -> dict[str, Any]:
    """Give what the hook that checks the answers defines, with these answers."""
    source = (ROOT / "hooks/pre_gen_project.py").read_text(encoding="utf-8")
    context = json.dumps({"__raw": "data/raw.csv", "_metrics": {}} | answers)
    source = source.replace("{{ cookiecutter | tojson }}", context).rpartition("sys.exit")[0]
    source = source.replace("{{ shared | tojson }}", "{}")  # it takes what it finds here
    hook: dict[str, Any] = {}
    exec(compile(source, "hook", "exec"), hook)  # noqa: S102
    return hook


def write_table(path: Path, rows: int = 400) -> Path:
    """Write a CSV file with text, missing values and a target of each kind."""
    chance = random.Random(7)  # noqa: S311
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["größe", "colour", "weight, g", "grade", "ripe", "price"])
        for _ in range(rows):
            size = chance.gauss(5, 2)
            table.writerow(
                [
                    "" if chance.random() < 0.1 else round(size, 3),
                    chance.choice(["red", "green", "NA"]),
                    chance.randrange(80, 300),
                    "first class" if size > 6 else "second class" if size > 4 else "third class",
                    int(size + chance.gauss(0, 0.3) > 5),
                    round(2 * size + chance.gauss(0, 0.5), 2),
                ]
            )
    return path


@pytest.fixture
def table(here: Path) -> Path:
    """A CSV file in the current folder."""
    return write_table(here / "table.csv")


def lend_environment(project: Path) -> None:
    """Let a project use the environment that runs the tests, as if it had installed it itself."""
    python = project / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    # No link: Python would look for its packages beside it.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in ("pipeline", "dev"):
        (project / ".venv" / f"{name}.stamp").touch()


def make(project: Path, *arguments: str, **variables: str) -> str:
    """Run make in a project; give what it printed."""
    names = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "PYTEST_XDIST_WORKER")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["MYPY_CACHE_DIR"] = str(ROOT / ".mypy_cache")  # half a minute less for each project
    environment |= variables
    done = subprocess.run(
        ["make", *arguments], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
