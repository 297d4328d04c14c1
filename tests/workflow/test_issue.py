"""One issue, opened, updated and closed by what monitoring found, whatever strangers sent."""

import json

import pytest

from src.shared.errors import UserError
from src.workflow import issue
from src.workflow.github import INVISIBLE
from tests.workflow.api import BOT

DRIFT = {"kind": "drift", "column": "size", "text": "size has drifted"}
LABELS = {"kind": "metric", "column": "accuracy", "text": "below 0.9"}
STRANGER = {"login": "stranger"}
WORDS = ["nothing found", "found", "undecided"]


def result_of(statuses, findings, labelled=()):
    """As `make monitor` writes it; a finding is of all windows that are bad, if it does not say."""
    bad = [str(at) for at, one in enumerate(statuses) if one == 1]
    windows = [
        {"from": str(at), "status": WORDS[one], "labelled": at in labelled}
        for at, one in enumerate(statuses)
    ]
    return {"windows": windows, "findings": [{"windows": bad} | one for one in findings]}


@pytest.fixture
def night(github, tmp_path, monkeypatch, capsys):
    """Tell the issue of one night's comparison; give what was done."""
    monkeypatch.setenv("RUN_URL", "https://localhost/run")
    monkeypatch.setattr("sys.argv", ["issue", str(tmp_path)])

    def tell(statuses, findings=(), text="# Monitoring", verdict="found"):
        content = result_of(statuses, findings) | {"verdict": verdict}
        (tmp_path / "monitor.json").write_text(json.dumps(content))
        (tmp_path / "monitor.md").write_text(text)
        issue.main()
        return capsys.readouterr().out.strip()

    return tell


def test_quiet_nights_open_nothing(night, github):
    assert night([0, 0, 0], verdict="nothing found") == "all is well, and no issue is open"
    assert github.writes == []


def test_one_issue_from_the_first_finding_to_the_third_window_that_is_well(night, github):
    assert night([0, 1], [DRIFT], "# Drift") == "opened issue #7"
    assert night([0, 1, 1], [DRIFT], "# More drift") == "updated issue #7"
    assert github.comments == {}  # nobody is told twice
    assert night([1, 1, 1], [DRIFT, LABELS]) == "updated issue #7"
    (told,) = github.comments.values()
    assert told["body"] == "New since the last run:\n- accuracy: below 0.9"
    for windows, found in (([1, 1, 0], LABELS), ([1, 0, 0], DRIFT), ([0, 0, 1], DRIFT)):
        assert night(windows, [found]) == "updated issue #7"
    assert len(github.comments) == 1
    assert night([1, 0, 0, 0], [DRIFT]) == "closed issue #7"
    (one,) = github.issues.values()
    assert (one["state"], one["state_reason"]) == ("closed", "completed")
    assert one["labels"] == [{"name": "monitor"}]
    assert night([1, 0, 0, 0, 0], [DRIFT]) == "all is well, and no issue is open"

    assert night([1, 0, 0, 0, 1], [DRIFT]) == "opened issue #8"  # another trouble


def test_a_new_model_closes_the_issue_after_three_windows_of_its_own(night, github):
    night([1], [DRIFT])
    for windows in ([2, 2, 0], [2, 2, 0, 0]):  # of those before, no row was its answer
        assert night(windows, verdict="nothing found") == "updated issue #7"
    assert night([2, 2, 0, 0, 0], verdict="nothing found") == "closed issue #7"


@pytest.mark.parametrize(
    ("statuses", "well"),
    [([], 0), ([0, 0, 0], 3), ([0, 1, 0], 1), ([0, 0, 1], 0), ([0, 2, 0, 2, 0, 2], 3), ([2, 2], 0)],
)
def test_windows_that_could_not_decide_count_neither_way(statuses, well):
    assert issue.windows_well(*result_of(statuses, [DRIFT]).values()) == well


@pytest.mark.parametrize(
    ("labelled", "well"),
    [([], 0), ([1], 0), ([1, 2, 3], 2), ([1, 3, 4, 5], 3), ([0, 1, 2, 3, 4, 5], 4)],
)
def test_what_labels_told_only_labels_end(labelled, well):
    found = result_of([0, 1, 0, 0, 0, 0], [LABELS], labelled)
    assert issue.windows_well(*found.values()) == well
    found = result_of([0, 1, 0, 0, 0, 0], [DRIFT], labelled)
    assert issue.windows_well(*found.values()) == 4


def test_only_the_bots_own_issue_with_label_and_marker_is_taken(night, github):
    body = issue.MARKER + " -->"
    github.add(STRANGER, title="Mine", labels=["monitor"], body=body)
    github.add(BOT, title="No marker", labels=["monitor"], body="x\n" + body)
    github.add(BOT, title="No label", labels=[], body=body)
    github.add(BOT, title="No body", labels=["monitor"], body=None)
    github.add(BOT, title="Pull request", labels=["monitor"], body=body, head={"label": "a:b"})
    before = json.dumps(github.issues)
    assert night([1], [DRIFT]) == "opened issue #12"
    assert json.dumps({one: github.issues[one] for one in range(7, 12)}) == before


def test_the_issue_is_found_among_hundreds(night, github):
    for number in range(150):
        github.add(STRANGER, title=str(number), labels=["monitor"], body="")
    assert night([1], [DRIFT]) == "opened issue #157"
    assert night([1], [DRIFT]) == "updated issue #157"


def test_what_a_client_sent_calls_nobody_and_is_no_markup(night, github):
    night([1], [DRIFT], "@team #1 " + "x" * 100_000)
    (one,) = github.open_issues
    assert f"@{INVISIBLE}team #{INVISIBLE}1" in one["body"]
    assert len(one["body"]) < 65_536
    assert "(cut: " in one["body"]
    text = "colour: new value <img src=x> @team -->\n# Big"
    night([1], [{"kind": "new", "column": "colour --> @team", "text": text}])
    assert one["body"].startswith(f"{issue.MARKER} ")
    assert "@team" not in json.dumps(github.issues)
    (told,) = github.comments.values()
    assert "\\<img" in told["body"]
    assert "\n#" not in told["body"]
    assert "@team" not in told["body"]


def test_what_could_not_decide_changes_nothing(night, github):
    night([1], [DRIFT])
    writes = list(github.writes)
    with pytest.raises(UserError, match="could not decide"):
        night([2], verdict="undecided")
    with pytest.raises(UserError, match="not what `make monitor` writes"):
        night([0], [{"kind": "drift"}])
    assert github.writes == writes


def test_a_thousand_findings_have_room(night, github):
    many = [{"kind": "drift", "column": str(one), "text": "x" * 300} for one in range(1000)]
    night([1], many, "x" * 100_000)
    night([1], many)
    assert len(github.issues[7]["body"]) < 65_536
    assert all(len(one["body"]) < 65_536 for one in github.comments.values())


def test_what_github_refuses_is_said_in_its_words(night, github):
    github.refuses = "issues"
    with pytest.raises(UserError, match=r"GitHub refuses POST issues: 403 .*not permitted"):
        night([1], [DRIFT])
