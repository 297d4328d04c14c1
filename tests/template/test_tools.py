"""The root's tools do not see the template folder, where everything stands a second time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.conftest import ROOT, TEMPLATE


@pytest.mark.parametrize(
    "command",
    [
        "dvc stage list --all --name-only",
        "dvc dag --md",
        "pytest --collect-only --quiet .",
        "ruff check .",
        "ruff format --check .",
        "mypy .",
    ],
)
def test_tool_does_not_see_the_template_folder(command: str, template: Path, here: Path) -> None:
    copy = Path(shutil.copytree(template, here / "copy", symlinks=True))
    mistake = "import os\ndef test_beacon():\n  x: int = ''\n"
    (copy / TEMPLATE / "test_beacon.py").write_text(mistake)
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=copy,
        env=os.environ | {"MYPY_CACHE_DIR": str(ROOT / ".mypy_cache")},
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "beacon" not in said
    assert "cookiecutter.project_slug" not in said
