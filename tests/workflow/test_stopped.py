"""A comment on why a training anew opened no pull request, whatever strangers sent."""

import json

import pytest

from src.workflow import issue, stopped
from src.workflow.github import INVISIBLE
from tests.workflow.api import BOT
from tests.workflow.runs import run_workflow


@pytest.fixture
def end(github, tmp_path, monkeypatch, capsys):
    """Tell of a training anew that ended as its notes say; give what was said."""
    monkeypatch.setenv("RUN_URL", "https://localhost/run")
    monkeypatch.setattr("sys.argv", ["stopped", str(tmp_path / "report")])

    def tell(notes=None, *, new="", came="", opened=True):
        if opened and not github.issues:
            github.add(BOT, title="Drift", labels=["monitor"], body=f"{issue.MARKER} -->")
        if notes is not None:
            (tmp_path / "report").mkdir(exist_ok=True)
            (tmp_path / "report/state.json").write_text(notes)
        monkeypatch.setenv("NEW", new)
        monkeypatch.setenv("CAME", came)
        stopped.main()
        return capsys.readouterr().out

    return tell


def test_what_stopped_it_is_a_comment_on_the_issue(end, github):
    problem = "gate: accuracy is 0.7, <b> @team #1"
    assert "commented on issue #7" in end(json.dumps({"problem": problem}), new="12")
    [told] = github.comments.values()
    assert told["on"] == 7
    text, tail = told["body"].split("\n\n")
    said = rf"gate: accuracy is 0.7, \<b> \@{INVISIBLE}team #{INVISIBLE}1"
    assert text == f"The training stopped: {said}"
    assert tail == "So there is no pull request; [the run](https://localhost/run) tells more.\n"


def test_that_nothing_is_new_is_said_too(end, github):
    end(new="0", came="3 labelled rows came in, 0 of them are new and added to the data")
    [told] = github.comments.values()
    assert told["body"].startswith("Nothing was trained: 3 labelled rows came in, 0 of them")


@pytest.mark.parametrize("notes", [None, "[]", "no JSON", "{}", '{"problem": ""}'])
def test_a_run_without_a_report_is_told_of_as_well(end, github, notes):
    end(notes)
    [told] = github.comments.values()
    assert told["body"].startswith("A step failed.\n\nSo there is no pull request; [the run](")


def test_without_an_open_issue_nothing_is_written(end, github):
    assert "no issue of monitoring is open" in end(opened=False)
    assert github.writes == []


def test_the_workflow_tells_it(clone, hub, github):
    github.add(BOT, title="Drift", labels=["monitor"], body=f"{issue.MARKER} -->")
    event = {"action": "labeled", "label": {"name": "retrain"}, "issue": {"user": BOT}}
    status, log = run_workflow(
        clone,
        "issues",
        event,
        hub.store,
        workflow="retrain.yml",
        variables={"MONITOR_RECORD": "record", "MONITOR_LABELS": "no/labels.csv"},
        secrets={"GITHUB_TOKEN": "token"},
        environment={"GITHUB_API_URL": github.url},
    )
    assert status == 1, log
    [told] = github.comments.values()
    assert told["body"].startswith("The training stopped: LABELS=no/labels.csv: no such file\n")
    report = (hub.store / "report/report.md").read_text("utf-8")
    assert report.startswith("# ❌ Stopped at: the labelled rows\n")
