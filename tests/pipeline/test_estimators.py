"""Estimators as params.yaml writes them: nested, searched for, from other packages."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from src.shared.errors import UserError
from src.shared.estimators import distributions, make_estimator
from src.shared.model import EncodedClassifier, outputs

LOGISTIC: dict[str, Any] = {
    "estimator": "sklearn.linear_model.LogisticRegression",
    "arguments": {"C": 0.5, "max_iter": 999},
}
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier"}
SEARCH = {
    "estimator": TREE,
    "param_distributions": {
        "max_depth": {
            "estimator": "scipy.stats.randint",
            "arguments": {"low": 1, "high": 5},
        }
    },
    "min_resources": 60,
    "cv": {
        "estimator": "sklearn.model_selection.StratifiedKFold",
        "arguments": {"n_splits": 3, "shuffle": True},
    },
}


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        (
            "sklearn.ensemble.VotingClassifier",
            {"estimators": [["a", LOGISTIC], ["b", TREE]], "voting": "soft"},
        ),
        (
            "sklearn.ensemble.StackingClassifier",
            {"estimators": [["a", TREE]], "final_estimator": LOGISTIC},
        ),
        ("sklearn.calibration.CalibratedClassifierCV", {"estimator": TREE}),
        ("sklearn.ensemble.BaggingClassifier", {"estimator": LOGISTIC}),
        ("sklearn.ensemble.AdaBoostClassifier", {"estimator": TREE}),
        (
            "sklearn.model_selection.GridSearchCV",
            {"estimator": LOGISTIC, "param_grid": {"C": [0.1, 1]}},
        ),
        ("sklearn.model_selection.HalvingRandomSearchCV", SEARCH),
        ("sklearn.pipeline.Pipeline", {"steps": [["a", LOGISTIC]]}),
    ],
)
def test_nested_estimators_are_made_and_repeatable(path, arguments):
    rows, labels = load_iris(return_X_y=True)
    first, second = (
        make_estimator(path, arguments, 3, "multiclass").fit(rows, labels) for _ in range(2)
    )
    assert (first.predict_proba(rows) == second.predict_proba(rows)).all()
    assert first.score(rows, labels) > 0.9


def test_nested_objects_get_their_arguments_and_the_seed():
    voting = {"estimators": [["a", LOGISTIC], ["b", TREE]]}
    made = make_estimator("sklearn.ensemble.VotingClassifier", voting, 7, "binary")
    assert made.get_params()["a__C"] == 0.5
    assert made.get_params()["b__random_state"] == 7
    search = make_estimator(
        "sklearn.model_selection.HalvingRandomSearchCV", SEARCH, 7, "multiclass"
    )
    assert search.cv.random_state == 7
    assert search.random_state == 7


def test_a_regressor_of_the_logarithm():
    arguments = {
        "regressor": {"estimator": "sklearn.linear_model.LinearRegression"},
        "func": {"estimator": "numpy.log"},
        "inverse_func": {"estimator": "numpy.exp"},
    }
    path = "sklearn.compose.TransformedTargetRegressor"
    rows = np.linspace(0, 1, 50)[:, None]
    made = make_estimator(path, arguments, 0, "regression").fit(rows, np.exp(3 * rows[:, 0]))
    assert made.score(rows, np.exp(3 * rows[:, 0])) > 0.999


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        (
            "sklearn.ensemble.VotingClassifier",
            {"estimators": [["lr", "sklearn.linear_model.LogisticRegression"]]},
            "train.arguments.estimators.0.1 is the text 'sklearn.linear_model.LogisticRegression', "
            "but an object is wanted; "
            "write {estimator: sklearn.linear_model.LogisticRegression, arguments: {}} there",
        ),
        (
            "sklearn.ensemble.AdaBoostClassifier",
            {"estimator": "sklearn.tree.DecisionTreeClassifier"},
            "train.arguments.estimator is the text 'sklearn.tree.DecisionTreeClassifier'",
        ),
        (
            "sklearn.ensemble.BaggingClassifier",
            {"estimator": {"estimator": "sklearn.tree.Tree"}},
            "train.arguments.estimator.estimator: sklearn.tree.Tree does not exist",
        ),
        (
            "sklearn.ensemble.BaggingClassifier",
            {"estimator": {"estimator": "sklearn.svm.SVC", "arguments": {"D": 1}}},
            "train.arguments.estimator.arguments: sklearn.svm.SVC refuses them: TypeError",
        ),
    ],
)
def test_what_is_wrong_inside_is_named(path, arguments, said):
    with pytest.raises(UserError) as caught:
        make_estimator(path, arguments, 1, "binary")
    assert said in str(caught.value)


class Strict(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Stands for a library that takes 0, 1, ... alone, and answers in a column (rows, 1)."""

    def fit(self, rows, labels):
        self.classes_ = np.unique(labels)
        assert self.classes_.tolist() == list(range(len(self.classes_)))
        self.tree = DecisionTreeClassifier(random_state=0).fit(rows, labels)
        return self

    def predict(self, rows):
        return self.tree.predict(rows)[:, None]

    def predict_proba(self, rows):
        return self.tree.predict_proba(rows)


@pytest.mark.parametrize(
    ("labels", "positive", "classes"),
    [
        (["sweet", "bitter"], "bitter", ["sweet", "bitter"]),
        ([1, 2], 2, [1, 2]),
        ([True, False], True, [False, True]),
        (["a", "b", "c"], None, ["a", "b", "c"]),
    ],
)
def test_labels_are_encoded_around_an_estimator_that_wants_numbers(labels, positive, classes):
    rows = np.arange(30.0)[:, None]
    actual = np.resize(labels, 30)
    model = EncodedClassifier(Strict(), positive).fit(rows, actual)
    assert model.classes_.tolist() == classes
    assert model.predict(rows).tolist() == actual.tolist()
    likeliest = model.classes_[model.predict_proba(rows).argmax(axis=1)]
    assert likeliest.tolist() == actual.tolist()
    assert not hasattr(model, "decision_function")


@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]])
@pytest.mark.parametrize("kind", [HistGradientBoostingClassifier, LogisticRegression])
def test_rows_are_scored_once_but_for_those_between_two_classes(monkeypatch, kind, classes):
    """And all get the class that `predict` gives them."""
    rows = np.random.default_rng(0).normal(size=(300, 2))
    model = kind().fit(rows, np.resize(classes, 300))
    wanted, asked = model.predict(rows).tolist(), []
    shares = model.predict_proba(rows)
    shares[:7] = 1 / len(classes)

    def predict(some):
        asked.append(len(some))
        return kind.predict(model, some)

    monkeypatch.setattr(model, "predict_proba", lambda _: shares)
    monkeypatch.setattr(model, "predict", predict)
    predicted, said = outputs(model, rows, "multiclass")
    assert predicted.tolist() == wanted
    assert said is shares
    assert asked == [7]


def test_what_is_derived_may_predict_another_class_than_the_likeliest():
    class Cautious(HistGradientBoostingClassifier):  # type: ignore[misc]
        def predict(self, rows):
            return np.full(len(rows), "no")

    rows = np.arange(40.0)[:, None]
    model = Cautious().fit(rows, np.where(rows[:, 0] < 20, "no", "yes"))
    assert set(outputs(model, rows, "binary")[0]) == {"no"}


def test_only_estimators_of_other_packages_are_wrapped():
    voting = {"estimators": [["a", {"estimator": f"{__name__}.Strict"}]]}
    assert type(make_estimator(LOGISTIC["estimator"], {}, 0, "binary")).__module__.startswith("skl")
    wrapped = make_estimator("sklearn.ensemble.VotingClassifier", voting, 0, "binary", "yes")
    assert isinstance(wrapped, EncodedClassifier)
    assert wrapped.positive == "yes"


def test_the_packages_of_nested_estimators_are_known():
    nested = {"estimator": {"estimator": "pandas.DataFrame", "arguments": {}}}
    assert distributions("sklearn.ensemble.BaggingClassifier", nested) == ["scikit-learn", "pandas"]
