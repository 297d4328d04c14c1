"""A search as the estimator: where it runs, how far it is, what it tried."""

import csv
import io
import pickle
import threading
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

from src.shared import search
from src.shared.estimators import make_estimator
from src.shared.model import EncodedClassifier
from src.shared.paths import CANDIDATES
from src.shared.search import Candidate, Progress, candidates, find, ranked, running, summary, write

LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression", "arguments": {"max_iter": 999}}
GRID = {"estimator": LOGISTIC, "param_grid": {"C": [0.001, 1.0, -1.0]}, "cv": 3}
ROWS, LABELS = load_iris(return_X_y=True, as_frame=True)


def make(name: str = "GridSearchCV", **arguments: Any) -> Any:
    """Give a search as train makes it."""
    return make_estimator(f"sklearn.model_selection.{name}", GRID | arguments, 0, "multiclass")


def fit(estimator: Any, labels: Any = LABELS) -> Any:
    """Fit a pipeline with the estimator, as train does."""
    model = make_pipeline(StandardScaler(), estimator)
    with running(estimator):
        model.fit(ROWS, labels)
    return model


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["GridSearchCV", "HalvingGridSearchCV"])
def test_candidates_are_ranked_and_those_that_failed_say_why(name):
    model = fit(make(name))
    found = candidates(model, ROWS, LABELS)
    assert [one.parameters for one in found] == [{"C": 1.0}, {"C": 0.001}, {"C": -1.0}]
    assert [one.rank for one in found] == [1, 2, 3]
    assert [one.chosen for one in found] == [True, False, False]
    assert found[0].mean == pytest.approx(model[-1].best_score_, rel=1e-5)
    std = model[-1].cv_results_["std_test_score"][model[-1].best_index_]
    assert found[0].std == pytest.approx(std, rel=1e-5)
    assert (found[2].mean, found[2].std) == (None, None)
    assert found[2].failed.startswith("InvalidParameterError: The 'C' parameter of LogisticRegr")
    assert not found[0].failed
    said = list(summary(found))
    assert said[0].startswith("the search chose of 3 candidates: C=1 (mean score 0.")
    assert said[1].startswith("1 of them failed, C=-1: InvalidParameterError: ")


def test_candidates_whose_texts_would_be_equal_are_all_there():
    found = ranked(fit(make(param_grid={"C": [1.00001, 1.00002]}))[-1])
    assert len(found) == 2
    assert found[0].mean == found[1].mean
    assert [one.rank for one in found] == [1, 1]
    assert found[0].chosen


def test_with_halving_whoever_came_further_is_better():
    """Scores on few rows do not compare with scores on many."""
    tried = {
        "params": [{"C": 1}, {"C": 2}, {"C": 1}],
        "mean_test_score": [0.8, 0.99, 0.9],
        "std_test_score": [0.1, 0.1, 0.1],
        "iter": [0, 0, 1],
        "n_resources": [20, 20, 60],
    }
    halved = SimpleNamespace(cv_results_=tried, multimetric_=False, best_index_=2)
    best, other = ranked(halved)
    assert best == Candidate({"C": 1}, 0.9, 0.1, 1, True, iteration=1, resources=60)
    assert other == Candidate({"C": 2}, 0.99, 0.1, 2, False, iteration=0, resources=20)


def test_a_parameter_that_halving_doles_out_makes_no_candidates():
    forest = {"estimator": "sklearn.ensemble.ExtraTreesClassifier"}
    model = fit(
        make(
            "HalvingGridSearchCV",
            estimator=forest,
            param_grid={"max_depth": [1, 2, 3]},
            resource="n_estimators",
            min_resources=2,
            max_resources=6,
        )
    )
    found = ranked(model[-1])
    assert len(found) == 3
    assert found[0].chosen
    assert found[0].parameters == model[-1].best_params_
    assert found[0].resources == found[0].parameters["n_estimators"] == 6


def test_of_several_scores_the_one_that_it_chose_by_counts():
    search = fit(make(scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss"))[-1]
    best = search.cv_results_["mean_test_neg_log_loss"][search.best_index_]
    assert ranked(search)[0].mean == pytest.approx(best, rel=1e-5)


def test_a_search_among_estimators_that_want_numbers_for_classes():
    names = LABELS.map({0: "c", 1: "a", 2: "b"})
    estimator = EncodedClassifier(make())
    model = fit(estimator, names)
    found = candidates(model, ROWS, names)
    assert [one.parameters["C"] for one in found] == [1.0, 0.001, -1.0]
    assert found[2].failed.startswith("InvalidParameterError")


def test_an_estimator_that_is_no_search_has_no_candidates():
    model = fit(DecisionTreeClassifier())
    assert find(model[-1]) is None
    assert candidates(model, ROWS, LABELS) == []
    assert list(summary([])) == []


def test_a_reason_is_the_same_in_every_process():
    model = fit(make(param_grid={"C": [1.0], "solver": ["lbfgs", "none at all"]}))
    failed = candidates(model, ROWS, LABELS)[-1].failed
    assert "{'lbfgs', 'liblinear', 'newton-cg', 'newton-cholesky', 'sag', 'saga'}" in failed


@pytest.mark.parametrize("name", ["GridSearchCV", "HalvingGridSearchCV"])
def test_a_model_is_the_same_file_each_time(name):
    first, second = (pickle.dumps(fit(make(name))) for _ in range(2))
    assert first == second


def test_the_table_of_candidates(tmp_path):
    write(tmp_path, candidates(fit(make()), ROWS, LABELS))
    text = (tmp_path / CANDIDATES.name).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["rank", "chosen", "mean", "std", "param_C", "failed"]
    assert [row["param_C"] for row in rows] == ["1.0", "0.001", "-1.0"]
    assert [row["chosen"] for row in rows] == ["True", "False", "False"]
    assert rows[2]["mean"] == ""
    assert pd.read_csv(tmp_path / CANDIDATES.name)["rank"].tolist() == [1, 2, 3]
    write(tmp_path, [])
    assert (tmp_path / CANDIDATES.name).read_text() == "rank,chosen,mean,std,failed\n"


THREADS: list[str] = []


class Spy(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Notes in THREADS where it is fitted, if that is in this process."""

    def __init__(self, C: float = 1) -> None:
        self.C = C

    def fit(self, rows, labels):
        THREADS.append(threading.current_thread().name)
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows):
        return np.full(len(rows), self.classes_[0])


@pytest.mark.parametrize("jobs", [{}, {"n_jobs": 2}])
def test_candidates_run_on_threads(jobs, monkeypatch):
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    monkeypatch.setattr(f"{__name__}.THREADS", [])
    fit(make(estimator={"estimator": f"{__name__}.Spy"}, **jobs))
    assert len(THREADS) == 3 * 3 + 1  # and the best one, on all rows
    assert len(set(THREADS)) > 1


def test_a_cluster_is_not_overruled(monkeypatch):
    """Where Dask has an address, joblib's backend is left as it was chosen."""
    with joblib.parallel_config("loky"):
        for address, wanted in (("tcp://127.0.0.1:1", "Loky"), ("", "Threading")):
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
            with running(make()):
                backend, _ = joblib.parallel.get_active_backend()
            assert type(backend).__name__.startswith(wanted)


@pytest.mark.parametrize(
    ("name", "unit", "total"),
    [("GridSearchCV", "fit", 9), ("HalvingGridSearchCV", "iteration", 2)],
)
def test_bar_counts_to_its_end_and_goes(name, unit, total, monkeypatch):
    bars: list[Any] = []

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, **options):
            super().__init__(**options | {"disable": False, "file": io.StringIO()})
            bars.append(self)

        def close(self):
            self.ended = (self.n, self.total, self.unit)
            super().close()

    monkeypatch.setattr(search, "tqdm", Bar)
    estimator = make(name)
    model = fit(estimator)
    assert [bar.ended for bar in bars] == [(total, total, unit)]
    for one in (estimator, model[-1], clone(estimator)):  # what is saved has no bar
        assert b"Progress" not in pickle.dumps(one)


def test_bar_stays_behind_where_the_search_goes_to_another_process():
    progress = Progress()
    progress.bar = object()
    there = pickle.loads(pickle.dumps(progress))  # noqa: S301
    there.setup(None, None)
    assert there.bar is None
    there.on_fit_task_end(None, None)
    there.teardown(None, None)
