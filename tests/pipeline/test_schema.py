import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.schema import infer
from src.shared import checks
from src.shared.checks import Violation, column_violations, read_schema, table_violations
from src.shared.paths import SCHEMA
from tests.projects import as_split, fruit


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Give a table whose inferred schema is in data/schema.yaml of the current folder."""
    monkeypatch.chdir(tmp_path)
    table = fruit(60).assign(
        label=[f"lot {at}" for at in range(60)],  # text of too many values to list
        nothing=np.nan,
    )
    SCHEMA.parent.mkdir()
    SCHEMA.write_text(
        str(infer((table[name] for name in table), "ripe").to_yaml()), encoding="utf-8"
    )
    return table


def found(frame: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    return [(v.column, v.check, v.rows, v.values) for v in violations(frame)]


def violations(frame: pd.DataFrame) -> list[Violation]:
    schema, split = read_schema(), as_split(frame)
    return [
        *table_violations(schema, split, "train"),
        *column_violations(schema, split.columns(), split, "train"),
    ]


def test_inferred_schema_accepts_its_own_data(table):
    assert found(table) == []
    assert found(table.sample(10, random_state=1)) == []


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [
        ("size", 99.5, "in_range(3."),
        ("size", -99.5, "in_range("),
        ("seeds", 20, "in_range(0, 19)"),
        ("picked", pd.Timestamp("2030-01-01"), "in_range(2024-03-01"),
        ("colour", "blue", "isin(['green', 'red', 'yellow'])"),
        ("ripe", "perhaps", "isin(['no', 'yes'])"),
        ("ripe", None, "not_nullable"),
        ("picked", None, "not_nullable"),
    ],
)
def test_value_that_the_schema_does_not_allow_is_named(table, column, value, check):
    table.loc[[3, 5], column] = value
    (violation,) = found(table)
    assert violation[0] == column
    assert violation[1].startswith(check)
    assert violation[2] == 2
    assert value is None or violation[3].startswith(str(value))


@pytest.mark.parametrize("column", ["size", "colour"])
def test_missing_values_are_allowed_where_there_were_some(table, column):
    table.loc[:5, column] = None
    assert found(table) == []


def test_text_of_many_values_is_free(table):
    table.loc[0, "label"] = "another lot"
    assert found(table) == []


def test_columns_must_be_those_of_the_schema(table):
    table = table.drop(columns="seeds").assign(weight=1.0)
    assert {violation[:3] for violation in found(table)} == {
        ("seeds", "missing", 0),
        ("weight", "column is not in the schema", 0),
    }


def test_type_must_be_that_of_the_schema(table):
    table["seeds"] = table["seeds"].astype(str)
    assert ("seeds", "type int64", 0, str(table["seeds"].dtype)) in found(table)


@pytest.mark.parametrize(
    "text", ["", "{}", "columns: {}", "a: [", "- a", "columns: {x: {dtype: nonsense}}"]
)
def test_file_that_is_no_schema_is_refused(project, run, text):
    project()
    run("prepare")
    SCHEMA.write_text(text)
    done = run("validate")
    assert done.status == 1
    assert done.err.startswith("error: data/schema.yaml: ")
    assert done.err.count("\n") == 1


def test_misspelt_check_is_refused(project, run):
    """Pandera passes over it, and with it over the rows that the check was to find."""
    project()
    run("prepare")
    text = SCHEMA.read_text()
    assert text.count("    in_range:") > 1
    SCHEMA.write_text(text.replace("    in_range:", "    in_rang:", 1))
    done = run("validate")
    assert done.status == 1
    expected = "error: data/schema.yaml: unknown check size.in_rang; did you mean in_range?\n"
    assert done.err == expected


def test_dates_are_spoken_of_until_the_split_goes_by_a_column(project, run):
    project()
    note = "note: 'picked' holds dates. If the model is to predict later rows"
    assert note in run("schema").out
    said = run("schema").out.splitlines()
    assert all(len(line) <= 80 for line in said)
    for settings in (
        {"prepare": {"split": "time", "column": "picked"}},
        {"validate": {"accept": ["picked"]}},
    ):
        project(**settings)
        assert "holds dates" not in run("schema").out


def test_earlier_schema_is_kept(project, run):
    project()
    earlier = SCHEMA.read_text(encoding="utf-8")
    old = SCHEMA.with_name("schema.old.yaml")
    assert run("schema").status == 0
    assert SCHEMA.read_text(encoding="utf-8") == earlier
    assert not old.exists()  # nothing changed
    SCHEMA.write_text("of my own\n", encoding="utf-8")
    assert old.as_posix() in run("schema").out
    assert SCHEMA.read_text(encoding="utf-8") == earlier
    assert old.read_text(encoding="utf-8") == "of my own\n"


def test_all_rows_that_fail_are_counted_though_few_are_listed(table, monkeypatch):
    table.loc[:8, "size"] = np.arange(9) * 100.0 + 1000
    table.loc[:8, "colour"] = [*"aabbccdd", None]
    whole = found(table)
    assert [(column, rows) for column, _, rows, _ in whole] == [("size", 9), ("colour", 8)]
    assert whole[0][3] == "1000.0, 1100.0, 1200.0, 1300.0, 1400.0, ..."
    assert whole[1][3] == "a, b, c, d"
    monkeypatch.setattr(checks, "CASES", 2)
    assert found(table) == whole


def test_checks_of_several_columns_are_one_violation_each(table):
    """`unique` over columns, and a check of the whole table."""
    text = SCHEMA.read_text(encoding="utf-8")
    text = re.sub("^(unique|checks):.*$", "", text, flags=re.MULTILINE)
    SCHEMA.write_text(text + "\nunique: [organic, ripe]\nchecks: {ne: {value: 3}}\n")
    table["seeds"] = table["seeds"].replace(3, 4)
    table.loc[[2, 9], "seeds"] = 3
    unique, whole = found(table)
    assert unique[:3] == ("organic, ripe", "multiple_fields_uniqueness", 60)
    assert whole == ("", "not_equal_to(3)", 2, "{'seeds': 3}")
