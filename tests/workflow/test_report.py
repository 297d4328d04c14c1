"""The report of a run of the workflow: what its steps have noted."""

import json
import re

from src.workflow.report import describe
from src.workflow.state import State
from tests.workflow.runs import change, repro, step

TRAINED = {"repro": {"outcome": "success"}}


def test_the_step_that_failed_is_named():
    steps = {"gate": {"outcome": "failure"}, "lock": {"outcome": "skipped"}} | TRAINED
    run = describe(State(), steps, "failure")
    assert (run.where, run.failed, run.trained) == ("metrics check", (), True)
    steps = {"pull": {"outcome": "failure"}, "repro": {"outcome": "skipped"}}
    run = describe(State(problem="no data"), steps, "failure")
    assert (run.where, run.failed, run.trained) == ("dvc pull", ("no data",), False)
    assert describe(State(), TRAINED, "cancelled").failed == ("the job: cancelled",)
    assert describe(State(), TRAINED, "success").failed == ()


def test_a_report_of_what_is_on_the_desk(clone):
    step(clone, "src.report")
    markdown = (clone / "report/report.md").read_text("utf-8")
    assert markdown.startswith("# ✅ Passed")
    for heading in ("## Metrics", "## Plots", "## Validation", "## Parameters", "## Stages"):
        assert heading in markdown
    assert "<svg" in (clone / "report/report.html").read_text("utf-8")


def test_a_report_on_the_desk_compares_with_main(clone):
    change(
        clone, train={"arguments": {"C": 0.001}}, gate={"accuracy": {"min": 0.1, "max_drop": 1.0}}
    )
    repro(clone)
    step(clone, "src.workflow.report")
    markdown = (clone / "report/report.md").read_text("utf-8")
    assert "This model was compared with the champion on 60 rows that both tested." in markdown
    page = (clone / "report/report.html").read_text("utf-8")
    assert "worse ← champion → better" in page
    assert "train.arguments.C" in page


def test_a_run_that_stops_early_still_says_what_is_less_strict(clone):
    schema = clone / "data/schema.yaml"
    schema.write_text(re.sub(r"min_value: .*", "min_value: -1000", schema.read_text("utf-8")))
    with (clone / "src/gate.py").open("a", encoding="utf-8") as code:
        code.write("# changed\n")
    steps = json.dumps({"validation": {"outcome": "failure"}})
    variables = {"STEPS": steps, "BASE": "main", "JOB_STATUS": "failure"}
    step(clone, "src.workflow.report", variables=variables)
    markdown = (clone / "report/report.md").read_text("utf-8")
    assert "src/gate.py" in markdown
    assert "data/schema.yaml" in markdown
