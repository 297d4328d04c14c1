"""The Makefile, with an environment of its own."""

import re
import shutil
from pathlib import Path

import pytest

from tests.dvc_runs import call, dvc, git
from tests.projects import ROOT
from tests.template.clones import MADE, assert_as_committed, clone

STEPS = {"venv", "base-lock", "template-lock"}  # of other targets


def test_help_lists_every_target_in_a_line() -> None:
    lines = call(ROOT, "make", "--no-print-directory", "help").out.splitlines()
    assert max(map(len, lines)) <= 80
    listed = [line.split(maxsplit=2) for line in lines]
    assert {words[0] for words in listed} == {"make"}
    assert all(len(words) == 3 for words in listed)

    known = call(ROOT, "make", "--dry-run", "--print-data-base", "help").out
    targets = re.findall(r"^\.PHONY: (.*)$", known, re.MULTILINE)[0].split()
    assert {words[1] for words in listed} == set(targets) - STEPS


@pytest.mark.parametrize(
    ("present", "added"),
    [
        (["raw.csv"], "data/raw.csv"),
        (["raw.parquet", "raw/a.csv"], "data/raw.parquet"),
        (["raw/a.csv", "more.csv.dvc"], "data/raw"),
        (["raw/a.csv", "raw.dvc"], None),
        (["raw/a.csv", "raw.csv.dvc"], None),
    ],
)
def test_own_data_is_tracked_a_folder_where_there_is_no_file(
    tmp_path: Path, present: list[str], added: str | None
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in present:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    said = call(tmp_path, "make", "--dry-run", "repro").out
    assert re.findall(r"dvc add (.*) >", said) == [added] * (added is not None)


def test_a_clone_makes_what_is_committed_and_a_second_repro_nothing(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    first = call(folder, "make", "repro").out
    assert "Installing" in first
    assert set(re.findall(r"Running stage '(\w+)'", first)) >= MADE
    assert_as_committed(folder)

    stamps = {path: path.stat().st_mtime_ns for path in (folder / ".venv").glob("*.stamp")}
    assert stamps
    second = call(folder, "make", "repro").out
    assert "Installing" not in second
    assert "Running stage" not in second
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    objects = git(folder, "ls-files", "data/remote").splitlines()
    dvc(folder, "push")
    stored = [path for path in (folder / "data/remote").rglob("*") if path.is_file()]
    assert len(stored) > len(objects)
    assert_as_committed(folder)
    assert git(folder, "ls-files", "--others", "--exclude-standard") == ""
