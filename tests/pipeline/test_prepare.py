from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from src import splits
from src.shared.duplicates import earlier_equals
from src.shared.hashes import hash_rows
from src.shared.paths import TEST, TRAIN
from src.shared.tables import read_split
from tests.projects import fruit, settings_of, write_settings, write_table

SPLITS = [
    {"split": "stratified"},
    {"split": "random"},
    {"split": "group", "column": "colour"},
    {"split": "time", "column": "picked"},
]


def distinct(table: pa.Table) -> pa.Table:
    """Keep the rows that equal no earlier one."""
    return table.filter(pa.array(earlier_equals(table, hash_rows(table)) == 0))


def test_first_of_equal_rows_stays():
    day, night = datetime(2026, 1, 1), datetime(2026, 1, 1, 22)
    table = pa.table(
        {
            "number": [2.0, 1.0, None, 2.0, None, 2.0, 1.0],
            "text": ["b", None, "c", "b", "c", "B", None],
            "flag": [True, False, True, True, True, True, False],
            "time": pa.array([day, None, night, day, night, day, None], pa.timestamp("us")),
            "row": [0, 0, 0, 0, 0, 0, 1],
        }
    )
    kept = distinct(table)
    assert kept.to_pylist() == table.take([0, 1, 2, 5, 6]).to_pylist()
    assert kept.schema == table.schema


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 1.0, 2.0],
        [1, 2, 1 << 33],
        ["a", "b", None],
        [True, False],
        [datetime(2026, 1, 1), datetime(2026, 1, 2)],
    ],
)
def test_rows_that_differ_in_one_value_stay(values):
    alike = [values[0]] * len(values)
    table = pa.table({"before": alike, "x": values, "after": alike})
    assert len(distinct(table)) == len(values)


def test_both_zeros_are_equal():
    assert distinct(pa.table({"x": [0.0, 1.0, -0.0]}))["x"].to_pylist() == [0.0, 1.0]


def test_missing_values_are_equal_whatever_lies_beneath():
    beneath = pa.array([1.0, 2.0, 3.0]).buffers()[1]
    missing = pa.Array.from_buffers(pa.float64(), 3, [pa.py_buffer(bytes([0b100])), beneath])
    assert distinct(pa.table({"x": missing}))["x"].to_pylist() == [None, 3.0]


def test_rows_whose_hashes_collide_are_compared():
    table = pa.table({"x": [1, 2, 1, 3]})
    assert earlier_equals(table, np.zeros(4, np.uint64)).tolist() == [0, 0, 1, 0]


def test_earlier_equal_rows_are_counted():
    table = pa.table({"x": ["a", "b", "a", "a", "c", "b"]})
    assert earlier_equals(table, hash_rows(table)).tolist() == [0, 0, 1, 2, 0, 1]


def test_hashes_of_small_numbers_hardly_collide():
    x, y, z = (axis.ravel() for axis in np.mgrid[:60, :60, :60])
    table = pa.table({"x": x.astype(float), "y": y.astype(float), "z": z})
    assert len(np.unique(hash_rows(table))) == len(table)


def test_hashes_are_the_same_for_ever():
    """Other values would split every table anew, and every champion's too."""
    table = pa.table(
        {
            "number": [1.5, None, -0.0],
            "whole": [1, 2**60, None],
            "text": ["a", "ü", None],
            "flag": [True, False, None],
            "time": pa.array([datetime(2026, 1, 1), None, datetime(1969, 7, 20)]),
        }
    )
    assert hash_rows(table).tolist() == [
        17779144174982790970,
        13348289128754105593,
        8053971283423584107,
    ]
    stored_otherwise = table.set_column(1, "whole", table["whole"].cast(pa.float64(), safe=False))
    assert hash_rows(stored_otherwise)[[0, 2]].tolist() == hash_rows(table)[[0, 2]].tolist()


def test_duplicates_far_apart_are_found():
    values = np.arange(250_000)
    values[-1] = 0
    assert len(distinct(pa.table({"x": values}))) == 249_999


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split["split"])
def test_every_row_is_in_exactly_one_split(project, run, split):
    table = fruit().fillna({"colour": "none"})
    twice = pd.concat([table, table[:7]])
    project(table=twice, prepare=split | {"duplicates": "drop"})
    assert run("prepare").out.startswith("7 rows repeat an earlier one: dropped\n240 rows: ")
    parts = [read_split(TRAIN), read_split(TEST)]
    assert all(len(part) > 20 for part in parts)
    together = pd.concat(parts).sort_values(list(table.columns), ignore_index=True)
    expected = table.sort_values(list(table.columns), ignore_index=True)
    pd.testing.assert_frame_equal(together, expected, check_dtype=False)


STAYING: dict[str, dict[str, dict]] = {
    "stratified": {"prepare": {"split": "stratified", "duplicates": "keep"}},
    "random": {"prepare": {"split": "random"}},
    "key": {"data": {"key": ["id"]}},
    "group": {"prepare": {"split": "group", "column": "id"}},
}


def sides(project, run, table: pd.DataFrame, sections: dict) -> set:
    """Prepare a table; return which rows are tested, by a column that is dropped or the key."""
    project(table=table, **sections)
    assert run("prepare").status == 0
    return set(read_split(TEST)["id"])


@pytest.mark.parametrize("sections", STAYING.values(), ids=STAYING)
def test_splits_stay(project, run, sections):
    """Whatever the order of the rows; and with 10 % more rows nearly all stay where they are."""
    many = fruit(1100).assign(id=[f"n{number:04}" for number in range(1100)])
    table = many.head(1000)
    first = sides(project, run, table, sections)
    assert sides(project, run, table.sample(frac=1, random_state=1), sections) == first
    assert sides(project, run, table[table.columns[::-1]], sections) == first
    more = sides(project, run, many.sample(frac=1, random_state=2), sections)
    moved = len(first - more) + len((more & set(table["id"])) - first)
    assert moved <= 20
    other = sections | {"prepare": sections.get("prepare", {}) | {"seed": 2}}
    assert len(first & sides(project, run, table, other)) < 0.5 * len(first)


def test_with_a_key_columns_may_come_and_change(project, run):
    table = fruit(300).assign(id=[f"n{number:04}" for number in range(300)])
    first = sides(project, run, table, STAYING["key"])
    changed = table.assign(more=np.arange(300) % 7, size=table["size"] + 1)
    assert sides(project, run, changed, STAYING["key"]) == first


@pytest.mark.parametrize(("duplicates", "both"), [("keep", True), ("together", False)])
def test_equal_rows_stand_where_it_is_said(project, run, duplicates, both):
    table = pd.concat([fruit(60)] * 4, ignore_index=True)
    project(table=table, prepare={"duplicates": duplicates})
    run("prepare")
    parts = [set(map(tuple, read_split(path).astype(str).to_numpy())) for path in (TRAIN, TEST)]
    assert bool(parts[0] & parts[1]) is both


def test_equal_rows_are_together_in_a_split_by_place_as_well(project, run, monkeypatch):
    def every_other(table: pa.Table, *_: object) -> np.ndarray:
        return np.arange(len(table)) % 2 == 0

    own = splits.Split(every_other, splits.random_folds)
    monkeypatch.setitem(splits.SPLITS, "systematic", own)
    table, choice = fruit(100), {"split": "systematic", "duplicates": "together"}
    project(table=pd.concat([table, table[1:6:2]]), prepare=choice)
    assert run("prepare").status == 0
    assert [len(read_split(path)) for path in (TRAIN, TEST)] == [53, 50]  # not 51 and 52


def test_rows_stay_when_the_answer_about_repeats_changes(project, run):
    table = fruit(300)
    tested = []
    for duplicates in ("keep", "together"):
        project(table=pd.concat([table, table.head(2)]), prepare={"duplicates": duplicates})
        run("prepare")
        tested.append(set(read_split(TEST)["picked"].astype(str) + read_split(TEST)["colour"]))
    assert len(tested[0] ^ tested[1]) <= 6


@pytest.mark.parametrize("split", SPLITS[:3], ids=lambda split: split["split"])
def test_same_input_and_parameters_give_the_same_bytes(project, run, split):
    table = fruit().assign(colour=lambda frame: "c" + (frame["seeds"] // 2).astype(str))

    def prepared(seed: int) -> list[bytes]:
        project(table=table, prepare=split | {"seed": seed})
        run("prepare")
        return [TRAIN.read_bytes(), TEST.read_bytes()]

    first = prepared(1)
    assert prepared(2) != first
    assert prepared(1) == first


def test_both_splits_have_the_same_types(project, run):
    table = fruit(40)
    table.loc[table.index[:1], "seeds"] = None  # one missing value, in one split only
    project(table=table, data={"raw": "data/raw.parquet", "drop": ["size"]})
    run("prepare")
    train, test = read_split(TRAIN), read_split(TEST)
    assert train.dtypes.equals(test.dtypes)
    assert train["seeds"].dtype == "float64"
    assert "size" not in train


@pytest.mark.parametrize(
    ("table", "sections", "expected"),
    [
        (fruit(9), {"data": {"target": "rip"}}, "no column 'rip' (data.target in params.yaml); d"),
        (
            fruit(9),
            {"prepare": {"split": "group", "column": "color"}},
            "no column 'color' (prepare.column in params.yaml); did you mean 'colour'?",
        ),
        (fruit(9).assign(ripe=None), {}, "target 'ripe' is missing in every row"),
        (
            pd.concat([fruit(1)] * 3),
            {"prepare": {"duplicates": "drop"}},
            "has 1 row to split, where two are needed",
        ),
        (
            pd.concat([fruit(1)] * 3),
            {"prepare": {"duplicates": "together"}},
            "all rows are equal; a split needs two that differ",
        ),
    ],
)
def test_table_that_cannot_be_prepared_is_refused(project, run, table, sections, expected):
    folder: Path = project()
    write_table(folder / "data/raw.csv", table)
    write_settings(folder, settings_of(**sections))
    done = run("prepare")
    assert done.status == 1
    assert done.err.startswith("error: data/raw.csv: ")
    assert expected in done.err
    assert not TRAIN.exists()
