"""A clean clone has the same bytes, whatever Git is set to; test_make.py runs one."""

import hashlib
from pathlib import Path

from tests.dvc_runs import dvc, git
from tests.template.clones import clone


def test_line_endings_stay_where_git_would_change_them(tmp_path: Path) -> None:
    folder = clone(tmp_path, "--config", "core.autocrlf=true")
    listed = [line.split() for line in git(folder, "ls-files", "--eol").splitlines()]
    assert {working for _, working, *_ in listed} <= {
        "w/lf",
        "w/-text",
        "w/none",
        "w/",
    }  # the last: links

    [stored] = [path for path in (folder / "data/remote").rglob("*") if path.is_file()]
    name = stored.parent.name + stored.name
    assert hashlib.md5(stored.read_bytes(), usedforsecurity=False).hexdigest() == name
    dvc(folder, "pull", "--allow-missing")
    assert (folder / "data/raw.csv").read_bytes() == stored.read_bytes()
    assert git(folder, "status", "--porcelain") == ""
