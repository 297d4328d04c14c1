import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge

from src.evaluate import (
    AXES,
    CONFUSION_ROWS,
    CURVE_POINTS,
    SCATTER_ROWS,
    curve_points,
    importances,
    plots,
)
from src.shared import params, tables
from src.shared.measure import Predictions, baseline
from src.shared.params import Evaluate
from src.shared.paths import EVALUATION, MODEL, PREDICTIONS, SIDECAR, TEST
from src.shared.tables import read_split
from tests.projects import TABLES, settings_of, tree

PLOTS = {
    "binary": {"roc", "precision_recall", "calibration", "confusion_matrix", "importance"},
    "multiclass": {"roc", "precision_recall", "confusion_matrix", "importance"},
    "regression": {"predicted", "residuals", "importance"},
}
ALL = set().union(*PLOTS.values())


class Trap:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def scored(rows: int, classes: int = 2) -> Predictions:
    random = np.random.default_rng(0)
    actual = random.integers(0, classes, rows)
    scores = random.random((rows, classes)) + np.eye(classes)[actual] / 2
    scores /= scores.sum(axis=1, keepdims=True)
    labels = list(range(classes))
    return Predictions(actual, scores.argmax(axis=1), labels, scores, True, classes == 2)


@pytest.mark.parametrize("task", TABLES)
def test_model_is_scored_and_drawn(project, run, task):
    project(task)
    done = run("prepare", "validate", "train", "evaluate")
    assert done.status == 0
    values = json.loads((EVALUATION / "metrics.json").read_text())
    ends = json.loads((EVALUATION / "intervals.json").read_text())
    assert list(ends) == list(values)
    lines = [line.split() for line in done.out.splitlines() if not line.startswith(" ")]
    assert [words[0] for words in lines] == ["metric", *values]
    plain = json.loads((EVALUATION / "baseline.json").read_text())
    assert plain.keys() <= values.keys()
    assert [words[-1] for words in lines[1:]] == [
        f"{plain[name]:.4g}" if name in plain else "-" for name in values
    ]
    frame = read_split(TEST)
    target = "ripe" if task == "binary" else "target"
    score = sk.r2_score if task == "regression" else sk.accuracy_score
    assert values["r2" if task == "regression" else "accuracy"] == pytest.approx(
        score(frame[target], joblib.load(MODEL).predict(frame)), abs=1e-6
    )
    files = (EVALUATION / "plots").rglob("*.json")
    drawn = {path.stem: json.loads(path.read_text()) for path in files}
    assert set(drawn) == set(AXES)
    found = {name for name, points in drawn.items() if points}
    assert found & ALL == PLOTS[task]  # beside those there may be plots of one's own
    for name in PLOTS[task]:
        assert set(drawn[name][0]) >= set(AXES[name])


def test_scoring_again_gives_the_same_files_and_leaves_nothing_of_before(project, run):
    project()
    run("prepare", "validate", "train", "evaluate")
    before = tree(EVALUATION)
    (EVALUATION / "left.json").write_text("from long ago")
    run("evaluate")
    assert tree(EVALUATION) == before


def test_what_a_model_without_scores_cannot_draw_stays_empty():
    actual = np.array([0, 1] * 9)
    drawn = plots(Predictions(actual, actual, [0, 1], binary=True), seed=1)
    assert {name for name in ALL if drawn[name]} == {"confusion_matrix"}
    decided = np.column_stack([-actual, actual]).astype(float)
    drawn = plots(Predictions(actual, actual, [0, 1], decided, False, True), seed=1)
    assert {name for name in ALL if drawn[name]} == {
        "confusion_matrix",
        "precision_recall",
        "roc",
    }


@pytest.mark.parametrize("rows", [1, 2, CURVE_POINTS, CURVE_POINTS + 1, 50_000])
def test_thinned_curve_keeps_its_ends_and_its_order(rows):
    x = np.sort(np.random.default_rng(0).random(rows))
    chosen = curve_points(x, x**2)
    assert chosen[0] == 0
    assert chosen[-1] == rows - 1
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) <= CURVE_POINTS + 1
    assert rows > CURVE_POINTS or len(chosen) == rows


@pytest.mark.parametrize("classes", [2, 3])
def test_thinned_curves_keep_their_area(classes):
    found = scored(20_000, classes)
    drawn = plots(found, seed=1)
    assert found.scores is not None
    labels = np.eye(classes)[found.actual]
    if classes == 2:
        label, score = labels[:, 1], found.scores[:, 1]
    else:
        label, score = labels.ravel(), found.scores.ravel()
    fpr, tpr = (np.array([point[axis] for point in drawn["roc"]]) for axis in AXES["roc"])
    assert np.trapezoid(tpr, fpr) == pytest.approx(sk.roc_auc_score(label, score), abs=0.005)
    recall, precision = (
        np.array([point[axis] for point in drawn["precision_recall"]])
        for axis in AXES["precision_recall"]
    )
    assert abs(np.trapezoid(precision, recall)) == pytest.approx(
        sk.average_precision_score(label, score), abs=0.005
    )


@pytest.mark.parametrize(
    "found",
    [scored(30_000), scored(30_000, 3), Predictions(np.arange(30_000.0), np.ones(30_000))],
    ids=PLOTS,
)
def test_plots_of_many_rows_are_small(found):
    drawn = plots(found, seed=1)
    limits = {"confusion_matrix": CONFUSION_ROWS, "predicted": SCATTER_ROWS}
    limits["residuals"] = SCATTER_ROWS
    for name, points in drawn.items():
        assert len(points) <= limits.get(name, CURVE_POINTS + 1)
    assert plots(found, seed=1) == drawn


def test_residuals_are_actual_minus_predicted():
    drawn = plots(Predictions(np.array([1.0, 5.0]), np.array([2.0, 2.5])), seed=1)
    assert drawn["predicted"] == [
        {"actual": 1.0, "predicted": 2.0},
        {"actual": 5.0, "predicted": 2.5},
    ]
    assert drawn["residuals"] == [
        {"predicted": 2.0, "residual": -1.0},
        {"predicted": 2.5, "residual": 2.5},
    ]


def test_model_swapped_for_another_is_refused_before_it_is_loaded(trained, run):
    marker = trained / "loaded"
    joblib.dump(Trap(marker), MODEL)
    before = tree(EVALUATION)
    done = run("evaluate")
    assert done.status == 1
    assert done.err == (
        "error: models/model.joblib: not the file that its sidecar describes; "
        "run `dvc repro -f train`\n"
    )
    assert not marker.exists()
    assert tree(EVALUATION) == before
    joblib.load(MODEL)  # the trap is one
    assert marker.exists()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda: MODEL.write_bytes(MODEL.read_bytes()[:-1]), "model.joblib: not the file that"),
        (lambda: MODEL.write_bytes(b""), "model.joblib: not the file that"),
        (lambda: MODEL.unlink(), "model.joblib: not found"),
        (lambda: SIDECAR.unlink(), "model.json: not found"),
        (lambda: SIDECAR.write_text("{"), "model.json: not valid JSON"),
        (lambda: SIDECAR.write_text("[]"), "model.json: not the sidecar of a model"),
        (lambda: SIDECAR.write_text("{}"), "model.json: not the sidecar of a model"),
        (lambda: shutil.copy(EVALUATION / "metrics.json", SIDECAR), "model.json: not the sidecar"),
    ],
)
def test_damaged_model_or_sidecar_is_refused(trained, run, damage, expected):
    damage()
    before = tree(EVALUATION)
    done = run("evaluate")
    assert done.status == 1
    assert done.err.startswith("error: models/" + expected)
    assert done.err.endswith("run `dvc repro -f train`\n")
    assert done.err.count("\n") == 1
    assert tree(EVALUATION) == before


def test_test_split_without_a_feature_is_refused(trained, run):
    read_split(TEST).drop(columns=["size", "ripe"]).to_parquet(TEST)
    done = run("evaluate")
    assert done.status == 1
    assert done.err == (
        "error: data/prepared/test.parquet: lacks the column ripe, size; run `dvc repro`\n"
    )


class Copycat:
    """Says what stands in the column `told`, and in `when` and `said` where it is of no use."""

    classes_ = np.array(["no", "yes"])

    def predict(self, rows):
        assert rows["when"].dtype.kind == "M"
        return np.where(rows["told"], "yes", "no")


MIXED = pd.DataFrame(
    {
        "told": [True, False] * 20,
        "when": pd.date_range("2024-01-01", periods=40),
        "said": ["a", None] * 20,
        "count": pd.array([1, None] * 20, dtype="Int64"),
        "target": ["yes", "no"] * 20,
    }
)


def known(task: str, *names: str) -> Any:
    features = [SimpleNamespace(name=name) for name in names]
    return SimpleNamespace(task=task, positive="yes", target="target", features=features)


def wanted(**changes: Any) -> Any:
    return params.parse(Evaluate, settings_of(evaluate=changes)["evaluate"])


def test_importance_is_the_drop_when_a_column_is_permuted():
    """Told by hand: a permuted row is right where its own value came back."""
    settings = wanted(importance_repeats=3)
    columns = ["when", "told", "said", "count"]
    found = importances(Copycat(), MIXED, known("binary", *columns), "accuracy", settings)
    random = np.random.default_rng(settings.seed)
    told = MIXED["told"].to_numpy()
    drops = [(told[random.permutation(40)] != told).mean() for _ in range(3)]
    assert found[0].pop("column") == "told"
    assert found[0] == pytest.approx({"importance": np.mean(drops), "std": np.std(drops)}, rel=1e-5)
    assert found[1:] == [
        {"column": name, "importance": 0, "std": 0} for name in ("when", "said", "count")
    ]


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_importance_is_scikit_learns(metric):
    rows = TABLES["regression"]()
    names = list(rows.columns.drop("target"))
    model = Ridge().fit(rows[names], rows["target"])
    settings = wanted(importance_repeats=30)
    found = importances(model, rows, known("regression", *names), metric, settings)
    scoring = "neg_root_mean_squared_error" if metric == "rmse" else metric
    theirs = permutation_importance(
        model, rows[names], rows["target"], scoring=scoring, n_repeats=30, random_state=1
    )
    ours = {point["column"]: point["importance"] for point in found}
    error = np.hypot(*(theirs.importances_std / np.sqrt(30),) * 2)
    assert (np.abs([ours[name] for name in names] - theirs.importances_mean) <= 4 * error).all()
    assert [point["importance"] for point in found] == sorted(ours.values(), reverse=True)


def test_importance_in_pieces_and_of_some_rows(monkeypatch):
    settings, two = wanted(importance_repeats=3), known("binary", "when", "told")
    whole = importances(Copycat(), MIXED, two, "accuracy", settings)
    monkeypatch.setattr("src.evaluate.CELLS", 90)  # one copy at a time
    assert importances(Copycat(), MIXED, two, "accuracy", settings) == whole
    some = wanted(importance_repeats=3, importance_rows=25)
    assert importances(Copycat(), MIXED, two, "accuracy", some)[0]["column"] == "told"
    for nothing in (wanted(importance_repeats=0), settings):
        metric = "roc_auc" if nothing is settings else "accuracy"  # which it does not have
        assert importances(Copycat(), MIXED, two, metric, nothing) == []


@pytest.mark.parametrize("task", TABLES)
def test_predictions_of_the_test_rows_are_kept(project, run, task):
    project(task)
    assert run("prepare", "validate", "train", "evaluate").status == 0
    kept, model, rows = read_split(PREDICTIONS), joblib.load(MODEL), read_split(TEST)
    assert kept["predicted"].tolist() == model.predict(rows).tolist()
    if task != "regression":
        columns = [f"probability_{label}" for label in model.classes_]
        assert (kept[columns].to_numpy() == model.predict_proba(rows)).all()


@pytest.mark.parametrize("task", TABLES)
def test_nothing_depends_on_the_size_of_a_batch(project, run, monkeypatch, task):
    table = TABLES[task]()
    table["serial"] = np.random.default_rng(1).permutation(len(table))
    table.loc[10, "serial"] = 2**60 + 1  # then all of the column is hashed as text
    slices = [{"column": "serial", "bins": [50]}]
    project(task, table, evaluate={"slices": slices, "importance_rows": 20})
    assert run("prepare", "validate", "train", "evaluate").status == 0
    whole, before = read_split(PREDICTIONS), tree(EVALUATION)
    monkeypatch.setattr(tables, "ROWS", 7)
    assert run("evaluate").status == 0
    # A linear model's sums may differ in the last bit.
    pd.testing.assert_frame_equal(read_split(PREDICTIONS), whole, rtol=1e-12, atol=1e-12)
    after = tree(EVALUATION)
    del before["provenance.json"], after["provenance.json"]
    assert after == before


def test_baseline_of_counted_classes_is_that_of_the_rows():
    target = np.array(["no"] * 90 + ["yes"] * 10)
    actual = target[::3]
    said = Predictions(actual, actual, ["no", "yes"], np.full((len(actual), 2), 0.5), True, True)
    values, counts = np.unique(target, return_counts=True)
    assert baseline(said, values, "yes", counts) == baseline(said, target, "yes")
