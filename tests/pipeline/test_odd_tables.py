"""Tables as people have them: each is read right, or refused with a remedy that works."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from src.shared.paths import SCHEMA, SIDECAR, TEST, TRAIN, VALIDATION
from src.shared.tables import read_split
from tests.projects import settings_of, write_settings

ROWS = 200
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=ROWS).round(6)
Y = np.where(X + RANDOM.normal(0, 0.5, ROWS) > 0, "yes", "no")


@pytest.fixture
def prepare(project, run):
    """Write a raw table of x, ripe and further columns; make its schema, prepare and validate."""
    folder = project()

    def go(columns: dict[str, Any] | str, *stages: str, **sections: Any):
        write_settings(folder, settings_of(**sections))
        if isinstance(columns, str):
            (folder / "data/raw.csv").write_text(columns, encoding="utf-8")
        else:
            frame = pd.DataFrame({"x": X, "ripe": Y} | columns)
            frame.to_csv(folder / "data/raw.csv", index=False)
        for stage in stages or ("schema", "prepare"):
            done = run(stage)
            if done.status:
                break
        return done

    return go


def splits() -> pd.DataFrame:
    return pd.concat([read_split(TRAIN), read_split(TEST)], ignore_index=True)


def declare(column: str, dtype: str) -> None:
    """Change a column's type in the schema as a person does: one line."""
    text = SCHEMA.read_text(encoding="utf-8")
    changed = re.sub(rf"(\n  {column}:\n    dtype: ).*", rf"\g<1>{dtype}", text)
    SCHEMA.write_text(changed, encoding="utf-8")


def warnings() -> dict[str, dict[str, Any]]:
    return {one["column"]: one for one in json.loads(VALIDATION.read_text())["warnings"]}


def test_large_whole_numbers_with_a_gap_are_exact(prepare):
    keys = [str(1582218195625938945 + at) for at in range(ROWS)]
    keys[7] = ""
    assert prepare({"k": keys, "x": 0}).status == 0
    assert {str(key) for key in splits()["k"].dropna()} == set(keys) - {""}


def test_groups_beyond_64_bits_are_groups(prepare):
    groups = [str(12345678901234567944 + at % 40) for at in range(ROWS)]
    split = {"split": "group", "column": "g"}
    assert prepare({"g": groups}, prepare=split).status == 0
    train, test = read_split(TRAIN), read_split(TEST)
    assert set(train["g"]) | set(test["g"]) == set(groups)
    assert set(train["g"]).isdisjoint(test["g"])


def test_booleans_with_gaps_stay_booleans(prepare):
    assert prepare({"ok": np.resize(["True", "", "False"], ROWS)}).status == 0
    assert str(splits()["ok"].dtype) == "boolean"


def test_codes_keep_their_zeros_and_so_do_classes(prepare):
    codes = [f"{at % 90:05}" for at in range(ROWS)]
    classes = np.where(Y == "yes", "01", "02")
    done = prepare({"zip": codes, "ripe": classes}, data={"positive": "01"})
    assert done.status == 0
    assert set(splits()["zip"]) == set(codes)
    assert set(splits()["ripe"]) == {"01", "02"}


def test_numbers_declared_text_are_text_and_zeros_that_are_lost_are_told(prepare, run):
    assert prepare({"code": np.arange(ROWS) % 50 + 100}).status == 0
    declare("code", "str")
    assert run("prepare", "validate").status == 0
    assert set(splits()["code"]) == {str(at) for at in range(100, 150)}
    prepare({"code": [f"{at % 50:03}" for at in RANDOM.permutation(ROWS)]}, "schema")
    declare("code", "int64")
    assert run("prepare", "validate").status == 0
    assert warnings()["code"]["what"] == "written with leading zeros, read as numbers"


@pytest.mark.parametrize("odd", ["-", "?", "None", "#DIV/0!", "n.a."])
def test_odd_texts_among_numbers_are_told_with_what_to_do(prepare, odd):
    cost = [odd, *map(str, X[1:] * 3)]
    done = prepare({"cost": cost}, "schema", "prepare", "validate")
    assert done.status == 0
    assert warnings()["cost"]["what"] == "text, but mostly numbers"
    line = f'`missing: ["{odd}"]` under data in params.yaml'
    assert line in warnings()["cost"]["remedy"]
    assert prepare({"cost": cost}, data={"missing": [odd]}).status == 0  # the remedy
    assert splits()["cost"].isna().sum() == 1
    assert splits()["cost"].dtype == "float64"
    assert prepare({"cost": cost}, "schema", "prepare", "validate", validate={"accept": ["cost"]})
    assert "cost" not in warnings()


def test_odd_text_in_a_column_declared_numbers_is_refused_with_its_row(prepare, run):
    cost = list(map(str, X * 3))
    prepare({"cost": cost})
    cost[4] = "-"
    done = prepare({"cost": cost}, "prepare")
    assert done.status == 1
    assert "'cost' is to hold numbers, but 1 of 200 rows (first: row 5) hold '-'" in done.err
    assert '`missing: ["-"]`' in done.err


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda x: f"${abs(x):.2f}", "numbers with a $"),
        (lambda x: f"{abs(x):.1f}%", "numbers with a $"),
        (lambda x: f"{abs(x) * 1e6:,.0f}", "numbers with signs between the thousands"),
        (lambda x: f"{x:.2f}".replace(".", ","), "numbers with a decimal comma"),
        (lambda x: f"{int(abs(x) * 10) % 28 + 1}/12/2024", "dates not written"),
        (lambda x: f"{int(abs(x) * 10) % 24}:30", "times of day"),
        (lambda x: f"name of {x}", "text, another in nearly every row"),
    ],
)
def test_numbers_and_dates_in_other_dress_are_told(prepare, write, what):
    done = prepare({"c": [write(x) for x in X]}, "schema")
    assert done.status == 0
    assert f"warning: column 'c': {what}" in done.out


def test_key_is_proposed_only_where_it_works(prepare):
    names = [f"c{at}" for at in RANDOM.permutation(ROWS)]
    again = ["c1", "c1", *names[2:]]
    prepare({"name": names, "again": again}, "schema", "prepare", "validate")
    assert ["`key:" in warnings()[name]["remedy"] for name in ("name", "again")] == [True, False]
    assert {one["what"] for one in warnings().values()} == {"text, another in nearly every row"}


def test_identities_and_leaks_are_told(prepare):
    columns = {
        "id": RANDOM.permutation(ROWS) + 5000,
        "leak": np.where(Y == "yes", 3.0, 1.0) + RANDOM.random(ROWS),
        "honest": X + RANDOM.normal(0, 0.5, ROWS),
    }
    prepare(columns, "schema", "prepare", "validate")
    assert warnings()["id"]["what"] == "whole numbers, another in every row"
    assert '`key: ["id"]`' in warnings()["id"]["remedy"]
    assert warnings()["leak"]["what"].endswith("a leak?")
    assert not {"honest", "x"} & set(warnings())
    prepare(columns, "schema", "prepare", "validate", train={"leave_out": ["leak"]})
    assert "leak" not in warnings()  # the model does not see it


@pytest.mark.parametrize("start", [0, 1])
def test_row_numbers_stop_and_the_remedy_works(prepare, start):
    columns = {"row": np.arange(ROWS) + start}
    done = prepare(columns, "schema")
    assert (done.status, "counts the rows" in done.err) == (1, True)
    assert '`drop: ["row"]`' in done.err
    assert prepare(columns, data={"drop": ["row"]}).status == 0
    assert "row" not in splits()
    assert prepare(columns, validate={"accept": ["row"]}).status == 0
    assert prepare(columns, data={"key": ["row"]}).status == 0


def test_nameless_and_pandas_own_index_stop(prepare, project, run):
    frame = pd.DataFrame({"x": X, "ripe": Y})
    text = frame.assign(row=range(ROWS)).to_csv()
    done = prepare(text, "schema")
    assert (done.status, '`drop: ["", "row"]`' in done.err) == (1, True)  # all at once
    assert prepare(text, data={"drop": ["", "row"]}).status == 0
    folder = project(data={"raw": "data/raw.parquet", "drop": []}, table=frame)
    frame.assign(row=RANDOM.permutation(ROWS)).set_index("row").to_parquet(
        folder / "data/raw.parquet"
    )
    assert "column 'row' is the index of a pandas table" in run("schema").err
    frame[frame["x"] > -1].to_parquet(folder / "data/raw.parquet")
    assert '`drop: ["__index_level_0__"]`' in run("schema").err
    write_settings(
        folder, settings_of(data={"raw": "data/raw.parquet", "drop": ["__index_level_0__"]})
    )
    assert run("schema").status == run("prepare").status == 0
    assert list(splits()) == ["x", "ripe"]


@pytest.mark.parametrize(
    ("header", "line", "said"),
    [
        ("x,ripe,", "1,yes", "line 2 has 2 fields, the header has 3: the header ends with a ','"),
        ("x,ripe", "1,yes,", "line 2 has 3 fields, the header has 2: the line ends with a ','"),
        ("x;ripe", "1,5;yes", 'set `separator: ";"`, and `decimal: ","` under data in params.yaml'),
        ("x,ripe,", "1,yes,", "column 3 has neither a name nor values"),
    ],
)
def test_ragged_lines_and_other_separators_are_named(prepare, header, line, said):
    done = prepare("\n".join([header, *[line] * 12]) + "\n", "schema")
    assert done.status == 1
    assert said in done.err


def test_csv_from_elsewhere_is_read(prepare):
    lines = [f"{str(x).replace('.', ',')};{y};é" for x, y in zip(X, Y, strict=True)]
    data = {"separator": ";", "decimal": ",", "drop": ["note"]}
    assert prepare("\n".join([" x; ripe;note", *lines]), data=data).status == 0
    assert sorted(splits()["x"]) == sorted(X)


def test_rows_without_a_target_are_left_out_if_asked_for(prepare):
    columns = {"ripe": ["", "NA", *Y[2:]]}
    done = prepare(columns, "schema", "prepare", "validate")
    assert '`missing_target: "drop"` under data' in done.out
    done = prepare(columns, data={"missing_target": "drop"})
    assert "2 rows without a target are left out" in done.out
    assert len(splits()) == ROWS - 2


def test_rare_classes_are_left_out_if_asked_for(prepare):
    columns = {"ripe": ["c", *Y[1:]]}
    done = prepare(columns, data={"drop_rare_classes": 3})
    assert "1 row of rare classes is left out: c" in done.out
    assert set(splits()["ripe"]) == {"yes", "no"}


def test_two_rows_of_a_class_are_enough_for_two_folds(prepare):
    columns = {"ripe": ["c", "c", "c", *Y[3:]]}
    few = {"task": "multiclass", "data": {"positive": None, "target": "ripe"}}
    done = prepare(columns, "schema", "prepare", "validate", "train", **few)
    assert "only 2 rows of class 'c'" in done.err
    assert "`drop_rare_classes`" in done.err
    few["train"] = {"folds": 2}
    assert prepare(columns, "schema", "prepare", "validate", "train", **few).status == 0


def test_dropping_a_constant_column_passes_without_a_new_schema(prepare, run):
    done = prepare({"z": 0}, "schema", "prepare", "validate")
    assert (done.status, '`drop: ["z"]` under data' in done.out) == (1, True)
    write_settings(SCHEMA.parents[1], settings_of(data={"drop": ["z"]}))
    assert run("prepare", "validate").status == 0


SURVEY = {"x": np.resize([0, 0, 0, 1], ROWS), "ripe": np.resize(["no", "no", "no", "yes"], ROWS)}


@pytest.mark.parametrize(
    ("duplicates", "rows", "apart"), [("keep", ROWS, False), ("drop", 8, True)]
)
def test_repeated_rows_are_what_the_owner_says(prepare, duplicates, rows, apart):
    columns = SURVEY | {"kids": np.repeat(range(4), ROWS // 4)}
    done = prepare(columns)
    assert done.status == 1
    assert "192 of 200 rows (96.0%) repeat an earlier one" in done.err
    assert "the share of class 'no' from 75.0% to 50.0%" in done.err
    assert prepare(columns, prepare={"duplicates": duplicates}).status == 0
    assert len(splits()) == rows
    equal = read_split(TEST).merge(read_split(TRAIN).drop_duplicates())
    assert bool(len(equal)) != apart


def test_equal_rows_stay_together(prepare):
    columns = {"x": np.resize(X[:60], ROWS), "ripe": np.resize(Y[:60], ROWS)}
    assert prepare(columns, prepare={"duplicates": "together"}).status == 0
    train, test = read_split(TRAIN), read_split(TEST)
    assert len(train) + len(test) == ROWS
    assert test.merge(train).empty


def test_key_tells_rows_apart_and_is_no_feature(prepare, run):
    columns = {"id": [f"c{at}" for at in RANDOM.permutation(ROWS)]}
    key = {"data": {"key": ["id"]}}
    done = prepare(columns, "schema", "prepare", "validate", "train", "evaluate", **key)
    assert done.status == 0
    predictions = pd.read_parquet("models/predictions.parquet")
    assert list(predictions["id"]) == list(read_split(TEST)["id"])
    assert "id" not in {one["name"] for one in json.loads(SIDECAR.read_text())["features"]}
    twice = {"id": ["c1", "c1", *columns["id"][2:]]}
    done = prepare(twice, "schema", "prepare", **key)
    assert done.status == 1
    assert "rows have the id of an earlier row: c1" in done.err


def test_text_of_parquet_without_an_annotation_is_read(project, run):
    frame = pd.DataFrame({"x": X, "ripe": Y})
    folder = project(data={"raw": "data/raw.parquet"}, table=frame)
    table = pa.table({"x": X, "ripe": pa.array([y.encode() for y in Y], pa.binary())})
    pyarrow.parquet.write_table(table, folder / "data/raw.parquet", store_schema=False)
    assert run("schema").status == run("prepare").status == 0
    assert set(splits()["ripe"]) == {"yes", "no"}
