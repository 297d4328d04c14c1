"""The raw table is read in batches and files: whatever their sizes, all is the same."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from src import cleaning
from src.prepare import second_hashes
from src.shared import columns, hashes, progress, raw, tables
from src.shared.duplicates import earlier_equals
from src.shared.paths import SCHEMA, TEST, TRAIN
from src.shared.spill import spilled
from src.shared.tables import read_split
from tests.projects import fruit, settings_of, write_settings, write_table

ROWS = 120
IDS = [f"n{at:03}" for at in range(ROWS)]
FRUIT = fruit(ROWS)


def twice(table: pd.DataFrame) -> pd.DataFrame:
    """Repeat rows, near and far."""
    return pd.concat([table, table[:9], table[3:5], table[60:63], table[3:5]], ignore_index=True)


def with_gaps() -> pd.DataFrame:
    """Leave values out late in the table, and in rows that are left out."""
    table = FRUIT.astype({"seeds": "Int64", "organic": "boolean"})
    table.loc[[7, 90], "ripe"] = None
    table.loc[7, "seeds"] = None  # only there: no gap is left
    table.loc[100, "organic"] = None
    return table


# For each case a table, settings, and what is said.
CASES: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "repeats are dropped": (twice(FRUIT), {"prepare": {"duplicates": "drop"}}, "16 rows repeat"),
    "repeats are kept": (twice(FRUIT), {"prepare": {"duplicates": "keep"}}, "16 rows repeat"),
    "repeats are together": (
        twice(FRUIT),
        {"prepare": {"duplicates": "together", "split": "time", "column": "picked"}},
        "16 rows repeat",
    ),
    "nobody said what repeats are": (twice(FRUIT), {}, "error: prepare.duplicates: 16 of 136 rows"),
    "key": (FRUIT.assign(id=IDS), {"data": {"key": ["id"]}}, "120 rows: "),
    "key of two columns": (
        FRUIT.assign(a=np.arange(ROWS) % 12, b=np.arange(ROWS) // 12),
        {"data": {"key": ["b", "a"]}},
        "120 rows: ",
    ),
    "key that is none": (
        FRUIT.assign(id=[*IDS[:110], *IDS[3:13]]),
        {"data": {"key": ["id"]}},
        "error: data.key: 10 rows have the id of an earlier row: n003, n004, n005, n006, n007, ...",
    ),
    "groups": (
        FRUIT.assign(id=np.arange(ROWS) * 7 % 23),
        {"prepare": {"split": "group", "column": "id"}},
        "120 rows: ",
    ),
    "time": (FRUIT, {"prepare": {"split": "time", "column": "picked"}}, "120 rows: 90 "),
    "rare classes": (
        FRUIT.assign(ripe=["rare" if at in (2, 99) else IDS[at % 3] for at in range(ROWS)]),
        {"data": {"drop_rare_classes": 3}},
        "2 rows of rare classes are left out: rare",
    ),
    "missing target": (
        with_gaps(),
        {"data": {"missing_target": "drop"}},
        "2 rows without a target are left out",
    ),
    "missing target stays": (with_gaps(), {}, "120 rows: "),
    "numbers of rows": (
        FRUIT.assign(at=np.arange(1, ROWS + 1)),
        {},
        "error: RAW: column 'at' counts the rows in the file's order",
    ),
    "nearly numbers of rows": (FRUIT.assign(at=[*range(ROWS - 1), 0]), {}, "120 rows: "),
    "empty column": (FRUIT.assign(nothing=np.nan), {}, "120 rows: "),
    "column without a name": (
        FRUIT.assign(**{"": np.nan}),
        {},
        "error: RAW: column 7 has neither a name nor values",
    ),
}


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 50)


def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "BLOCK", 300)
    monkeypatch.setattr(raw, "ROWS", 7)
    monkeypatch.setattr(hashes, "BATCH", 3)


def results(run, stage: str, *paths: Path) -> tuple[Any, ...]:
    """Run a stage; give what it printed and the files that it made."""
    for path in paths:
        path.unlink(missing_ok=True)
    return run(stage), [path.read_bytes() if path.exists() else None for path in paths]


@pytest.mark.parametrize("name", ["data/raw.csv", "data/raw.parquet"])
@pytest.mark.parametrize("case", CASES)
def test_split_does_not_depend_on_the_batches(project, run, monkeypatch, name, case):
    table, sections, said = CASES[case]
    sections = sections | {"data": {"raw": name, **sections.get("data", {})}}
    project(table=table, **sections)
    once = results(run, "prepare", TRAIN, TEST)
    assert said.replace("RAW", name) in once[0].out + once[0].err
    assert (once[1][0] is not None) is (once[0].status == 0)
    small_batches(monkeypatch)
    assert results(run, "prepare", TRAIN, TEST) == once
    assert not list(Path("data").rglob("*.tmp"))
    if once[0].status == 0:
        assert pa.parquet.ParquetFile(TRAIN).metadata.num_row_groups > 1


@pytest.mark.parametrize("name", ["data/raw.csv", "data/raw.parquet"])
def test_a_gap_in_rows_that_are_left_out_is_none(project, run, name):
    table = with_gaps()
    table.loc[2, ["seeds", "ripe"]] = [None, "rare"]
    choice = {"missing_target": "drop", "drop_rare_classes": 3}
    project(table=table, data={"raw": name, **choice})
    assert run("prepare").status == 0
    schema = pa.parquet.read_schema(TEST)
    gaps = [schema.field(one).nullable for one in ("seeds", "organic", "ripe")]
    assert gaps == [False, True, False]


@pytest.mark.parametrize("name", ["data/raw.csv", "data/raw.parquet"])
def test_schema_does_not_depend_on_the_batches(project, run, monkeypatch, name):
    table = twice(FRUIT).assign(
        whole=[*range(120), *range(15), 10**17],
        late=[*["7"] * 130, *["x"] * 6],
        flag=[*["1"] * 100, *["true"] * 36],
        empty=None,
        zip=[f"{at:03}" for at in range(136)],
        mixed=[*range(130), *[0.5] * 6],
    )
    project(table=table, data={"raw": name})
    once = results(run, "schema", SCHEMA)
    assert once[0].status == 0
    small_batches(monkeypatch)
    assert results(run, "schema", SCHEMA) == once
    # Where a value late in the table decides.
    described = raw.read_kinds()
    assert [described[one] for one in ("whole", "late", "empty", "zip", "mixed")] == [
        *("whole", "text", "number", "text", "number")
    ]


PARTS = [["1", "0"], ["2"], ["2.5"], ["007"], ["true"], [str(2**64)], ["2024-01-31"], ["x"], []]


@pytest.mark.parametrize("first", PARTS)
@pytest.mark.parametrize("second", PARTS)
def test_what_texts_hold_does_not_depend_on_the_batches(first, second):
    look = columns.Look()
    for part in (first, second):
        look.at(pa.chunked_array([pa.array(part, pa.string())]))
    assert look.kind == columns.infer(pa.chunked_array([pa.array(first + second, pa.string())]))


@pytest.mark.parametrize("name", ["data/raw.csv", "data/raw.parquet"])
def test_odd_texts_are_counted_in_all_batches(project, run, monkeypatch, name):
    project(table=FRUIT, data={"raw": name})
    odd = FRUIT["seeds"].astype(str).where(~FRUIT.index.isin([40, 80, 81, 119]), "many")
    write_table(Path(name), FRUIT.assign(seeds=odd))
    small_batches(monkeypatch)
    done = run("prepare")
    said = "column 'seeds' is to hold whole numbers, but 4 of 120 rows (first: row 41) hold 'many'"
    assert said in done.err
    assert done.err.count("\n") == 1


def test_rows_whose_hashes_collide_are_told_apart():
    batch = pa.record_batch({"x": ["a", "b", "a", "c"], "y": [1, 1, 1, 1]})
    batches = [batch.slice(0, 1), batch.slice(1)]
    second = second_hashes(batches, np.array([True, True, True, False]), ["x", "y"])
    assert earlier_equals(second, np.zeros(4, np.uint64)).tolist() == [0, 0, 1, 0]


def test_a_column_that_waited_in_a_file_keeps_no_other_in_memory(tmp_path):
    with spilled(tmp_path / "rows.tmp") as spill:
        for start in (0, 3):
            spill.write(pa.record_batch({"x": [start, 1, 2], "y": ["a", None, "c"]}))
        column = spill.column("x")
        assert column.to_pylist() == [0, 1, 2, 3, 1, 2]
        assert all(chunk.buffers()[1].parent is None for chunk in column.chunks)
        assert spill.column("y").to_pylist() == ["a", None, "c"] * 2
        assert sum(map(len, spill)) == 6
    assert not list(tmp_path.iterdir())


def test_codes_do_not_depend_on_the_chunks():
    texts = ["b", None, "a", "b", "c", None]
    chunked = pa.chunked_array([texts[:2], texts[2:2], texts[2:]], pa.string())
    assert hashes.codes_of(chunked).tolist() == [0, 1, 2, 0, 3, 1]
    rows = [pa.table({"x": column}) for column in (chunked, chunked.combine_chunks())]
    assert hashes.hash_rows(rows[0]).tolist() == hashes.hash_rows(rows[1]).tolist()


def write_folder(table: pd.DataFrame, suffix: str, cuts: tuple[int, ...] = (50, 51)) -> Path:
    """Write a table as a folder of files, with others between them that do not count."""
    folder = Path("data/raw")
    ends = [0, *cuts, len(table)]
    names = [f"a{suffix}", f"b/1{suffix}", f"b2{suffix}"]
    for name, start, end in zip(names, ends[:-1], ends[1:], strict=True):
        write_table(folder / name, table.iloc[start:end])
    for name in ("_SUCCESS", f".b{suffix}", "notes.txt", f"_temporary/x{suffix}"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_folder_is_read_as_one_table(project, run, suffix):
    table = twice(FRUIT).astype({"seeds": "Int64"})
    table.loc[120, "seeds"] = None
    repeats = {"duplicates": "drop"}
    project(table=table, data={"raw": f"data/raw{suffix}"}, prepare=repeats)
    schema = SCHEMA.read_text()
    once = results(run, "prepare", TRAIN, TEST)
    write_settings(Path(), settings_of(data={"raw": "data/raw"}, prepare=repeats))
    write_folder(table, suffix)
    assert results(run, "prepare", TRAIN, TEST) == once
    assert once[0].status == 0
    assert run("schema").status == 0
    assert SCHEMA.read_text() == schema


@pytest.mark.parametrize(("suffix", "is_csv"), [(".csv", True), (".parquet", False)])
def test_splits_of_a_folder_say_whether_it_is_of_csv(project, run, suffix, is_csv):
    """In a Parquet file NA is a text, in CSV a missing value; train notes which for the model."""
    project(table=FRUIT)
    write_settings(Path(), settings_of(data={"raw": "data/raw"}))
    write_folder(FRUIT, suffix)
    assert run("prepare").status == 0
    assert tables.is_from_csv(TRAIN) is is_csv


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: part.drop(columns="seeds"), "lacks seeds"),
        (lambda part: part.assign(weight=1), "has weight besides"),
        (lambda part: part[part.columns[::-1]], "column 1 is 'ripe', and there 'size'"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_of_other_columns_are_refused(project, run, suffix, change, said):
    project(table=FRUIT, data={"raw": f"data/raw{suffix}"})
    write_settings(Path(), settings_of(data={"raw": "data/raw"}))
    folder = write_folder(FRUIT, suffix)
    write_table(folder / f"b2{suffix}", change(FRUIT[60:]))
    for stage in ("prepare", "schema"):
        done = run(stage)
        assert done.status == 1
        wanted = f"error: data/raw/b2{suffix}: has other columns than data/raw/a{suffix}: {said}"
        assert done.err.startswith(wanted)
        assert done.err.count("\n") == 1


def test_folder_without_a_table_or_with_two_kinds_is_refused(project, run):
    project(table=FRUIT)
    write_settings(Path(), settings_of(data={"raw": "data/raw"}))
    assert "data/raw: not found" in run("prepare").err
    folder = Path("data/raw")
    folder.mkdir()
    assert run("prepare").err == "error: data/raw: no .csv or .parquet file in this folder\n"
    write_folder(FRUIT, ".csv")
    write_folder(FRUIT, ".parquet")
    assert "has .csv and .parquet files" in run("prepare").err


def test_columns_of_parquet_may_have_dots_in_their_names(project, run, monkeypatch):
    names = {"colour": "size.b", "seeds": "size.a"}
    project(table=FRUIT.rename(columns=names), data={"raw": "data/raw.parquet"})
    write_table(Path("data/raw.parquet"), FRUIT.rename(columns=names).assign(size="?"))
    small_batches(monkeypatch)
    assert "column 'size' is to hold numbers, but 120 of 120 rows" in run("prepare").err
    write_table(Path("data/raw.parquet"), FRUIT.rename(columns=names))
    assert run("prepare").status == 0
    assert list(read_split(TEST).columns) == list(FRUIT.rename(columns=names).columns)


def test_files_with_another_type_are_refused(project, run):
    project(table=FRUIT)
    write_settings(Path(), settings_of(data={"raw": "data/raw"}))
    folder = write_folder(FRUIT, ".parquet")
    write_table(folder / "b2.parquet", FRUIT[51:].astype({"seeds": str}))
    assert "b2.parquet: column 'seeds' holds text, in data/raw/a.parquet" in run("schema").err
    write_table(folder / "b2.parquet", FRUIT[51:].astype({"seeds": float}))
    assert run("schema").status == 0  # as pandas writes whole numbers of which some are missing
    assert raw.read_kinds()["seeds"] == "number"


def test_numbers_that_begin_anew_in_each_file_are_refused(project, run):
    project(table=FRUIT)
    write_settings(Path(), settings_of(data={"raw": "data/raw"}))
    write_folder(FRUIT.assign(at=[*range(50), 0, *range(69)]), ".csv")
    assert "column 'at' counts the rows in the file's order" in run("prepare").err


def lower(frame: pd.DataFrame) -> pd.DataFrame:
    """Write colours in one way, and leave rows out that nobody can have measured."""
    return frame.assign(colour=frame["colour"].str.lower())[frame["size"].fillna(0) < 50]


def as_price(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the signs out of prices, and a column that is of no use."""
    price = frame["price"].str.replace("[$,]", "", regex=True)
    return frame.assign(price=price.astype("float64")).drop(columns="organic")


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(at=frame.index * 2)


def dirty() -> pd.DataFrame:
    table = FRUIT.assign(price=[f"${at + 1:,}.50" for at in range(990, 990 + ROWS)])
    table.loc[table.index % 3 == 0, "colour"] = table["colour"].str.upper()
    table.loc[[3, 50, 117], "size"] = 77.0
    table.loc[60, "price"] = None
    return table


@pytest.fixture
def cleaning_with(monkeypatch):
    """Let src/cleaning.py have these functions, and types of columns in the file."""

    def put(*functions: Any, **types: str) -> None:
        monkeypatch.setattr(cleaning, "CLEANING", list(functions))
        monkeypatch.setattr(cleaning, "READ_AS", types)

    return put


@pytest.mark.parametrize("name", ["data/raw.csv", "data/raw.parquet"])
def test_cleaning_does_not_depend_on_the_batches(project, run, monkeypatch, cleaning_with, name):
    project(table=dirty(), data={"raw": name})
    cleaning_with(lower, as_price, numbered, price="str")
    schema = results(run, "schema", SCHEMA)
    assert schema[0].status == 0
    once = results(run, "prepare", TRAIN, TEST)
    assert once[0].err == ""
    assert once[0].out.startswith(f"3 rows are left out by src/cleaning.py\n{ROWS - 3} rows: ")
    both = pd.concat([read_split(TRAIN), read_split(TEST)]).sort_values("at")
    assert list(both.columns) == ["size", "seeds", "colour", "picked", "ripe", "price", "at"]
    assert both["at"].tolist() == [at * 2 for at in range(ROWS) if at not in (3, 50, 117)]
    assert both["price"].dtype == "float64"
    assert both["price"].max() == 990.5 + ROWS
    assert set(both["colour"].dropna()) == {"red", "green", "yellow"}
    assert run("validate").status == 0
    small_batches(monkeypatch)
    assert results(run, "schema", SCHEMA) == schema
    assert results(run, "prepare", TRAIN, TEST) == once


def test_rows_repeat_and_keys_tell_after_cleaning(project, run, cleaning_with):
    table = FRUIT.assign(id=[one.upper() if at % 2 else one for at, one in enumerate(IDS)])
    table.loc[1, "id"] = "n000 "
    project(table=table, data={"key": ["id"]})
    cleaning_with(lambda frame: frame.assign(id=frame["id"].str.lower()))
    assert "data.key: 1 row has the id of an earlier row: n000;" in run("prepare").err


def in_some_batches_only(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(more=1) if frame.index[0] > 60 else frame


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda _: None, "returns NoneType, not a DataFrame"),
        (
            lambda frame: frame.assign(size=frame["size"] - frame["size"].mean()),
            "what becomes of size in a row depends on the rows beside it",
        ),
        (lambda frame: frame.assign(n=range(len(frame))), "what becomes of n in a row depends"),
        (
            lambda frame: frame.drop_duplicates("colour"),
            "what becomes of size, seeds, organic, colour, picked, ripe in a row depends",
        ),
        (in_some_batches_only, "gives other columns from row "),
        (
            lambda frame: frame.assign(
                more=frame.index.to_series().astype("str" if frame.index[0] > 60 else "int")
            ),
            "column 'more' comes as str, where int64 is to be, by data/schema.yaml or the rows",
        ),
        (
            lambda frame: frame.assign(size=frame["size"].astype(str)),
            "column 'size' comes as str, where double is to be",
        ),
        (
            lambda frame: frame.assign(size=frame["size"].map(lambda _: {1})),
            "column 'size' comes as object, where double is to be",
        ),
        (
            lambda frame: frame.assign(size=frame["size"].astype(complex)),
            "column 'size' comes as complex128, where double is to be",
        ),
        (
            lambda frame: frame.assign(n=frame["seeds"].astype(object)),
            "column 'n' comes as object",
        ),
        (lambda frame: frame.drop(columns="ripe"), "no column 'ripe' (data.target"),
        (lambda frame: frame[frame["seeds"] > 99], "leaves no row"),
    ],
)
def test_cleaning_that_batches_cannot_have_is_refused(
    project, run, monkeypatch, cleaning_with, function, said
):
    project(table=FRUIT)
    cleaning_with(function)
    small_batches(monkeypatch)
    done = run("prepare")
    assert said in done.err
    assert done.status == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_long_work_has_a_bar_of_rows_and_short_work_has_none(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for delay, stream, shown in (
        (0, Terminal(), True),
        (9, Terminal(), False),
        (0, io.StringIO(), False),
    ):
        monkeypatch.setattr(progress, "DELAY", delay)
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress.rows([[1] * 1500, [2]], "read", 1501)) == [[1] * 1500, [2]]
        assert ("read: 100%" in stream.getvalue()) is shown
        assert ("1.50k" in stream.getvalue()) is shown
