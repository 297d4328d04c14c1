"""The whole pipeline for each task: other data and other parameters, the same code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from src import metrics
from tests.dvc_runs import commit, dvc, make_git_project, repro
from tests.projects import STAGES

CLASSES = ["accuracy", "balanced_accuracy", "roc_auc", "average_precision", "log_loss", "brier"]
CURVES = ["roc", "precision_recall", "confusion_matrix"]
METRICS = {
    "binary": [*CLASSES, "f1", "precision", "recall"],
    "multiclass": [
        *CLASSES,
        *("f1_macro", "precision_macro", "recall_macro"),
        *("recall_0", "recall_1", "recall_2"),
    ],
    "regression": ["rmse", "mae", "r2", "mape"],
}
OWN = {name for name, metric in metrics.METRICS.items() if metric.function}
PLOTS = {
    "binary": {*CURVES, "calibration", "cross_validation"},
    "multiclass": {*CURVES, "cross_validation"},
    "regression": {"predicted", "residuals", "cross_validation"},
}


@pytest.fixture
def done(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    """Give a project of a task whose pipeline has run, all committed."""

    def make(task: str) -> Path:
        if task == "binary":
            return request.getfixturevalue("finished")  # nothing here changes it
        folder = make_git_project(tmp_path / "project", task)
        assert repro(folder) == list(STAGES)
        commit(folder)
        return folder

    return make


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("task", METRICS)
def test_task(done: Callable[[str], Path], task: str) -> None:
    folder = done(task)
    measured = read(folder / "metrics/evaluate/metrics.json")
    assert set(measured) >= set(METRICS[task])
    assert set(measured) - set(METRICS[task]) <= OWN
    intervals = read(folder / "metrics/evaluate/intervals.json")
    assert all(ends["low"] <= ends["high"] for ends in intervals.values())
    assert intervals.keys() == measured.keys()

    shown = dvc(folder, "metrics", "show", "--json")
    [revision] = json.loads(shown.out).values()
    assert revision["data"]["metrics/evaluate/metrics.json"] == {"data": measured}
    assert set(revision["data"]["metrics/train/metrics.json"]["data"]) == set(measured)

    for command, revisions in (
        (["show"], ["workspace"]),
        (["diff", "HEAD"], ["workspace", "HEAD"]),
    ):
        drawn = dvc(folder, "plots", *command, "--json")
        assert drawn.err == ""
        content = json.loads(drawn.out)
        assert content.keys() == {"data"}  # no "errors"
        plots = {Path(name).stem: plot for name, plot in content["data"].items() if plot}
        assert plots.keys() >= PLOTS[task]
        assert not plots.keys() & set().union(*PLOTS.values()) - PLOTS[task]
        for [plot] in plots.values():
            assert plot["type"] == "vega"
            assert plot["revisions"] == revisions
            assert plot["content"]["data"]["values"]
