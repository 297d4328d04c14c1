"""The pull request's workflow as a whole, run by act on this machine: `make ci`."""

import json
import shutil
import sys

import pytest

from src.workflow.state import State
from tests.dvc_runs import call, git
from tests.workflow.runs import Run

ORDER = [
    "Where the data comes from",
    "Lint, format and types",
    "Unit tests",
    "dvc pull",
    "Data validation",
    "Smoke model",
    "dvc repro",
    "Metrics check",
    "dvc.lock is up to date",
    "Report",
]


@pytest.mark.skipif(sys.platform == "win32", reason="act runs the steps in bash")
def test_every_step_runs_in_its_order_and_the_report_is_here(clone):
    """Without a secret, and without the outputs: what a clone or a fork has."""
    shutil.rmtree(clone / ".dvc/cache")
    done = call(clone, sys.executable, "-m", "src.workflow.local")
    report = (clone / "report/report.md").read_text("utf-8")
    run = Run(done.status, done.out, report)
    assert [name for name in run.steps if name in ORDER] == ORDER
    assert "the report: report/report.html" in run.log
    assert "data from the embedded" in run.log
    assert run.report.startswith("# ✅ Passed")
    state = State(**json.loads((clone / "report/state.json").read_text("utf-8")))
    assert state.remade == ["prepare", "train"]  # really trained: nobody has the model
    assert git(clone, "status", "--porcelain") == ""
