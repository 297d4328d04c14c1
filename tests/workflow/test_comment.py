"""One comment on the right pull request, whatever the report says."""

import os
import sys

import pytest

from src.workflow import comment
from src.workflow.github import INVISIBLE
from tests.workflow.runs import run_workflow

STRANGER = {"login": "stranger"}


@pytest.fixture
def open_one(github, monkeypatch):
    """GitHub with one open pull request, of a fork, on which somebody has commented."""
    values = {"HEAD_SHA": "abc", "HEAD_OWNER": "someone", "HEAD_BRANCH": "feature"}
    values |= {"RUN_URL": "https://localhost/run", "CONCLUSION": "failure"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    number = github.add(head={"label": "someone:feature", "sha": "abc"})["number"]
    github.comment(number, comment.MARKER + " not ours", STRANGER)
    return github


def posted(github):
    return [one["body"] for one in github.comments.values() if one["user"] != STRANGER]


@pytest.fixture
def post(open_one, tmp_path, monkeypatch):
    def post_it(report: bytes) -> list[str]:
        (tmp_path / "report.md").write_bytes(report)
        monkeypatch.setattr("sys.argv", ["comment", str(tmp_path / "report.md")])
        comment.main()
        return posted(open_one)

    return post_it


def test_one_comment_is_posted_and_then_updated(post):
    (first,) = post("# ✅ Passed\n".encode())
    said = "[The run](https://localhost/run) ended with: **failure**"  # whatever the report says
    assert first == f"{comment.MARKER}\n{said}\n\n# ✅ Passed\n\n"
    (second,) = post("# ❌ Rejected\n".encode())
    assert "Rejected" in second


def test_what_judges_and_is_changed_is_named_by_github_itself(post, github, tmp_path, monkeypatch):
    owners = tmp_path / "CODEOWNERS"
    owners.write_text("# /docs/ @a\n/.github/ @a\n/src/gate.py @a @b\n")
    monkeypatch.setattr(comment, "OWNERS", owners)
    github.files = ["docs/data.md", ".github/x\n`@b", "src/gate.py", "a/src/gate.py"]
    (body,) = post("# ✅ Passed\n".encode())
    named = f"`.github/x\\n?@{INVISIBLE}b`, `src/gate.py`"
    assert f"⚠️ This changes what judges it: {named}\n\n# ✅ Passed" in body


def test_a_comment_calls_nobody_and_has_a_limit(post):
    (body,) = post(b"@everyone \xff" + "é".encode() * 500_000)
    assert "@everyone" not in body
    assert len(body) < 65_536
    assert "(cut: " in body


@pytest.mark.parametrize(
    "call",
    [
        "@team",
        "&#64;team",
        "&#x40;team",
        "&commat;team",
        "&COMMAT;",
        "#7",
        "a/b#7",
        "gh-7",
        "GH\\-7",
        "#<!-- -->7",
        "https://github.com/a/b/issues/7",
        "http\\://a.b",
        "www.github.com",
    ],
)
def test_a_comment_calls_nobody_by_another_way(post, call):
    (body,) = post(call.encode())
    assert call not in body
    assert call in body.replace(INVISIBLE, "")


def test_what_the_report_writes_as_html_does_stays(post):
    (body,) = post(b"# 1\n\n## Rows\n\n1 &lt; 2 &amp; 3 & 4")
    assert "# 1\n\n## Rows\n\n1 &lt; 2 &amp; 3 & 4" in body


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("kind", ["link", "folder", "linked folder", "pipe"])
def test_only_a_regular_file_is_read(open_one, tmp_path, monkeypatch, kind):
    secret, report = tmp_path / "secret", tmp_path / "report/report.md"
    secret.mkdir()
    (secret / "report.md").write_text("a secret of this machine")
    if kind == "linked folder":
        report.parent.symlink_to(secret)
    else:
        report.parent.mkdir()
        if kind == "link":
            report.symlink_to(secret / "report.md")
        elif kind == "folder":
            report.mkdir()
        else:
            os.mkfifo(report)  # reading it would never end
    monkeypatch.setattr("sys.argv", ["comment", str(report)])
    with pytest.raises(SystemExit, match="not a regular file"):
        comment.main()
    assert posted(open_one) == []


@pytest.mark.parametrize(("name", "value"), [("HEAD_SHA", "def"), ("HEAD_BRANCH", "x&head=other")])
def test_a_commit_that_is_no_pull_requests_head_gets_none(post, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert post(b"text") == []


def test_a_run_that_left_no_report_gets_none(open_one, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["comment", str(tmp_path / "report.md")])
    comment.main()
    assert capsys.readouterr().out == "the run wrote no report: there is nothing to post\n"
    assert posted(open_one) == []


def test_the_workflow_posts_what_the_run_left(open_one, clone, hub):
    (hub.store / "report").mkdir(parents=True)
    (hub.store / "report/report.md").write_text("# Passed", encoding="utf-8")
    event = {
        "event": "pull_request",
        "id": 5,
        "conclusion": "success",
        "head_sha": "abc",
        "head_branch": "feature",
        "head_repository": {"full_name": "someone/fork", "owner": {"login": "someone"}},
        "html_url": "https://localhost/run",
    }
    for _ in range(2):
        run_workflow(
            clone,
            "workflow_run",
            {"workflow_run": event, "action": "completed"},
            hub.store,
            workflow="comment.yml",
            secrets={"GITHUB_TOKEN": "token"},
            environment={"GITHUB_API_URL": open_one.url},
        )
    (body,) = posted(open_one)
    assert "ended with: **success**\n\n# Passed" in body
