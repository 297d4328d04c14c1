"""One pull request on a branch of its own, with what DVC and the stages wrote and nothing else."""

import subprocess

import pytest

from src.shared.errors import UserError
from src.workflow import propose
from tests.dvc_runs import IDENTITY, commit, git
from tests.workflow.api import BOT

PERSON = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@localhost"}


@pytest.fixture
def origin(tmp_path, github, monkeypatch):
    """A repository on GitHub; its checkout is the current folder."""
    folder = tmp_path / "checkout"
    (folder / "metrics").mkdir(parents=True)
    (folder / "dvc.lock").write_text("old\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    git(folder, "clone", "--quiet", "--bare", ".", str(tmp_path / "origin.git"))
    git(folder, "remote", "add", "origin", str(tmp_path / "origin.git"))
    (tmp_path / "report").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RUN_URL", "https://localhost/run")
    monkeypatch.setenv("MAIN", "main")
    monkeypatch.setattr("sys.argv", ["propose", str(tmp_path / "report")])
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "origin.git"


@pytest.fixture
def run(origin, tmp_path, capsys):
    """Propose a change to the files, as a run does that starts from main; give what was said."""

    def propose_it(report="# Passed", **files):
        folder = tmp_path / "checkout"
        git(folder, "switch", "--quiet", "--detach", "main")
        for name, text in (files or {"dvc.lock": "new\n", "metrics/a.json": "{}\n"}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        git(folder, "add", "--intent-to-add", ".")
        (tmp_path / "report/update.patch").write_text(git(folder, "diff", "--binary", "HEAD"))
        git(folder, "add", "--all")
        git(folder, "reset", "--quiet", "--hard")
        (tmp_path / "report/came.md").write_text("- 3 labelled rows came in\n")
        (tmp_path / "report/report.md").write_text(report)
        propose.main()
        return capsys.readouterr().out.strip()

    return propose_it


def branches(origin):
    names = git(origin, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    return {name: git(origin, "show", f"{name}:dvc.lock") for name in names}


def test_one_pull_request_is_opened_and_then_updated(run, origin, github):
    assert run("# ✅ Passed @team") == "opened pull request #7"
    (pull,) = github.open_pulls
    branch = pull["head"]["ref"]
    assert branch.startswith("retrain/20")
    assert pull["base"] == "main"
    assert "3 labelled rows came in" in pull["body"]
    assert "# ✅ Passed" in pull["body"]
    assert "@team" not in pull["body"]
    assert branches(origin) == {"main": "old\n", branch: "new\n"}

    assert run("# ❌ Rejected", **{"dvc.lock": "newer\n"}) == "updated pull request #7"
    assert "# ❌ Rejected" in pull["body"]
    assert branches(origin) == {"main": "old\n", branch: "newer\n"}
    assert len(github.issues) == 1
    assert git(origin, "log", "-1", "--format=%an", branch).strip() == BOT["login"]


def test_what_somebody_pushed_to_the_branch_is_kept(run, origin, github, tmp_path):
    run()
    (pull,) = github.open_pulls
    branch, person = pull["head"]["ref"], tmp_path / "person"
    git(tmp_path, "clone", "--quiet", "--branch", branch, str(origin), str(person))
    (person / "schema.yaml").write_text("wider\n")
    git(person, "add", "--all")
    subprocess.run(["git", "commit", "--quiet", "-m", "Widen"], cwd=person, check=True)
    git(person, "push", "--quiet")
    with pytest.raises(UserError, match=r"test@localhost has pushed to it too, which is kept"):
        run(**{"dvc.lock": "newer\n"})
    assert branches(origin)[branch] == "new\n"
    github.issues[7]["state"] = "closed"  # the branch of today is still there
    with pytest.raises(UserError, match="which is kept"):
        run(**{"dvc.lock": "newer\n"})


def test_a_stranger_cannot_stand_in_for_it(run, origin, github):
    mine = {"ref": "retrain/x", "label": "owner:retrain/x", "repo": {"full_name": "owner/project"}}
    fork = mine | {"repo": {"full_name": "stranger/project"}}
    body = propose.MARKER
    github.add({"login": "stranger"}, head=mine, body=body)
    github.add(BOT, head=fork, body=body)
    github.add(BOT, head=mine | {"repo": None}, body=body)
    github.add(BOT, head=mine | {"ref": "main"}, body=body)
    github.add(BOT, head=mine, body="another one")
    assert run() == "opened pull request #12"
    assert set(branches(origin)) == {"main", github.issues[12]["head"]["ref"]}


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", "src/gate.py", "params.yaml", "a b"])
def test_nothing_but_what_the_stages_write(run, origin, github, name):
    with pytest.raises(UserError, match=f"changes {name}, which no stage writes"):
        run(**{"dvc.lock": "new\n", name: "mine\n"})
    assert set(branches(origin)) == {"main"}
    assert github.writes == []


def test_a_repository_that_allows_no_pull_requests_of_workflows(run, origin, github):
    github.refuses = "pulls"
    with pytest.raises(UserError, match=r"retrain/.* is pushed, but .* allow it under Settings"):
        run()
    github.refuses = "nothing"
    assert run(**{"dvc.lock": "newer\n"}) == "opened pull request #7"  # on the branch that is there
    assert len(branches(origin)) == 2
