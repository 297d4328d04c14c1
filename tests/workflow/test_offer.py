"""What a training anew hands to the job that opens the pull request."""

import pandas as pd

from src.shared.files import md5
from src.workflow import propose
from tests.dvc_runs import call, commit, git
from tests.workflow.runs import step


def test_a_clone_with_the_patch_has_the_new_rows(clone, tmp_path, monkeypatch):
    """Git gets the new version of the data, and nothing else that is in the embedded remote."""
    ignored = "/data/remote/**\n!/data/remote/**/\n"  # as wherever the remote is the embedded one
    with (clone / ".gitignore").open("a", encoding="utf-8") as file:
        file.write(ignored)
    commit(clone)
    step(clone, "src.workflow.source")
    call(clone, "dvc", "push", "--quiet")
    raw = clone / "data/raw.csv"
    table = pd.read_csv(raw)
    raw.unlink()  # which may be DVC's own
    pd.concat([table, table[:1].assign(size=9.5)]).to_csv(raw, index=False)
    call(clone, "dvc", "add", "--quiet", "data/raw.csv")
    assert "pushed data/raw.csv" in step(clone, "src.workflow.offer")

    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(clone), str(other))
    monkeypatch.chdir(other)
    propose.apply(clone / "report/update.patch")
    added = git(other, "diff", "--cached", "--name-only", "--diff-filter=A").split()
    digest = md5(raw)
    assert added == [f"data/remote/files/md5/{digest[:2]}/{digest[2:]}"]
    call(other, "dvc", "pull", "--quiet", "data/raw.csv")
    assert (other / "data/raw.csv").read_bytes() == raw.read_bytes()


def test_nothing_is_offered_that_could_not_be_pushed(clone):
    variables = {"DVC_REMOTE_URL": "s3://bucket/data"}  # without its keys
    step(clone, "src.workflow.source", variables=variables)
    said = step(clone, "src.workflow.offer", status=1, variables=variables)
    assert "the new rows cannot be pushed: s3://bucket/data needs AWS_ACCESS_KEY_ID" in said
    assert not (clone / "report/update.patch").exists()
