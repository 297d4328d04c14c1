"""Which model of the history is the one to beat."""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from src.shared import champion
from src.shared.errors import UserError
from src.shared.paths import METRICS, SLICES
from tests.dvc_runs import commit, git

STRICT = "{min: 0.9, max_drop: 0.02}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A new Git repository, in which the tests work."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def add(folder: Path, value: float, bound: str = STRICT) -> str:
    """Commit a model of this accuracy; return the commit."""
    (folder / METRICS).parent.mkdir(parents=True, exist_ok=True)
    metrics = json.dumps({"accuracy": value})
    (folder / METRICS).write_text(metrics)
    (folder / "dvc.lock").write_text(lock_of(metrics))
    (folder / "params.yaml").write_text("gate: {accuracy: " + bound + "}\n")
    commit(folder)
    return head(folder)


def lock_of(metrics: str) -> str:
    """Give what dvc.lock would name them by."""
    return f"md5: {hashlib.md5(metrics.encode(), usedforsecurity=False).hexdigest()}\n"


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD").strip()


def add_all(folder: Path, values: Iterable[float]) -> None:
    """Commit many models at once."""
    stream = []
    for at, value in enumerate(values):
        metrics = json.dumps({"accuracy": value, "at": at})
        stream += [
            "commit refs/heads/main",
            f"committer test <test@localhost> {at} +0000",
            "data 0",
            *(["from refs/heads/main^0"] if at == 0 else []),
            f"M 100644 inline {METRICS.as_posix()}",
            f"data {len(metrics)}",
            metrics,
            "M 100644 inline dvc.lock",
            f"data {len(lock_of(metrics))}",
            lock_of(metrics),
        ]
    text = "\n".join([*stream, ""]).encode()
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=text, check=True)
    git(folder, "reset", "--quiet", "--hard")


def of(revision: str) -> str:
    """Return the champion's commit."""
    found = champion.find(revision)
    assert found
    return found.commit


@pytest.mark.parametrize(("worst", "passed"), [(0.85, True), (0.75, False)])
def test_a_model_that_missed_a_bound_on_slices_is_no_champion(folder, worst, passed):
    settings = "{min: 0.9, slice_min: 0.8}}\nevaluate: {slice_rows: 30"
    good = add(folder, 0.95, settings)
    found = {"value": worst, "low": None, "high": None, "note": ""}
    small, large = (
        {"name": "a", "column": "a", "rows": rows, "metrics": {"accuracy": one}, "undefined": []}
        for rows, one in ((29, found | {"value": 0.1}), (30, found))
    )
    (folder / SLICES).write_text(json.dumps([small, large]))
    second = add(folder, 0.96, settings)
    assert of(second) == (second if passed else good)


def test_the_champion_is_the_last_model_that_passed(folder):
    """A rejected one lies in Git as well, and must not make way for itself with the next commit."""
    commits = [
        add(folder, value, bound)
        for value, bound in [
            (0.95, "{min: 0.9, max_drop: 0.02}"),
            (0.92, "{min: 0.9, max_drop: 0.02}"),  # a drop of 0.03
            (0.80, "{min: 0.9, max_drop: 0.5}"),  # under the bound
            (0.91, "{min: 0.9, max_drop: 0.05}"),  # a drop that its commit allows
            (0.99, "nonsense"),
        ]
    ]
    good, allowed = commits[0], commits[3]
    assert [of(revision) for revision in commits] == [good, good, good, allowed, allowed]
    found = champion.find(commits[3])
    assert found
    assert found.metrics == {"accuracy": 0.91}
    assert found.best["accuracy"].place.commit == allowed  # the owner has accepted the drop


def test_the_best_model_stays_the_mark_for_many_small_drops(folder):
    commits = [add(folder, value) for value in (0.93, 0.97, 0.955, 0.94)]
    found = champion.find("main")
    assert found
    assert (found.commit, found.best["accuracy"].place.commit) == (commits[3], commits[1])


def test_rejected_commits_do_not_hide_it(folder):
    good = add(folder, 0.95)
    add_all(folder, [0.5] * 300)
    assert of("main") == good


def test_the_first_model_is_known_as_such(folder):
    (folder / "README").touch()
    commit(folder)
    assert champion.find("main") is None  # its whole history has no model
    add(folder, 0.95)
    assert champion.find("") is None  # nor has that of a new branch before this commit
    assert champion.find("0" * 40) is None


def test_a_new_branch_has_the_champion_of_what_it_grew_from(folder):
    good = add(folder, 0.95)
    add(folder, 0.96)
    assert of("0" * 40) == good


def test_models_none_of_which_passed_leave_it_undecided(folder):
    add(folder, 0.5)
    add(folder, 0.6)
    with pytest.raises(UserError, match="none of its 2 commits with metrics passed"):
        champion.find("main")


def test_it_is_found_where_the_project_was_before_it_moved(folder, monkeypatch):
    """Into a folder of its repository and back, in a commit of main or in the pull request."""
    good = add(folder, 0.95)
    for name in ("src/a.py", "src/b.py", "dvc.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"# {name}\n" * 5)
    commit(folder)
    (folder / "ml ö").mkdir()
    for name in ("src", "dvc.yaml", "dvc.lock", "metrics", "params.yaml"):
        git(folder, "mv", name, f"ml ö/{name}")
    commit(folder)
    monkeypatch.chdir(folder / "ml ö")
    found = champion.find("HEAD^")  # the pull request moves it
    assert found
    assert (found.commit, found.place.folder) == (good, "")
    moved = champion.find("HEAD")
    assert moved
    assert moved.place.folder == "ml ö/"  # the commit that moved it holds the same model
    assert of(add(folder / "ml ö", 0.91)) == moved.commit
    monkeypatch.chdir(folder)
    for name in ("src", "dvc.yaml", "dvc.lock", "metrics", "params.yaml"):
        git(folder, "mv", f"ml ö/{name}", name)
    commit(folder)
    assert of("HEAD^") == moved.commit
    assert of(add(folder, 0.92)) == moved.commit  # nor does it count anew there


def test_a_shallow_clone_is_deepened_or_refused(folder, tmp_path, monkeypatch):
    good = add(folder, 0.95)
    add(folder, 0.5)
    for name in ("one", "other"):
        git(tmp_path, "clone", "--quiet", "--depth", "1", folder.as_uri(), name)
    monkeypatch.chdir(tmp_path / "one")
    assert of("HEAD") == good
    monkeypatch.chdir(tmp_path / "other")
    git(tmp_path / "other", "remote", "set-url", "origin", (tmp_path / "gone").as_uri())
    with pytest.raises(UserError, match="the clone is shallow"):
        champion.find("HEAD")


def test_what_a_forced_push_left_behind_is_fetched(folder, tmp_path, monkeypatch):
    before = add(folder, 0.95)
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub has it
    git(folder, "switch", "--quiet", "--orphan", "new")
    add(folder, 0.5)
    git(folder, "branch", "--quiet", "-D", "main")
    git(tmp_path, "clone", "--quiet", folder.as_uri(), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert of(before) == before
    with pytest.raises(UserError, match="no such commit"):
        champion.find("1" * 40)
