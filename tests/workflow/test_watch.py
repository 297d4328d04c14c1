"""What the nightly workflow does where there is nothing to watch, or it could not decide."""

import sys

import pytest

from src.shared.errors import UserError
from src.shared.paths import SIDECAR
from src.workflow import state, watch
from tests.workflow.runs import run_workflow


@pytest.fixture
def night(tmp_path, monkeypatch):
    """A night whose comparison ends as it is told; give what the next job and people hear."""
    for name in ("output", "summary"):
        monkeypatch.setenv(
            f"GITHUB_{name.upper().replace('SUM', 'STEP_SUM')}", f"{tmp_path}/{name}"
        )
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setattr(state, "read", lambda: state.State(sources={}))
    (tmp_path / SIDECAR).parent.mkdir()
    (tmp_path / SIDECAR).touch()
    (tmp_path / "report").mkdir()
    (tmp_path / "report/monitor.md").write_text("# What was found\n")

    def compare(status):
        code = f"raise SystemExit({status})"
        monkeypatch.setattr(watch, "COMMAND", (sys.executable, "-c", code))
        ended = watch.main()
        return ended, *((tmp_path / name).read_text() for name in ("output", "summary"))

    return compare


@pytest.mark.parametrize("name", ["", ".20261125T000000000000Z-000000000000-000000.parquet.tmp"])
def test_a_record_without_a_file_is_nothing_to_watch(night, tmp_path, name):
    if name:
        (tmp_path / "record").mkdir()
        (tmp_path / "record" / name).touch()
    told = f"There is nothing to watch: {tmp_path}/record holds no record.\n"
    assert night(1) == (0, "", told)


def test_only_what_could_not_decide_fails(night, tmp_path):
    (tmp_path / "record").mkdir()
    (tmp_path / "record/20261125T000000000000Z-000000000000-000000.parquet").touch()
    assert night(2) == (2, "", "# What was found\n\n")
    assert night(0)[:2] == (0, "decided=yes\n")
    assert night(1)[0] == 0
    (tmp_path / SIDECAR).unlink()
    with pytest.raises(UserError, match="on no remote that this run can read"):
        night(0)


def test_a_fork_ends_green_and_says_that_there_is_nothing_to_watch(clone, hub):
    status, log = run_workflow(clone, "schedule", {}, hub.store, workflow="monitor.yml")
    assert status == 0
    assert "There is nothing to watch" in log
    assert "Compare what came in" not in log


def test_no_record_ends_green_too(clone, hub, tmp_path):
    variables = {"MONITOR_RECORD": str(tmp_path / "record")}
    status, log = run_workflow(
        clone, "schedule", {}, hub.store, workflow="monitor.yml", variables=variables
    )
    assert status == 0
    assert f"There is nothing to watch: {tmp_path}/record holds no record." in log
    assert "Keep one issue" not in log
    assert not (hub.store / "monitor").exists()


@pytest.mark.parametrize(
    ("label", "author"), [("bug", "github-actions[bot]"), ("retrain", "stranger")]
)
def test_other_labels_and_other_issues_train_nothing(clone, hub, label, author):
    event = {"action": "labeled", "label": {"name": label}, "issue": {"user": {"login": author}}}
    variables = {"MONITOR_RECORD": "record", "MONITOR_LABELS": "labels.csv"}
    status, log = run_workflow(
        clone, "issues", event, hub.store, workflow="retrain.yml", variables=variables
    )
    assert status == 0
    assert "Train with the new rows" not in log
