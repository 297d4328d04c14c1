"""Text columns are counted by hashes, with the results of counting the texts themselves."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandera.pandas import Check, Column, DataFrameSchema

from src.schema import infer
from src.shared import tables
from src.shared.checks import column_violations, table_violations, text_violations
from src.shared.findings import SAMPLE, find_in
from src.shared.params import Params, parse
from src.shared.texts import TextColumn
from src.validate import read_text
from tests.projects import as_split, settings_of


def texts(rows: int, distinct: int, seed: int = 0) -> pd.Series:
    """Draw texts, some of which are missing."""
    random = np.random.default_rng(seed)
    drawn = pd.Series([f"n{at}" for at in random.integers(0, distinct, rows)], dtype="str")
    return drawn.mask(random.random(rows) < 0.1).rename("name")


def in_parts(column: pd.Series, size: int) -> Iterator[pd.Series]:
    for start in range(0, len(column), size):
        yield column.iloc[start : start + size]


def taken(size: int, *splits: pd.Series) -> TextColumn:
    return TextColumn("name", *(partial(in_parts, part, size) for part in splits))


@pytest.mark.parametrize("distinct", [1, 5, 200, 10**9])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_counts_are_those_of_the_texts(size, distinct):
    train, test = texts(300, distinct), texts(100, distinct, seed=1)
    column = taken(size, train, test)
    both = pd.concat([train, test], ignore_index=True)
    wanted, counts = both.value_counts(), column.counts
    most = counts.most(np.arange(len(counts)), len(counts))
    assert column.take(most) == list(wanted.index)
    assert sorted(counts.rows, reverse=True) == list(wanted)
    for part, found in ((train, counts.train), (test, counts.test)):
        own = dict(zip(column.take(counts.first), found.tolist(), strict=True))
        assert {text: count for text, count in own.items() if count} == dict(part.value_counts())
    assert column.known.tolist() == both.notna().tolist()
    assert (len(column), len(column.train), len(column.test)) == (400, 300, 100)


def test_a_column_without_texts_has_none():
    column = taken(3, pd.Series([None] * 5, dtype="str"), pd.Series([], dtype="str"))
    assert (len(column.counts), len(column), int(column.known.sum())) == (0, 5, 0)


@pytest.mark.parametrize("report", ["all", "exclude_first", "exclude_last"])
@pytest.mark.parametrize(
    "settings",
    [
        {"unique": True},
        {"unique": True, "nullable": True, "checks": [Check.str_length(max_value=3)]},
        {"checks": [Check.isin(["n1", "n2"]), Check.str_matches("n[0-4]")]},
        {"checks": [Check.unique_values_eq(["n1"])], "unique": True, "nullable": True},
        {"dtype": "int64", "nullable": True},
        {"unique": True, "regex": True, "name": "na.*"},
    ],
)
@pytest.mark.parametrize("rows", [3, 25, 300, 30_000])
def test_violations_are_those_of_the_whole_column(tmp_path, monkeypatch, settings, report, rows):
    """With Pandera on all of it; the batches are small, and of some checks many rows fail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tables, "ROWS", 5000 if rows > 1000 else 7)
    frames = [texts(rows, 40, seed).to_frame().assign(row=range(rows)) for seed in (0, 1)]
    train, test = as_split(frames[0], "train"), as_split(frames[1], "test")
    rules: dict[str, Any] = {"dtype": "str"} | settings
    column = Column(rules.pop("dtype"), report_duplicates=report, **rules)
    schema = DataFrameSchema({column.name or "name": column})
    both = read_text("name", train, test)
    for name, split in (("train", train), ("test", test)):
        whole = column_violations(schema, split.columns("name"), split, name)
        assert text_violations(schema, split, both, name) == whole
        assert rows < 300 or whole


def test_rows_that_equal_others_in_some_columns_are_found_without_the_rest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tables, "ROWS", 7)
    frame = texts(40, 10**9).to_frame().assign(row=range(40))
    frame = pd.concat([frame, frame.iloc[[3]]]).assign(other=range(41))
    schema = DataFrameSchema(
        {name: Column() for name in frame}, unique=["name", "row"], report_duplicates="all"
    )
    [found] = table_violations(schema, as_split(frame), "train")
    assert (found.column, found.rows) == ("name, row", 2)
    assert found.values == f"{frame['name'].iloc[3]!s}, 3"


@pytest.mark.parametrize("rows", [SAMPLE - 1, SAMPLE + 500])
@pytest.mark.parametrize(
    ("write", "what", "values"),
    [
        ("name {}", "text, another in nearly every row", "'name 0', 'name 1', 'name 2', "),
        ("${}.50", "numbers with a $, % or the like, read as text", "'$0.50', '$1.50', '$2.50', "),
    ],
)
def test_millions_of_odd_texts_are_told_as_few_are(rows, write, what, values):
    column = pd.Series([write.format(at) for at in range(rows)], dtype="str", name="name")
    settings = parse(Params, settings_of())
    [found] = find_in(taken(999, column), None, settings)
    assert (found.what, found.rows) == (what, rows)
    assert found.values.startswith(values)
    assert found.values.endswith(", ...")


def test_values_of_a_schema_are_those_of_all_parts():
    few, many = taken(7, texts(100, 20)), taken(7, texts(100, 10**9))
    wanted = infer([texts(100, 20)], "ripe").to_yaml()
    assert infer([few], "ripe").to_yaml() == wanted
    assert "isin" in str(wanted)
    assert "isin" not in str(infer([many], "ripe").to_yaml())
