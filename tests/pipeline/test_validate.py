import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp  # type: ignore[import-untyped]

from src.shared import params, tables
from src.shared.checks import Violation, read_schema
from src.shared.drift import chance_drift, drift, text_drift
from src.shared.params import Params, parse
from src.shared.paths import VALIDATION
from src.shared.texts import TextColumn
from src.validate import (
    Found,
    Gap,
    blindness,
    check,
    drifts,
    feature_names,
    measure_gaps,
    table_of,
    text_gaps,
)
from tests.projects import TABLES, as_split, fruit, settings_of, write_table

ROWS = 200
# So that nothing but chance keeps a gap from being told.
STRICT = {"max_drift": 0.0, "max_category_drift": 0.0}


def frames(**test_columns: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make two clean splits; set columns of the test split."""
    random, start = np.random.default_rng(3), pd.Timestamp(2024, 1, 1)

    def split(rows: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "number": random.normal(size=rows),
                "weight": random.normal(size=rows),
                "text": random.choice(["a", "b", "c"], rows),
                "date": start + pd.to_timedelta(random.integers(0, 99, rows), "D"),
                "flag": random.random(rows) < 0.5,
                "ripe": np.resize(["yes", "no"], rows),
            }
        )

    train, test = split(2 * ROWS), split(ROWS)
    return train, test.assign(**test_columns)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def checked(train: pd.DataFrame, test: pd.DataFrame, **sections: Any) -> Found:
    """Check two splits against a schema that says nothing."""
    from pandera.pandas import DataFrameSchema

    settings = parse(Params, settings_of(sections.pop("task", "binary"), **sections))
    return check(as_split(train, "train"), as_split(test, "test"), DataFrameSchema(), settings)


def found(train: pd.DataFrame, test: pd.DataFrame, **sections: Any) -> list[Violation]:
    return checked(train, test, **sections).violations


def gaps(train: pd.DataFrame, test: pd.DataFrame, settings: Params) -> list[Gap]:
    names, rows = feature_names(map(str, train), settings), (len(train), len(test))
    found: list[Gap] = []
    for name in names:
        if pd.api.types.is_string_dtype(train[name]):
            found += text_gaps(text(train[name], test[name]), rows, len(names), settings)
        else:
            found += measure_gaps(train[name], test[name], rows, len(names), settings)
    return found


def text(*columns: pd.Series) -> TextColumn:
    """Take a text column of both splits that is at hand."""
    return TextColumn(str(columns[0].name), *(lambda part=part: [part] for part in columns))


def apart(train: pd.Series, test: pd.Series) -> float:
    """Measure the drift of a column, of text or not."""
    if not pd.api.types.is_string_dtype(train):
        return drift(train, test)
    counts = text(train, test).counts
    return text_drift(counts.train, counts.test, (len(train), len(test)))


def test_clean_splits_have_no_violation():
    assert found(*frames()) == []


def test_rows_must_be_enough():
    train, test = frames()
    limits = {"min_train_rows": 500, "min_test_rows": 201}
    assert found(train, test, validate=limits) == [
        Violation("train", "", "at least 500 rows", 400, ""),
        Violation("test", "", "at least 201 rows", 200, ""),
    ]


@pytest.mark.parametrize("rows", [7, 100_000])
def test_rows_in_both_splits_are_counted(monkeypatch, rows):
    """Whatever the batches in which the splits are read."""
    monkeypatch.setattr(tables, "ROWS", rows)
    train, test = frames()
    test = pd.concat([test, train.iloc[[3, 200, 399]]])
    assert found(train, test) == [Violation("both", "", "no row in both splits", 3, "")]
    assert found(train, test, prepare={"duplicates": "keep"}) == []


@pytest.mark.parametrize("batch", [7, 100_000])
def test_rows_that_repeat_but_for_noise_target_and_an_identity_are_warned_of(monkeypatch, batch):
    monkeypatch.setattr("src.shared.overlap.BATCH", batch)
    train, test = (frame.assign(row=frame.index + at) for at, frame in enumerate(frames()))
    test["row"] += 1000
    again = train.iloc[:4].assign(row=range(9000, 9004), ripe="no")
    again["number"] *= 1 + 1e-9
    accept = {"accept": ["row"], "max_drift": 1}
    assert checked(train, test, validate=accept).warnings == []
    told = checked(train, pd.concat([test, again]), validate=accept)
    assert told.violations == []
    (warning,) = told.warnings
    assert (warning.rows, warning.what[:4]) == (4, "2.0%")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_found(split, value):
    train, test = frames()
    (train if split == "train" else test).loc[[1, 4], "number"] = value
    assert found(train, test) == [Violation(split, "number", "finite", 2, "inf")]


@pytest.mark.parametrize(
    ("column", "value", "check", "shown"),
    [
        ("number", np.nan, "has values", ""),
        ("text", None, "has values", ""),
        ("number", 1.5, "is not constant", "1.5"),
        ("text", "a", "is not constant", "a"),
        ("flag", True, "is not constant", "True"),
    ],
)
def test_features_that_say_nothing_are_found(column, value, check, shown):
    train, test = (frame.assign(**{column: value}) for frame in frames())
    assert found(train, test) == [Violation("train", column, check, 2 * ROWS, shown)]


def test_constant_but_for_missing_values_is_not_constant():
    train, test = frames()
    for frame in (train, test):
        frame["number"] = np.where(frame.index % 2, 1.0, np.nan)
    assert found(train, test) == []


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("number", lambda column: column + 2),
        ("date", lambda column: column + pd.Timedelta(days=80)),
        ("text", lambda column: column.replace("b", "a")),
        ("text", lambda column: column.replace("b", "new")),
        ("number", lambda column: column.where(column.index % 2 == 0)),
        ("text", lambda column: column.where(column.index % 2 == 0)),
        ("number", lambda column: column * np.nan),
        ("flag", lambda column: column | True),
    ],
)
def test_drift_is_found(column, change):
    train, test = frames()
    test[column] = change(test[column])
    violation = next(one for one in found(train, test) if one.check.startswith("drift"))
    assert (violation.split, violation.column) == ("both", column)
    limit = float(violation.check.removeprefix("drift at most "))
    assert limit == pytest.approx(0.25 if column == "text" else 0.3, abs=0.06)
    assert limit < float(violation.values) <= 1


def test_drift_is_allowed_up_to_its_limit_and_in_a_column_that_splits():
    train, test = frames()
    test["date"] = test["date"] + pd.Timedelta(days=80)
    assert found(train, test, validate={"max_drift": 0.9}) == []
    assert found(train, test, prepare={"split": "time", "column": "date"}) == []


def test_small_splits_drift_by_chance():
    train, test = frames()
    few = {"min_train_rows": 1, "min_test_rows": 1, "max_drift": 0.0}
    assert found(train, test, validate=few) == []
    assert found(train.head(8), test.head(6), validate=few) == []


@pytest.mark.parametrize("seed", range(5))
def test_drift_of_numbers_is_the_kolmogorov_smirnov_statistic(seed):
    random = np.random.default_rng(seed)
    first = pd.Series(random.integers(0, 30, 90).astype(float))
    second = pd.Series(random.normal(15, 5, 70).round())
    expected = ks_2samp(first, second).statistic
    assert drift(first, second) == pytest.approx(expected)
    dates = [pd.Timestamp(2024, 1, 1) + pd.to_timedelta(one, "D") for one in (first, second)]
    assert drift(*dates) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (["a", "a", "b", "b"], ["a", "b"], 0),
        (["a", "a", "a", "b"], ["a", "b"], 0.25),
        (["a", "b"], ["c", "c"], 1),
        (["a", None], ["a", "a"], 0.5),
        ([1.0, None], [1.0, 1.0], 0.5),
        ([None, None], [1.0, 2.0], 1),
        ([True, False], [True, True], 0.5),
        ([1, 2, 3], [1, 2, 3], 0),
        ([1, 2], [3, 4], 1),
    ],
)
def test_drift_of_small_columns(train, test, expected):
    assert apart(pd.Series(train), pd.Series(test)) == pytest.approx(expected)


def test_chance_drift_is_seldom_exceeded():
    random = np.random.default_rng(0)
    limit = chance_drift(300, 100, columns=1)
    gaps = [
        drift(pd.Series(random.normal(size=300)), pd.Series(random.normal(size=100)))
        for _ in range(200)
    ]
    assert 0.8 * limit < max(gaps) + 0.1
    assert sum(gap > limit for gap in gaps) <= 2
    assert chance_drift(300, 100, columns=50) > limit > chance_drift(3000, 1000, columns=1)


def sample(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Draw rows of features of each kind; there is no drift between two samples."""
    columns = {
        "number": random.normal(size=rows),
        "rank": random.integers(0, 4, rows),
        "few": random.choice(["a", "b", "c", "d"], rows),
        "rare": random.choice(["a", "b"], rows, p=[0.95, 0.05]),
        "many": random.choice([f"n{at}" for at in range(40)], rows),
        "ripe": np.resize(["yes", "no"], rows),
    }
    return pd.DataFrame(columns)


@pytest.mark.parametrize("rows", [(50, 20), (80, 20), (400, 100)])
def test_chance_alone_seldom_makes_a_false_alarm(rows):
    """At the sizes that validate takes at least, at which it speaks, and at ordinary ones."""
    random, settings = np.random.default_rng(0), parse(Params, settings_of(validate=STRICT))
    pairs = [(sample(random, rows[0]), sample(random, rows[1])) for _ in range(250)]
    alarms = [any(drifts(gaps(train, test, settings), rows[1])) for train, test in pairs]
    assert sum(alarms) <= 2  # 0.001 of the data sets: three or more of 250 are one in 400


@pytest.mark.parametrize(
    ("rows", "replaced", "least"),
    [((50, 20), 1.0, 0.99), ((80, 20), 0.75, 0.9), ((160, 40), 0.5, 0.9), ((400, 100), 0.3, 0.8)],
)
def test_replaced_categories_are_found(rows, replaced, least):
    random, settings = np.random.default_rng(0), parse(Params, settings_of(validate=STRICT))
    found = 0
    for _ in range(60):
        train, test = (sample(random, n) for n in rows)
        new = random.random(len(test)) < replaced
        test["few"] = np.where(new, test["few"] + " new", test["few"])
        found += any(one.column == "few" for one in drifts(gaps(train, test, settings), len(test)))
    assert found >= least * 60


@pytest.mark.parametrize(
    ("rows", "blind"),
    [((50, 20), [""]), ((100, 30), ["many"]), ((400, 100), [])],
)
def test_data_too_small_to_see_drift_is_told(rows, blind):
    random, settings = np.random.default_rng(0), parse(Params, settings_of())
    splits = sample(random, rows[0]), sample(random, rows[1])
    told = list(blindness(gaps(*splits, settings), settings))
    assert [one.column for one in told] == blind
    assert all(one.what.startswith("too few rows to see drift") for one in told)


@pytest.mark.parametrize(
    ("task", "target", "expected"),
    [
        ("binary", ["yes", "no", None], {("target is not missing", "train", 133)}),
        ("binary", ["yes"], {("2 classes", "both", 0)}),
        ("multiclass", ["yes"], {("at least 2 classes", "both", 0)}),
        ("binary", ["yes", "no", "x"], {("2 classes", "both", 0)}),
        ("multiclass", ["yes", "no", "x"], set()),
        ("binary", ["good", "bad"], {("class 'yes' occurs", "both", 0)}),
        ("regression", ["1", "2"], {("target is a number", "both", 400)}),
        ("regression", [True, False], {("target is a number", "both", 400)}),
        ("regression", [1.5, 2.5], set()),
    ],
)
def test_target_must_suit_the_task(task, target, expected):
    train, test = (
        frame.assign(ripe=pd.Series(target * len(frame), dtype=type_of(target))[: len(frame)])
        for frame in frames()
    )
    violations = found(train, test, task=task, data={"target": "ripe"})
    assert all(violation.column == "ripe" for violation in violations)
    counted = {(v.check, v.split, 0 if "classes" in v.check else v.rows) for v in violations}
    assert expected <= counted
    assert {check for check, *_ in counted} == {check for check, *_ in expected}


def type_of(values: list[Any]) -> Any:
    return "str" if isinstance(values[0], str) else None


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_must_be_in_both_splits(split):
    train, test = frames()
    (train if split == "train" else test)["ripe"] = "yes"
    assert found(train, test) == [Violation(split, "ripe", "every class in both splits", 0, "no")]


@pytest.mark.parametrize("task", TABLES)
def test_clean_data_passes(project, run, task):
    project(task)
    done = run("prepare", "validate")
    assert done.status == 0
    assert "no violations" in done.out
    report = json.loads(VALIDATION.read_text())
    assert report["passed"] is True
    assert report["violations"] == []
    assert report["train_rows"] + report["test_rows"] == len(TABLES[task]())
    target = "ripe" if task == "binary" else "target"
    sizes = {one["column"]: one["size"] for one in report["gaps"] if one["what"] == "drift"}
    assert list(sizes) == list(TABLES[task]().columns.drop(target))
    assert all(0 <= one["size"] <= one["allowed"] for one in report["gaps"])


def test_all_violations_are_reported_at_once(project, run):
    folder = project(table=fruit(), validate={"min_train_rows": 1000, "max_drift": 0.5})
    run("prepare")
    for name in ("train", "test"):
        path = folder / f"data/prepared/{name}.parquet"
        frame = pd.read_parquet(path)
        frame["a_column_with_a_name_that_is_long_indeed"] = 1
        frame.loc[:2, "size"] = [77.0, 88.0, 99.0]
        if name == "train":
            frame["colour"] = "a colour with a name that is long as well"
        frame.loc[0, "ripe"] = None
        frame.to_parquet(path)
    done = run("validate")
    report = json.loads(VALIDATION.read_text())
    rows = report["violations"]
    seen = {(row["split"], row["column"], row["check"].split("(")[0]) for row in rows}
    long = "a_column_with_a_name_that_is_long_indeed"
    assert done.status == 1
    assert report["passed"] is False
    assert seen == {
        ("train", "", "at least 1000 rows"),
        ("train", "colour", "is not constant"),
        ("train", long, "is not constant"),
        ("both", "colour", "drift at most 0.42"),
        ("test", "colour", "unseen values at most 0.33"),
        ("train", "colour", "isin"),
        *(
            (split, *rest)
            for split in ("train", "test")
            for rest in (
                (long, "column is not in the schema"),
                ("size", "in_range"),
                ("ripe", "not_nullable"),
                ("ripe", "target is not missing"),
            )
        ),
    }
    lines = done.out.splitlines()
    start = lines.index(
        "split column                 check                     rows    first values"
    )
    lines = lines[start : start + 1 + len(rows)]
    assert max(map(len, lines)) <= 80
    remedies = done.out.splitlines()[start + 1 + len(rows) :]
    assert [line.partition(":")[0] for line in remedies] == [
        "columns that say nothing",
        "splits of few rows",
        "columns that lie apart",
        "rows without 'ripe'",
        "new columns",
    ]
    assert f'`drop: ["{long}", "colour"]`' in remedies[0] or '"colour"' in remedies[0]
    few = next(row["rows"] for row in rows if row["check"] == "at least 1000 rows")
    assert f"set `min_train_rows: {few}` under validate" in remedies[1]
    assert "raise `max_drift` (of text `max_category_drift`) under validate" in remedies[2]
    (size,) = [line for line in lines if line.startswith("train size")]
    assert size.split()[-4:] == ["3", "77.0,", "88.0,", "99.0"]
    assert done.err == (
        f"error: {len(report['violations'])} checks failed (all in metrics/validation.json); mend "
        "the raw data, or data/schema.yaml or the settings in params.yaml, then run "
        "`dvc repro` again\n"
    )


def test_nothing_depends_on_how_many_columns_are_read_at_a_time(project, run, monkeypatch):
    """All that is told of spoilt splits; `picked` groups the rows, `colour` may be anything."""
    folder = project(prepare={"split": "group", "column": "picked"}, validate={"max_drift": 0.01})
    assert run("prepare").status == 0
    splits = {}
    for name in ("train", "test"):
        frame = pd.read_parquet(folder / f"data/prepared/{name}.parquet")
        frame.loc[:6, "size"] = [np.inf, -1, -2, -3, -4, -5, -6]
        frame["leak"] = (frame["ripe"] == "yes") * 1.0
        frame["colour"] = [f"{at},5" for at in range(len(frame))]
        frame.loc[0, "ripe"] = None
        splits[name] = as_split(frame.drop(columns="organic"), name)
    schema, settings = read_schema(), params.load()
    found = []
    for cells in (1, 500, 10_000_000):
        monkeypatch.setattr("src.validate.CELLS", cells)
        found.append(check(splits["train"], splits["test"], schema, settings))
    assert found[0] == found[1] == found[2]
    counts = {(one.column, one.check.split("(")[0]): one.rows for one in found[0].violations}
    assert counts["size", "in_range"] == 7
    assert {one.column for one in found[0].warnings} == {"leak", "colour"}


def test_table_is_never_wider_than_80_columns():
    rows = [Violation("train", "x" * 99, "y" * 99, 10**12, "z" * 99), Violation("a", "", "", 1, "")]
    assert max(map(len, table_of(rows).splitlines())) <= 80


def test_absent_schema_is_refused(project, run):
    folder = project()
    (folder / "data/schema.yaml").unlink()
    done = run("prepare")
    assert done.status == 1
    assert done.err == "error: data/schema.yaml: not found; infer one with `make schema`\n"
    assert not VALIDATION.exists()


def test_chance_is_that_of_the_values_that_are_there():
    """The rarer they are, or the fewer their groups, the farther apart two samples lie."""
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(40):
        train, test = frames()
        for part in (train, test):
            part["number"] = np.where(random.random(len(part)) < 0.95, np.nan, part["number"])
        alarms += any(one.check.startswith("drift") for one in found(train, test))
    assert not alarms
    train, test = frames()
    for part, groups in ((train, 20), (test, 10)):
        part["weight"] = np.arange(len(part)) % groups
        part["number"] = random.normal(size=groups)[part["weight"]]
    split = {"split": "group", "column": "weight"}
    drifts = [one for one in found(train, test, prepare=split) if one.check.startswith("drift")]
    assert not drifts


def test_only_the_first_values_of_a_violation_are_kept(project, run):
    table = fruit()
    project(table=table)
    table["size"] = table["size"] + 1000
    write_table(Path("data/raw.csv"), table)
    assert run("prepare", "validate").status == 1
    violations = json.loads(VALIDATION.read_text())["violations"]
    assert all(len(one["values"].split(", ")) <= 6 for one in violations)
    assert any(one["values"].endswith(", ...") for one in violations)
