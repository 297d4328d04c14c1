import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC, LinearSVC

from src.metrics import METRICS, Metric
from src.shared import intervals as bootstrap
from src.shared.errors import UserError
from src.shared.intervals import intervals
from src.shared.measure import Predictions, headline, measure, predict

SEEDS = range(4)
ROWS = 60


@pytest.fixture(autouse=True)
def built_in_alone(monkeypatch):
    """Take metrics of one's own out: what follows is about those that come with the project."""
    for name, metric in list(METRICS.items()):
        if metric.function:
            monkeypatch.delitem(METRICS, name)


def classification(seed: int, classes: list[Any]) -> Predictions:
    """Make random predictions whose probabilities have ties, with a class that is rare."""
    random = np.random.default_rng(seed)
    share = np.linspace(1, 0.1, len(classes))
    actual = random.choice(classes, ROWS, p=share / share.sum())
    scores = random.integers(1, 6, (ROWS, len(classes))).astype(float)
    scores[np.arange(ROWS), [classes.index(label) for label in actual]] += 2
    scores /= scores.sum(axis=1, keepdims=True)
    if len(classes) == 2:  # few distinct values, so many ties
        scores[:, 1] = scores[:, 1].round(1).clip(0.1, 0.9)
        scores[:, 0] = 1 - scores[:, 1]
    predicted = np.array(classes)[scores.argmax(axis=1)]
    return Predictions(actual, predicted, classes, scores, True, len(classes) == 2)


def regression(seed: int) -> Predictions:
    random = np.random.default_rng(seed)
    actual = random.normal(1e3, 5, ROWS)
    return Predictions(actual, actual + random.normal(0, 3, ROWS))


def of_sklearn(found: Predictions, repeats: np.ndarray) -> dict[str, float]:
    """Compute every metric with scikit-learn on rows that stand there `repeats` times."""
    y, said = np.repeat(found.actual, repeats), np.repeat(found.predicted, repeats)
    if found.classes is None:
        return {
            "rmse": sk.root_mean_squared_error(y, said),
            "mae": sk.mean_absolute_error(y, said),
            "r2": sk.r2_score(y, said),
            "mape": sk.mean_absolute_percentage_error(y, said),
        }
    values = {
        "accuracy": sk.accuracy_score(y, said),
        "balanced_accuracy": sk.balanced_accuracy_score(y, said),
    }
    scores = None if found.scores is None else np.repeat(found.scores, repeats, axis=0)
    options: dict[str, Any] = {"zero_division": 0, "average": "macro"}
    suffix = "_macro"
    if found.binary:
        options |= {"pos_label": found.classes[1], "average": "binary"}
        suffix = ""
    if found.binary:  # not defined, as opposed to 0
        options["zero_division"] = np.nan
    for metric in ("f1", "precision", "recall"):
        values[metric + suffix] = getattr(sk, f"{metric}_score")(y, said, **options)
    if not found.binary:
        recalls = sk.recall_score(y, said, labels=found.classes, average=None, zero_division=np.nan)
        values |= {f"recall_{label}": recalls[at] for at, label in enumerate(found.classes)}
    if scores is not None:
        # Each class against the rest; a class that does not occur has no area.
        columns = [1] if found.binary else range(len(found.classes))
        pairs = [(y == found.classes[at], scores[:, at]) for at in columns]
        for name in ("roc_auc", "average_precision"):
            area = getattr(sk, f"{name}_score")
            needed = (1, len(y) - 1) if name == "roc_auc" else (1, len(y))
            areas = [area(*pair) for pair in pairs if needed[0] <= pair[0].sum() <= needed[1]]
            values[name] = float(np.mean(areas)) if areas else np.nan
        if found.probabilities:
            order = np.argsort(np.array(found.classes))
            labels = [found.classes[at] for at in order]
            values["log_loss"] = sk.log_loss(y, scores[:, order], labels=labels)
            values["brier"] = (
                sk.brier_score_loss(y == found.classes[1], scores[:, 1], labels=[False, True])
                if found.binary
                else sk.brier_score_loss(y, scores[:, order], labels=labels)
            )
    return values


def assert_equal_to_sklearn(found: Predictions, weights: np.ndarray) -> None:
    ours = measure(found)(weights.astype(float))
    for at, repeats in enumerate(weights):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn tells of classes that do not occur
            expected = of_sklearn(found, repeats)
        assert {name: values[at] for name, values in ours.items()} == pytest.approx(
            expected, rel=1e-9, abs=1e-12, nan_ok=True
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "classes", [["no", "yes"], ["yes", "no"], [0, 1], ["a", "b", "c"], [3, 1, 2, 0]], ids=str
)
def test_classification_metrics_equal_scikit_learns(seed, classes):
    weights = np.random.default_rng(seed).integers(0, 4, (5, ROWS))
    assert_equal_to_sklearn(classification(seed, classes), weights)


@pytest.mark.parametrize("seed", SEEDS)
def test_regression_metrics_equal_scikit_learns(seed):
    weights = np.random.default_rng(seed).integers(0, 4, (5, ROWS))
    assert_equal_to_sklearn(regression(seed), weights)


@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]], ids=len)
def test_metrics_where_a_class_is_not_in_the_resample(classes):
    found = classification(0, classes)
    present = [found.actual != label for label in classes]
    only = [found.actual == label for label in classes]
    assert_equal_to_sklearn(found, np.array(present + only).astype(int))


@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c"]], ids=len)
@pytest.mark.parametrize("always", [0, 1])
def test_metrics_where_one_class_is_never_or_always_predicted(classes, always):
    found = classification(0, classes)
    same = Predictions(
        found.actual, np.full(ROWS, classes[always]), classes, found.scores, True, found.binary
    )
    weights = np.random.default_rng(1).integers(0, 4, (3, ROWS))
    assert_equal_to_sklearn(same, weights)


def test_metrics_of_equal_scores_and_of_perfect_ones():
    actual = np.array([0, 1] * 5)
    for score in (np.full(10, 0.5), actual.astype(float), 1.0 - actual):
        scores = np.column_stack([1 - score, score])
        found = Predictions(actual, score.round().astype(int), [0, 1], scores, True, True)
        assert_equal_to_sklearn(found, np.ones((1, 10), dtype=int))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_headline_is_every_row_once_to_six_significant_digits(task):
    found = {
        "binary": classification(0, ["no", "yes"]),
        "multiclass": classification(0, ["a", "b", "c"]),
        "regression": regression(0),
    }[task]
    expected = of_sklearn(found, np.ones(ROWS, dtype=int))
    assert headline(found) == {name: float(f"{value:.6g}") for name, value in expected.items()}
    table = {name for name in METRICS if task in METRICS[name].tasks}
    assert table == {name for name in expected if name in METRICS}


@pytest.mark.parametrize("positive", ["no", "yes"])
@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC()], ids=repr)
def test_positive_class_is_the_one_that_binary_metrics_are_of(model, positive):
    random = np.random.default_rng(0)
    rows = random.normal(size=(80, 2))
    actual = np.where(rows[:, 0] + random.normal(size=80) > 0.5, "yes", "no")
    found = predict(model.fit(rows, actual), rows, actual, "binary", positive)
    assert found.classes is not None
    assert found.classes[1] == positive
    assert headline(found)["recall"] == round(
        sk.recall_score(actual, model.predict(rows), pos_label=positive), 6
    )
    assert headline(found)["roc_auc"] > 0.7
    assert_equal_to_sklearn(found, random.integers(0, 3, (3, 80)))


class Constant(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that gives labels only."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize("model", [LinearSVC(), Constant()], ids=["scores", "labels"])
@pytest.mark.parametrize("classes", [2, 3])
def test_models_without_probabilities(model, classes):
    random = np.random.default_rng(0)
    rows, actual = random.normal(size=(60, 2)), np.arange(60) % classes
    task = "binary" if classes == 2 else "multiclass"
    found = predict(model.fit(rows, actual), rows, actual, task, 1 if classes == 2 else None)
    assert_equal_to_sklearn(found, random.integers(0, 3, (3, 60)))
    names = set(headline(found))
    assert "accuracy" in names
    assert ("roc_auc" in names) == isinstance(model, LinearSVC)
    assert not names & {"log_loss", "brier"}


def test_regression_predictions():
    rows = np.arange(10.0)[:, None]
    found = predict(LinearRegression().fit(rows, np.arange(10)), rows, np.arange(10), "regression")
    assert found.classes is None
    assert headline(found)["r2"] == 1


@pytest.mark.parametrize(
    "found",
    [classification(1, ["no", "yes"]), classification(1, ["a", "b", "c"]), regression(1)],
    ids=["binary", "multiclass", "regression"],
)
def test_intervals_hold_the_headline_and_depend_on_the_seed_alone(found, monkeypatch):
    ends = intervals(found, 300, seed=3)
    assert intervals(found, 300, seed=3) == ends
    assert intervals(found, 300, seed=4) != ends
    values = headline(found)
    assert list(ends) == list(values)
    for name, value in values.items():
        low, high = ends[name].low, ends[name].high
        assert low is not None
        assert high is not None
        assert low <= value <= high
    monkeypatch.setattr(bootstrap, "BLOCK", 7 * ROWS)  # many small blocks
    assert intervals(found, 300, seed=3) == ends


def test_interval_is_that_of_a_plain_bootstrap():
    found, random = regression(2), np.random.default_rng(7)
    plain = []
    for _ in range(3_000):
        rows = random.integers(ROWS, size=ROWS)
        error = found.actual[rows] - found.predicted[rows]
        plain.append(np.abs(error).mean())
    low, high = np.percentile(plain, [2.5, 97.5])
    ends = intervals(found, 3_000, seed=1)["mae"]
    assert [ends.low, ends.high] == pytest.approx([low, high], abs=0.1 * (high - low))
    wide = intervals(found, 3_000, seed=1, level=0.99)["mae"]
    inner, outer = ([one.low or 0, one.high or 0] for one in (ends, wide))
    assert outer[0] < inner[0] < inner[1] < outer[1]


def test_resamples_of_one_class_are_left_out():
    actual = np.array([0, 0, 1])
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    ends = intervals(Predictions(actual, actual, [0, 1], scores, True, True), 200, seed=1)
    assert (ends["roc_auc"].low, ends["roc_auc"].high) == (1, 1)
    weights = np.random.default_rng(1).integers(3, size=(200, 3))
    lost = int((weights != 2).all(axis=1).sum() + (weights == 2).all(axis=1).sum())
    assert f"not defined in {lost} of 200 resamples" in ends["roc_auc"].note
    alone = Predictions(actual[:2], actual[:2], [0, 1], scores[:2], True, True)
    assert "roc_auc" not in intervals(alone, 100, seed=1)


def test_undefined_shares_are_not_counted_as_0():
    """A model that says yes to one row of many: most resamples have none that it says yes to."""
    actual = np.array([1, 0, 0, 1] * 5)
    said = np.zeros(20, dtype=int)
    said[0] = 1
    groups = np.arange(20) // 2
    found = intervals(Predictions(actual, said, [0, 1], binary=True), 400, 1, groups)
    assert (found["precision"].low, found["precision"].high) == (1, 1)
    assert "of 400 resamples, which are left out" in found["precision"].note
    never = Predictions(actual, np.zeros(20, dtype=int), [0, 1], binary=True)
    assert "precision" not in headline(never)
    assert headline(never)["recall"] == headline(never)["f1"] == 0


def test_name_of_a_class_hides_no_metric_and_makes_no_folder():
    found = headline(classification(0, ["macro", "a/b", "c"]))
    assert found["recall_macro"] == found["balanced_accuracy"]
    assert "recall_a_b" in found


def test_decision_functions_of_pairs_are_no_scores():
    random = np.random.default_rng(0)
    rows, actual = random.normal(size=(80, 2)), np.repeat(["a", "b", "c", "d"], 20)
    rows += np.repeat(np.eye(4, 2) * 9, 20, axis=0)
    model = SVC(decision_function_shape="ovo").fit(rows, actual)
    found = headline(predict(model, rows, actual, "multiclass"))
    assert "accuracy" in found
    assert "roc_auc" not in found


def test_r2_is_left_out_of_resamples_of_one_value():
    actual = np.array([0.1] * 60 + [7.3])
    low = intervals(Predictions(actual, actual + 0.1), 1000, 1)["r2"].low
    assert low is not None
    assert low > -1e3


def cost(actual: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> float:
    """Count a miss five times, and what the model was sure of once more."""
    missed = (actual == 1) & (predicted == 0)
    return float(5 * missed.mean() + probabilities[missed].sum())


OWN = {
    "mcc": Metric("higher", ("binary", "multiclass"), "sklearn.metrics.matthews_corrcoef"),
    "loss": Metric("lower", ("binary",), sk.log_loss, ("actual", "probabilities")),
    "ranks": Metric("higher", ("binary",), sk.average_precision_score, ("actual", "scores")),
    "cost": Metric("lower", ("binary",), cost, ("actual", "predicted", "probabilities")),
    "losses": Metric("lower", ("multiclass",), sk.log_loss, ("actual", "probabilities")),
    "worst": Metric("lower", ("regression",), "sklearn.metrics.max_error"),
}


@pytest.fixture
def own(monkeypatch):
    """Add metrics of one's own."""
    for name, metric in OWN.items():
        monkeypatch.setitem(METRICS, name, metric)


@pytest.mark.usefixtures("own")
def test_own_metrics_are_measured_on_the_rows_of_each_resample():
    found, random = classification(0, ["yes", "no"]), np.random.default_rng(0)
    weights = random.integers(0, 3, (4, ROWS))
    values = measure(found)(weights.astype(float))
    assert "worst" not in values
    assert found.scores is not None
    for at, repeats in enumerate(weights):
        y, said = (np.repeat(one, repeats) for one in (found.actual, found.predicted))
        score = np.repeat(found.scores[:, 1], repeats)
        assert values["mcc"][at] == pytest.approx(sk.matthews_corrcoef(y, said))
        # The built-in ones, computed another way.
        assert values["loss"][at] == pytest.approx(values["log_loss"][at])
        assert values["ranks"][at] == pytest.approx(values["average_precision"][at])
        missed = (y == "no") & (said == "yes")  # "no" is the positive class
        assert values["cost"][at] == pytest.approx(5 * missed.mean() + score[missed].sum())
    assert {"mcc", "loss", "ranks", "cost"} < set(headline(found))
    assert intervals(found, 100, seed=1).keys() == headline(found).keys()
    labels = Predictions(found.actual, found.predicted, found.classes, binary=True)
    assert "mcc" in headline(labels)
    assert not {"loss", "ranks", "cost"} & set(headline(labels))


@pytest.mark.usefixtures("own")
def test_own_metrics_of_classes_and_of_numbers():
    found = classification(1, ["a", "b", "c"])
    values = headline(found)
    assert found.scores is not None
    assert values["losses"] == pytest.approx(values["log_loss"])
    assert values["mcc"] == pytest.approx(sk.matthews_corrcoef(found.actual, found.predicted), 1e-5)
    # Where a class lacks, scikit-learn refuses to compute the log loss: it is not defined there.
    lacking = (found.actual != "c")[None, :].astype(float)
    assert np.isnan(measure(found)(lacking)["losses"]).all()
    numbers = regression(0)
    assert headline(numbers)["worst"] == pytest.approx(
        np.abs(numbers.actual - numbers.predicted).max(), 1e-5
    )


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("sklearn.metrics.nothing", "AttributeError: "),
        ("nowhere.score", "ModuleNotFoundError: No module named 'nowhere'"),
        (sk.roc_auc_score, "ValueError: "),  # of texts that are no scores
        (lambda actual: 1.0, "TypeError: "),
        (lambda actual, predicted: "high", "ValueError: "),
    ],
)
def test_own_metric_that_cannot_be_computed_is_refused_by_name(monkeypatch, function, said):
    monkeypatch.setitem(METRICS, "mine", Metric("higher", ("multiclass",), function))
    with pytest.raises(UserError) as caught:
        headline(classification(0, ["a", "b", "c"]))
    assert str(caught.value).startswith(
        f"src/metrics.py: METRICS['mine'] cannot be computed: {said}"
    )
    assert "\n" not in str(caught.value)
