"""What linters say of the workflows. The tools come from requirements/template.txt."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted(map(str, (GITHUB / "workflows").glob("*.yml")))
ACTIONS = sorted(map(str, (GITHUB / "stand-ins").rglob("action.yml")))
SCHEMA = ["check-jsonschema", "--builtin-schema"]


@pytest.mark.parametrize(
    "command",
    [
        ["zizmor", "--offline", "--no-config", "--persona", "pedantic", str(GITHUB)],
        ["actionlint", *WORKFLOWS],
        [*SCHEMA, "vendor.github-workflows", *WORKFLOWS],
        [*SCHEMA, "vendor.github-actions", *ACTIONS],
        [*SCHEMA, "vendor.dependabot", str(GITHUB / "dependabot.yml")],
    ],
    ids=lambda command: " ".join(command[:3:2]),
)
def test_nothing_is_found(command):
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_in_the_workflows_is_this_repositorys_own():
    for name in ("ci.yml", "comment.yml", "monitor.yml", "retrain.yml"):
        text = (GITHUB / "workflows" / name).read_text("utf-8")
        assert not [word for word in ("template", "cookiecutter", "tests/") if word in text]
        assert "pull_request_target" not in text
