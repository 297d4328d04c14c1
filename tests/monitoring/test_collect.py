"""A record is read and moved so that each row counts once, whatever was interrupted."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from src.monitoring.collect import Folder, collect
from src.shared import record, store
from src.shared.errors import UserError
from tests.projects import call, tree

TIME = datetime(2026, 11, 25, 12, tzinfo=UTC)


def put(
    folder: Path, *requests: str, number: int = 0, time: datetime = TIME, **rows: float
) -> Path:
    """Write a file of a record: requests of two rows each, whose only feature is size or `rows`."""
    folder.mkdir(parents=True, exist_ok=True)
    given = rows or {"size": 1.0}
    table = pa.table(
        {
            "request_id": [one for one in requests for _ in "12"],
            "row": pa.array([0, 1] * len(requests), pa.int32()),
            "time": pa.array([time] * len(requests) * 2, pa.timestamp("us", "UTC")),
            "model": ["-".join(given)] * len(requests) * 2,
            "rows": [given] * len(requests) * 2,
            "prediction": ["yes"] * len(requests) * 2,
            "probabilities": pa.nulls(len(requests) * 2),
            "refused": pa.nulls(len(requests) * 2, pa.string()),
        }
    )
    return record.write(folder, table, "0123456789ab", number)


def read(folder: Path | str, since: datetime | None = None) -> list[tuple[str, int]]:
    return [
        (row["request_id"], row["row"])
        for table in record.read(folder, since)
        for row in table.to_pylist()
    ]


def each(*requests: str) -> list[tuple[str, int]]:
    return [(one, row) for one in requests for row in (0, 1)]


def test_files_of_two_models_are_read_in_their_order(tmp_path: Path):
    put(tmp_path, "a", "b")
    put(tmp_path, "c", number=1, colour=2.0, size=1.0)
    first, second = record.read(tmp_path)
    assert (first["model"][0].as_py(), second["model"][0].as_py()) == ("size", "colour-size")
    assert second["rows"].to_pylist() == [{"colour": 2.0, "size": 1.0}] * 2
    assert read(tmp_path) == each("a", "b", "c")


def test_file_that_was_copied_counts_once(tmp_path: Path):
    path = put(tmp_path, "a", "b")
    shutil.copy(path, tmp_path / "copy.parquet")
    (tmp_path / "host").mkdir()
    shutil.copy(path, tmp_path / "host")
    put(tmp_path, "c", number=1)
    assert sorted(read(tmp_path)) == each("a", "b", "c")


def test_since_leaves_out_earlier_rows_and_does_not_open_files_closed_before(tmp_path: Path):
    path = put(tmp_path, "a")
    old = tmp_path / f"20261120T000000000000Z{path.name[22:]}"
    old.write_bytes(b"damaged, but closed on the 20th")
    put(tmp_path, "b", number=1, time=TIME + timedelta(hours=1))
    assert read(tmp_path, TIME + timedelta(minutes=30)) == each("b")
    assert read(tmp_path, TIME) == each("a", "b")
    assert read(tmp_path, TIME + timedelta(days=9)) == []


def test_name_is_not_earlier_than_a_row_though_the_clock_is_set_back(tmp_path: Path):
    late = datetime.now(UTC) + timedelta(days=1)
    put(tmp_path, "a", time=late)
    assert read(tmp_path, late) == each("a")


def test_drafts_are_not_read_and_damaged_or_foreign_files_are_named(tmp_path: Path):
    path = put(tmp_path, "a")
    (tmp_path / ".b.parquet.1.tmp").write_bytes(b"half")
    (tmp_path / ".c.parquet").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("x")
    assert read(tmp_path) == each("a")
    damaged = tmp_path / "z.parquet"
    damaged.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"z\.parquet: damaged"):
        read(tmp_path)
    pa.parquet.write_table(pa.table({"x": [1]}), damaged)
    with pytest.raises(UserError, match=r"z\.parquet: not a file of a record"):
        read(tmp_path)
    with pytest.raises(UserError, match="none: no such folder"):
        read(tmp_path / "none")


def test_closed_files_are_moved_with_their_names_and_nothing_else_is(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "far" / "there"
    files = {put(here, one, number=at).name for at, one in enumerate("abc")}
    others = {here / ".d.parquet.1.tmp", here / "notes.parquet", here / "sub/e.parquet"}
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    before = tree(here)
    count, size = collect(str(here), str(there))
    assert (count, size) == (3, sum(len(before[name]) for name in files))
    assert tree(there) == {name: before[name] for name in files}
    assert {path for path in here.rglob("*") if path.is_file()} == others
    assert collect(str(here), str(there)) == (0, 0)


@pytest.mark.parametrize("step", ["read", "write", "verify", "remove"])
def test_interrupted_anywhere_and_run_again_each_row_arrives_once(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, there = tmp_path / "here", tmp_path / "there"
    for at, one in enumerate("abcd"):
        put(here, one, number=at)
    calls = dict.fromkeys(("read", "write", "verify", "remove"), 0)

    def interrupting(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            calls[name] += 1
            if name == step and calls[name] == 3:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return run

    real = store.folder

    def opened(address: str) -> tuple[object, str]:
        system, path = real(address)
        if address == str(here):
            monkeypatch.setattr(system, "cat_file", interrupting("read", system.cat_file))
            monkeypatch.setattr(system, "rm_file", interrupting("remove", system.rm_file))
        return system, path

    monkeypatch.setattr("src.monitoring.collect.FILES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", interrupting("write", Folder.write))
        patch.setattr(record, "whole", interrupting("verify", record.whole))
        patch.setattr(store, "folder", opened)
        with pytest.raises(KeyboardInterrupt):
            collect(str(here), str(there))
    both = tmp_path / "both"
    shutil.copytree(here, both)
    shutil.copytree(there, both / "there")
    assert sorted(read(both)) == each("a", "b", "c", "d")  # a row in both places counts once
    collect(str(here), str(there))
    assert read(there) == each("a", "b", "c", "d")
    assert list(here.iterdir()) == []


def test_what_arrives_otherwise_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here, there = tmp_path / "here", tmp_path / "there"
    path = put(here, "a")
    write = Folder.write
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", lambda one, name, content: write(one, name, content[:-1]))
        with pytest.raises(UserError, match="did not arrive whole; run this again"):
            collect(str(here), str(there))
    assert path.exists()
    assert collect(str(here), str(there))[0] == 1  # over the half that is there
    assert read(there) == each("a")


def test_two_at_a_time_do_no_harm(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    requests = [f"r{at:02}" for at in range(40)]
    for at, one in enumerate(requests):
        put(here, one, number=at)
    with ThreadPoolExecutor(2) as pool:
        moved = list(pool.map(lambda _: collect(str(here), str(there)), range(2)))
    assert sum(count for count, _ in moved) == 40
    assert read(there) == each(*requests)
    assert list(here.iterdir()) == []


def test_same_folder_by_another_name_is_refused(tmp_path: Path, monkeypatch):
    path = put(tmp_path / "here", "a")
    monkeypatch.chdir(tmp_path)
    names = ["here", "./here/", "here/../here", str(tmp_path / "here")]
    if hasattr(os, "symlink"):
        (tmp_path / "link").symlink_to("here")
        names.append("link")
    for name in names:
        with pytest.raises(UserError, match="FROM and TO are the same folder"):
            collect("here", name)
    assert path.exists()


def test_command_says_what_it_moved_or_in_one_line_what_is_wrong(tmp_path: Path):
    put(tmp_path / "here", "a")
    command = ("python", "-m", "src.monitoring.collect")
    done = call(*command, folder=tmp_path, FROM="here", TO="there")
    assert (done.status, done.err.splitlines()[-1]) == (0, "1 file (0.0 MB) moved to there")
    done = call(*command, folder=tmp_path, FROM="none", TO="there")
    assert done.status == 1
    assert done.err == "error: none: no such folder; set FROM to the folder of a record\n"
    assert call(*command, folder=tmp_path).err.startswith("error: set FROM and TO: make collect")
