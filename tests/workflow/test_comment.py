"""One comment on the right pull request, whatever the report says."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from src.workflow import comment
from tests.workflow.runs import run_workflow

BOT = {"login": "github-actions[bot]"}


class GitHub(HTTPServer):
    """As much of GitHub's API as a comment needs: one open pull request, of a fork."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict[str, Any]] = [
            {"id": 1, "user": {"login": "stranger"}, "body": comment.MARKER + " not ours"}
        ]
        self.files = ["docs/data.md"]
        self.heads = {"someone:feature": [{"number": 7, "head": {"sha": "abc"}}]}
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: GitHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = unquote(self.path).partition("?")
        if path.endswith("/pulls"):
            self.answer(self.server.heads.get(query.partition("head=")[2], []))
        elif path.endswith("/pulls/7/files"):
            self.answer([{"filename": name} for name in self.server.files])
        else:
            assert path.endswith("/issues/7/comments")
            self.answer(self.server.comments if query.endswith("page=1") else [])

    def do_POST(self) -> None:
        assert self.path.endswith("/issues/7/comments")
        self.server.comments.append(
            {"id": len(self.server.comments) + 1, "user": BOT} | self.read()
        )
        self.answer({})

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.server.comments[number - 1] |= self.read()
        self.answer({})

    def read(self) -> Any:
        assert self.headers["Authorization"] == "Bearer token"
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def github(monkeypatch):
    server = GitHub()
    values = {"HEAD_SHA": "abc", "HEAD_OWNER": "someone", "HEAD_BRANCH": "feature"}
    values |= {"GITHUB_API_URL": server.url, "GITHUB_REPOSITORY": "owner/project"}
    values |= {"GITHUB_TOKEN": "token", "RUN_URL": "https://localhost/run"}
    values["CONCLUSION"] = "failure"
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def post(github, tmp_path, monkeypatch):
    def posted(report: bytes) -> list[str]:
        (tmp_path / "report.md").write_bytes(report)
        monkeypatch.setattr("sys.argv", ["comment", str(tmp_path / "report.md")])
        comment.main()
        return [one["body"] for one in github.comments[1:]]

    return posted


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
    named = f"`.github/x\\n?@{comment.INVISIBLE}b`, `src/gate.py`"
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
    assert call in body.replace(comment.INVISIBLE, "")


def test_what_the_report_writes_as_html_does_stays(post):
    (body,) = post(b"# 1\n\n## Rows\n\n1 &lt; 2 &amp; 3 & 4")
    assert "# 1\n\n## Rows\n\n1 &lt; 2 &amp; 3 & 4" in body


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("kind", ["link", "folder", "linked folder", "pipe"])
def test_only_a_regular_file_is_read(github, tmp_path, monkeypatch, kind):
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
    assert len(github.comments) == 1


@pytest.mark.parametrize(("name", "value"), [("HEAD_SHA", "def"), ("HEAD_BRANCH", "x&head=other")])
def test_a_commit_that_is_no_pull_requests_head_gets_none(post, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert post(b"text") == []


def test_a_run_that_left_no_report_gets_none(github, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["comment", str(tmp_path / "report.md")])
    comment.main()
    assert capsys.readouterr().out == "the run wrote no report: there is nothing to post\n"
    assert len(github.comments) == 1


def test_the_workflow_posts_what_the_run_left(github, clone, hub):
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
            environment={"GITHUB_API_URL": github.url},
        )
    (body,) = [one["body"] for one in github.comments[1:]]
    assert "ended with: **success**\n\n# Passed" in body
