"""Slices of the test split: which rows they hold, what is measured on them, what the gate says."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.shared import params
from src.shared.errors import UserError
from src.shared.intervals import wilson
from src.shared.measure import Predictions
from src.shared.params import Bins, Bound, Evaluate
from src.shared.paths import EVALUATION, METRICS, PREDICTIONS, SLICES, TEST, VERDICTS
from src.shared.slices import Estimate, Slice, enough, label, read, score
from src.shared.tables import read_split
from src.shared.verdicts import judge, table_of
from tests.projects import fruit, settings_of, write_settings

SETTINGS = params.parse(Evaluate, settings_of()["evaluate"])


def names(column: pd.Series, *bins: float) -> list[str]:
    wanted: str | Bins = Bins(column="x", bins=list(bins)) if bins else "x"
    return label(pd.DataFrame({"x": column}), [wanted])["x"].tolist()


def test_a_bin_holds_its_lower_edge():
    values = pd.Series([29.9, 30, 49, 50, 1e9, np.nan, -np.inf])
    young, middle, old = "x < 30", "30 <= x < 50.5", "x >= 50.5"
    expected = [young, middle, middle, middle, old, "x is missing", young]
    assert names(values, 30, 50.5) == expected
    assert names(pd.Series([29, 30, None], dtype="Int64"), 30) == ["x < 30", "x >= 30", expected[5]]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["b", None, "a"]), ["x = b", "x is missing", "x = a"]),
        (pd.Series(["missing", None]), ["x = missing", "x is missing"]),
        (pd.Series([2, 10, None], dtype="Int64"), ["x = 2", "x = 10", "x is missing"]),
        (
            pd.Series([True, None, False], dtype="boolean"),
            ["x = True", "x is missing", "x = False"],
        ),
        (pd.Series([False, True]), ["x = False", "x = True"]),
    ],
)
def test_each_value_is_a_slice_and_so_is_a_missing_one(column, expected):
    assert names(column) == expected


def test_slices_come_in_the_order_of_their_values():
    said = Predictions(np.zeros(4), np.zeros(4))
    frame = pd.DataFrame({"x": [10, 2, None, 9], "y": [5.0, 1, 3, 3]})
    found = score(said, label(frame, ["x", Bins(column="y", bins=[2, 3, 5])]), SETTINGS)
    assert [(one.name, one.column, one.rows) for one in found] == [
        *[("x = 2.0", "x", 1), ("x = 9.0", "x", 1), ("x = 10.0", "x", 1), ("x is missing", "x", 1)],
        *[("y < 2", "y", 1), ("3 <= y < 5", "y", 2), ("y >= 5", "y", 1)],
    ]


def test_metrics_of_a_slice_are_those_of_its_rows():
    """Told by hand: 3 of 4 right where x = a, all right of one class where x = b."""
    actual = np.array(["no", "yes", "no", "yes", "yes", "yes"])
    predicted = np.array(["no", "yes", "yes", "yes", "yes", "yes"])
    positive = np.array([0.1, 0.9, 0.6, 0.55, 0.7, 0.8])
    scores = np.column_stack([1 - positive, positive])
    said = Predictions(actual, predicted, ["no", "yes"], scores, True, True)
    labels = label(pd.DataFrame({"x": list("aaaabb")}), ["x"])
    first, second = score(said, labels, SETTINGS)
    assert (first.name, first.rows, first.undefined) == ("x = a", 4, [])
    accuracy, (low, high) = first.metrics["accuracy"], wilson(3, 4)
    assert accuracy.value == 0.75
    assert (accuracy.low, accuracy.high) == pytest.approx((low, high), rel=1e-5)
    assert first.metrics["roc_auc"].value == 0.75  # of the 4 pairs one is in the wrong order
    assert (second.name, second.rows, second.undefined) == ("x = b", 2, ["roc_auc"])
    assert second.metrics["accuracy"].value == 1
    assert "roc_auc" not in second.metrics


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Bins(column="colour", bins=[3]), "'colour' does not hold numbers, so it has no bins"),
        (Bins(column="organic", bins=[0]), "'organic' does not hold numbers"),
        ("size", "'size' has 211 values in the test split, where a column has at most 50 slices"),
    ],
)
def test_a_column_that_cannot_be_sliced_is_refused(wanted, said):
    with pytest.raises(UserError, match=said):
        label(fruit(), [wanted])


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"evaluate": {"slices": ["a", {"column": "a", "bins": [1]}]}}, "'a' stands there twice"),
        ({"evaluate": {"slices": [{"column": "a", "bins": [2, 1]}]}}, "with bins that rise"),
        ({"evaluate": {"slices": [{"column": "a", "bins": []}]}}, "evaluate.slices is"),
        ({"evaluate": {"slices": [{"column": "a", "bin": [1]}]}}, "evaluate.slices is"),
        ({"evaluate": {"slices": [{"column": "a", "bins": [float("nan")]}]}}, "evaluate.slices is"),
        ({"evaluate": {"slices": "sex"}}, "evaluate.slices is 'sex'; allowed: a list of columns"),
        ({"evaluate": {"slice_rows": 0}}, "at least 1"),
        (
            {"evaluate": {"slices": ["a"]}, "data": {"drop": ["a"]}},
            "data.drop: 'a' is needed as evaluate.slices",
        ),
        (
            {"train": {"leave_out": ["a"]}, "data": {"drop": ["a"]}},
            "data.drop: 'a' is needed as train.leave_out",
        ),
        ({"train": {"leave_out": ["ripe"]}}, "train.leave_out: the target is no feature anyway"),
        (
            {"gate": {"accuracy": {"min": 0.9, "slice_min": 0.8}}},
            "gate.accuracy: a bound on slices needs columns in evaluate.slices",
        ),
        (
            {"gate": {"accuracy": {"min": 0.9, "slice_min": 0.8, "slice_max": 0.7}}},
            "slice_min: 0.8 is above slice_max 0.7",
        ),
        ({"gate": {"accuracy": {"slice_min": 0.8}}}, "a bound needs min, max or both"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, sections, said):
    write_settings(tmp_path, settings_of(**sections))
    params.load.cache_clear()
    with pytest.raises(UserError) as refusal:
        params.load(tmp_path / "params.yaml")
    assert said in str(refusal.value)


def part(name: str, rows: int, **metrics: float) -> Slice:
    found = {key: Estimate(value, value - 0.1, value + 0.1) for key, value in metrics.items()}
    return Slice(name, "sex", rows, found, [])


MEN, WOMEN = (
    part("sex = m", 60, accuracy=0.95, mae=2.0),
    part("sex = f", 40, accuracy=0.75, mae=5.0),
)
ONE_CLASS = part("sex is missing", 31)


@pytest.mark.parametrize(
    ("metric", "bound", "slices", "passed", "said"),
    [
        ("accuracy", {"min": 0, "slice_min": 0.75}, [MEN, WOMEN], True, "worst slice: 0.75 where"),
        (
            "accuracy",
            {"min": 0, "slice_min": 0.8},
            [MEN, WOMEN],
            False,
            "REJECTED: too low in a slice: 0.75 where sex = f (40 rows, 95 % interval 0.65 to "
            "0.85), allowed 0.8",
        ),
        ("mae", {"max": 9, "slice_max": 5}, [MEN, WOMEN], True, "worst slice: 5 where sex = f"),
        (
            "mae",
            {"max": 9, "slice_max": 4},
            [MEN, WOMEN],
            False,
            "too high in a slice: 5 where sex = f (40 rows",
        ),
        (
            "accuracy",
            {"min": 0, "slice_min": 0.5, "slice_max": 0.9},
            [MEN, WOMEN],
            False,
            "too high in a slice: 0.95 where sex = m",
        ),
        (
            "accuracy",
            {"min": 0, "slice_min": 0.5},
            [MEN, ONE_CLASS],
            True,
            "WARNING: not defined in 1 of 2 slices: sex is missing",
        ),
        ("accuracy", {"min": 0, "slice_min": 0.5}, [ONE_CLASS], True, "bounds nothing: no slice"),
        ("accuracy", {"min": 0, "slice_min": 0.5}, [], True, "bounds nothing: no slice"),
    ],
)
def test_the_worst_slice_is_bounded(metric, bound, slices, passed, said):
    [found] = judge({metric: 0.9}, {metric: Bound(**bound)}, slices=slices)
    assert found.passed == passed
    assert said in table_of([found])
    if "bounds nothing" not in said:
        assert found.worst is not None


def test_a_slice_is_no_excuse_for_the_whole():
    bound = {"accuracy": Bound(min=0.95, slice_min=0.8)}
    [found] = judge({"accuracy": 0.9}, bound, slices=[MEN, WOMEN])
    assert found.reason.startswith("too low; too low in a slice: 0.75")
    [found] = judge({"accuracy": 0.99}, bound)  # nobody knows of slices
    assert found.passed


def test_small_slices_are_counted():
    large, told = enough([MEN, WOMEN, part("a", 29, accuracy=0.0)], 30)
    assert large == [MEN, WOMEN]
    assert told == ["1 of 3 slices are not judged, as they have fewer than 30 rows"]
    assert enough([MEN], 30) == ([MEN], [])


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"name": "a"}]', "[" + "NaN" + "]", None])
def test_what_is_no_file_of_slices_is_refused(tmp_path, content):
    path = tmp_path / "slices.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"run `dvc repro -f evaluate`"):
        read(path)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_a_value_that_is_not_finite_is_no_value(tmp_path, value):
    path = tmp_path / "slices.json"
    text = '[{"name": "a", "column": "a", "rows": 40, "undefined": [], "metrics": {"accuracy": '
    path.write_text(text + '{"value": ' + value + ', "low": 0.1, "high": 0.2, "note": ""}}}]')
    with pytest.raises(UserError, match="not what evaluate writes"):
        read(path)


SLICED: dict[str, Any] = {
    "slices": ["colour", {"column": "size", "bins": [5, 7]}],
    "slice_rows": 15,
    "metric": "accuracy",
}


def test_slices_are_measured_told_kept_and_judged(project, run):
    table = fruit(300)
    table["colour"] = table["colour"].replace("red", "re\nd")
    project(table=table, evaluate=SLICED, gate={"accuracy": {"min": 0.2, "slice_min": 0.95}})
    done = run("prepare", "validate", "train", "evaluate")
    assert done.status == 0, done.err
    assert "  colour = re\\nd" in done.out
    found = {one.name: one for one in read(SLICES)}
    frame, kept = read_split(TEST), read_split(PREDICTIONS)
    right = (kept["actual"] == kept["predicted"]).to_numpy()
    missing = frame["colour"].isna().to_numpy()
    middle = frame["size"].between(5, 7, inclusive="left").to_numpy()
    for name, rows in (("colour is missing", missing), ("5 <= size < 7", middle)):
        assert found[name].rows == rows.sum() > 0
        assert found[name].metrics["accuracy"].value == pytest.approx(right[rows].mean(), abs=1e-6)
    assert (kept["slice_colour"] == "colour is missing").tolist() == missing.tolist()
    assert sum(one.rows for one in found.values()) == 2 * len(frame)
    points = json.loads((EVALUATION / "plots/custom/slices.json").read_text())
    assert [point["slice"] for point in points] == list(found)

    done = run("gate")
    assert done.status == 1
    [verdict] = json.loads(VERDICTS.read_text())["verdicts"]
    large = [one for one in found.values() if one.rows >= 15]
    worst = min(large, key=lambda one: one.metrics["accuracy"].value)
    ends = worst.metrics["accuracy"]
    assert verdict["worst"] == {
        "name": worst.name,
        "rows": worst.rows,
        "value": ends.value,
        "low": ends.low,
        "high": ends.high,
    }
    assert f"{len(found) - len(large)} of {len(found)} slices are not judged" in done.out
    assert 0 < len(large) < len(found)
    SLICES.unlink()
    done = run("gate")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "metrics/evaluate/slices.json: not found" in done.err


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"evaluate": {"slices": ["color"]}}, "no column 'color' (evaluate.slices in params.yaml)"),
        ({"evaluate": {"metric": "rmse"}}, "params.yaml: evaluate.metric is 'rmse'; this model"),
    ],
)
def test_a_name_that_nothing_has_is_refused(project, run, sections, said):
    project(**sections)
    done = run("prepare", "validate", "train", "evaluate")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert said in done.err
    assert not METRICS.exists()
