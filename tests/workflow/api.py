"""A stand-in for GitHub's API on loopback, which keeps issues, pull requests and comments."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BOT = {"login": "github-actions[bot]"}


class GitHub(ThreadingHTTPServer):
    """One repository, of `owner`. Whoever writes is GitHub's own bot.

    Attributes:
        issues: pull requests as well, by number, as GitHub has them.
        comments: all of them, by id; `on` says on which issue.
        files: what the pull requests change.
        writes: each request that changed something: its method and path.
        refuses: how a path begins that GitHub forbids, as a repository's settings may.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.files = ["docs/data.md"]
        self.writes: list[str] = []
        self.refuses = "nothing"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What GitHub tells a run about itself."""
        return {"GITHUB_API_URL": self.url, "GITHUB_REPOSITORY": "owner/project",
                "GITHUB_REPOSITORY_OWNER": "owner", "GITHUB_TOKEN": "token"}  # fmt: skip

    @property
    def open_issues(self) -> list[dict[str, Any]]:
        return self._open("issue")

    @property
    def open_pulls(self) -> list[dict[str, Any]]:
        return self._open("pull")

    def _open(self, kind: str) -> list[dict[str, Any]]:
        return [
            one for one in self.issues.values()
            if one["state"] == "open" and ("head" in one) == (kind == "pull")
        ]  # fmt: skip

    def add(self, author: dict[str, str] = BOT, **content: Any) -> dict[str, Any]:
        """Open an issue, or a pull request if it has a head."""
        number = max(self.issues, default=6) + 1
        content["labels"] = [{"name": name} for name in content.get("labels", ())]
        if "head" in content:
            content["pull_request"] = {}
        self.issues[number] = {"number": number, "state": "open", "user": author} | content
        return self.issues[number]

    def comment(self, number: int, body: str, author: dict[str, str] = BOT) -> None:
        """Comment on an issue."""
        one = len(self.comments) + 1
        self.comments[one] = {"id": one, "on": number, "user": author, "body": body}

    def answer(self, method: str, project: str, path: str, query: dict[str, str], sent: Any) -> Any:
        """Give what GitHub answers.

        Args:
            method: of HTTP.
            project: its owner and name.
            path: below the project's address.
            query: the address's.
            sent: what came with it.
        """
        if method != "GET":
            self.writes.append(f"{method} {path}")
        page = slice((int(query.get("page", 1)) - 1) * 100, int(query.get("page", 1)) * 100)
        match method, path.split("/"):
            case "GET", ["issues"]:
                label = query["labels"]
                return [
                    one for one in self.issues.values()
                    if one["state"] == query["state"] and {"name": label} in one["labels"]
                ][page]  # fmt: skip
            case "GET", ["pulls"]:
                found = self.open_pulls
                if "head" in query:
                    found = [one for one in found if one["head"]["label"] == query["head"]]
                return found[page]
            case "GET", ["pulls", _, "files"]:
                return [{"filename": name} for name in self.files][page]
            case "GET", ["issues", number, "comments"]:
                return [one for one in self.comments.values() if one["on"] == int(number)][page]
            case "POST", ["issues"]:
                return self.add(**sent)
            case "POST", ["pulls"]:
                branch = sent["head"]
                label = f"{project.partition('/')[0]}:{branch}"
                head = {"label": label, "ref": branch, "repo": {"full_name": project}}
                return self.add(**sent | {"head": head})
            case "POST", ["issues", number, "comments"]:
                self.comment(int(number), sent["body"])
                return {}
            case "PATCH", ["issues", "comments", one]:
                self.comments[int(one)] |= sent
                return {}
            case "PATCH", ["issues" | "pulls", number]:
                self.issues[int(number)] |= sent
                return {}
        raise AssertionError(f"{method} {path}: GitHub's stand-in does not know this")


class Handler(BaseHTTPRequestHandler):
    server: GitHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.handle_any()

    def do_POST(self) -> None:
        self.handle_any()

    def do_PATCH(self) -> None:
        self.handle_any()

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        [(project, path)] = re.findall("^/repos/([^/]+/[^/]+)/(.*)", unquote(url.path))
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"null"
        if self.headers["Authorization"] != "Bearer token":
            return self.send(401, {"message": "Bad credentials"})
        if path.startswith(self.server.refuses) and self.command != "GET":
            return self.send(403, {"message": "not permitted"})
        content = self.server.answer(self.command, project, path, query, json.loads(sent))
        return self.send(200, content)

    def send(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
