"""template.yml as far as it can be tried here: its steps, with targets that do nothing."""

import shutil
import sys
from pathlib import Path

from src.workflow import local
from tests.dvc_runs import call, commit, git
from tests.projects import ROOT
from tests.workflow.runs import OWNER

MAKEFILE = "repro lint unit:\n\t@echo made $@\n"


def test_steps_for_other_systems_run(tmp_path: Path):
    project = tmp_path / "project"
    shutil.copytree(ROOT / ".github", project / ".github")
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "Makefile").write_text(MAKEFILE)
    git(project, "init", "--quiet")
    git(project, "remote", "add", "origin", OWNER)
    commit(project)
    workflow, folder = project / ".github/workflows/template.yml", project / local.STAND_INS
    options = ["--workflows", str(workflow), "--job", "elsewhere", "--action-offline-mode"]
    for system in ("macos", "windows"):
        options += ["--platform", f"{system}-latest=-self-hosted"]
    options += local.stand_ins(workflow.read_text("utf-8"), folder)
    options += ["--env", f"STAND_INS={folder}"]
    act = str(Path(sys.executable).with_name("act"))
    said = call(project, act, "push", *options, XDG_CACHE_HOME=str(tmp_path)).out
    for target in ("repro", "lint", "unit"):
        assert said.count(f"made {target}") == 2
