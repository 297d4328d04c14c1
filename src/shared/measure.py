"""What a model says of rows, and the metrics of it.

The metrics that have no function in src/metrics.py are computed here from weighted rows, so that
one pass over a matrix of weights gives them for all bootstrap resamples. Calling scikit-learn's
functions once a resample took 24 s for 1,000 resamples of 114 rows; this takes 0.1 s. The tests
hold each of these metrics equal to scikit-learn's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any

import numpy as np

from src.metrics import METRICS, Metric, better
from src.shared.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
Metrics = dict[str, Array]
Measure = Callable[[Array], Metrics]


@dataclass(frozen=True)
class Predictions:
    """What a model says of labelled rows.

    Attributes:
        actual: the target's values, shape (rows,).
        predicted: what the model says, shape (rows,).
        classes: the model's classes in its order; the positive one last if binary. None for
            regression.
        scores: probability, or where the model has none its decision function, of each class,
            shape (rows, classes). None for regression and for models that give labels only.
        probabilities: whether `scores` are probabilities.
        binary: whether the metrics are those of the positive class.
    """

    actual: Array
    predicted: Array
    classes: list[Any] | None = None
    scores: Array | None = None
    probabilities: bool = False
    binary: bool = False

    @property
    def task(self) -> str:
        """The task that these are predictions of."""
        return "regression" if self.classes is None else "binary" if self.binary else "multiclass"

    def take(self, rows: Array) -> "Predictions":
        """Return what the model says of some of the rows, whose numbers or mask this is."""
        scores = None if self.scores is None else self.scores[rows]
        return replace(
            self, actual=self.actual[rows], predicted=self.predicted[rows], scores=scores
        )


def predict(model: Any, rows: Any, actual: Array, task: str, positive: Any = None) -> Predictions:
    """Let a fitted model predict rows.

    Args:
        model: a fitted scikit-learn estimator.
        rows: the features, shape (rows, features).
        actual: the target's values, shape (rows,).
        task: binary, multiclass or regression.
        positive: for a binary task the class that counts as positive.

    Returns:
        The predictions, with the positive class last.
    """
    predicted = model.predict(rows)
    if task == "regression":
        return Predictions(actual.astype(float), np.asarray(predicted, dtype=float))
    classes = list(model.classes_)
    scores, probabilities = None, hasattr(model, "predict_proba")
    if probabilities:
        scores = model.predict_proba(rows)
    elif hasattr(model, "decision_function") and not _compares_pairs(model):
        scores = model.decision_function(rows)
        if scores.ndim == 1:
            scores = np.column_stack([-scores, scores])
    if task == "binary" and classes[0] == positive:
        classes = classes[::-1]
        scores = scores if scores is None else scores[:, ::-1]
    return Predictions(actual, predicted, classes, scores, probabilities, task == "binary")


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return what a model says of several batches of rows as that of all of them."""
    scores = [part.scores for part in parts if part.scores is not None]
    return replace(
        parts[0],
        actual=np.concatenate([part.actual for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        scores=np.concatenate(scores) if scores else None,
    )


def _compares_pairs(model: Any) -> bool:
    """Tell whether the decision function is of pairs of classes (`SVC` with `ovo`)."""
    return any(
        name.endswith("decision_function_shape") and shape == "ovo"
        for name, shape in model.get_params().items()
    )


def headline(predictions: Predictions) -> dict[str, float]:
    """Compute every metric of the task that is defined, to six significant digits.

    One that is not, such as the ROC AUC of rows of one class, is left out. Six digits make the
    figures equal on machines that differ in the last bits of a float.
    """
    values = measure(predictions)(np.ones((1, len(predictions.actual))))
    return {name: six_digits(one) for name, [one] in values.items() if np.isfinite(one)}


def baseline(
    predictions: Predictions, target: Array, positive: Any = None, counts: Array | None = None
) -> dict[str, float]:
    """Return each metric of a model that does not look at the features.

    The best of scikit-learn's `DummyClassifier` (most_frequent, prior) or `DummyRegressor` (mean,
    median), each metric for itself.

    Args:
        predictions: what the real model says; its rows are scored.
        target: the target's values in the train split, which the baseline learns.
        positive: for a binary task the class that counts as positive.
        counts: how often each value of `target` stands there, where it is given once.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if predictions.classes is None:
        dummies = [DummyRegressor(strategy=name) for name in ("mean", "median")]
    else:
        dummies = [DummyClassifier(strategy=name) for name in ("most_frequent", "prior")]
    actual, found = predictions.actual, dict[str, float]()
    for dummy in dummies:
        dummy.fit(np.zeros((len(target), 1)), target, sample_weight=counts)
        said = predict(dummy, np.zeros((len(actual), 1)), actual, predictions.task, positive)
        for name, value in headline(said).items():
            best = min if better(name) == "lower" else max
            found[name] = best(value, found.get(name, value))
    return found


def heavy_tails(predictions: Predictions) -> dict[str, str]:
    """Say of rmse and r2 where a few rows, at most one in twenty, make up most of them."""
    if predictions.classes is not None:
        return {}
    actual, rows = predictions.actual, len(predictions.actual)
    found: dict[str, str] = {}
    for names, what, values in (
        (("rmse", "r2"), "squared error", (actual - predictions.predicted) ** 2),
        (("r2",), "target's variance", (actual - actual.mean()) ** 2),
    ):
        sums = np.cumsum(np.sort(values)[::-1])
        few = int(np.searchsorted(sums, sums[-1] / 2)) + 1
        if sums[-1] > 0 and few <= rows / 20:
            share = sums[few - 1] / sums[-1]
            said = f"{few} of {rows} rows make up {share:.0%} of the {what}"
            found |= {name: f"{found[name]}; {said}" if name in found else said for name in names}
    return found


def shares_of_zero(predictions: Predictions) -> dict[str, str]:
    """Say of mape where the target is 0 in some rows."""
    zeros = 0 if predictions.classes is not None else np.count_nonzero(predictions.actual == 0)
    if not zeros:
        return {}
    return {
        "mape": f"the target is 0 in {zeros} of {len(predictions.actual)} rows, and no error is a "
        "share of 0: this number means nothing, look at another metric"
    }


def six_digits(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}")


def measure(predictions: Predictions) -> Measure:
    """Return the function that computes every metric for many weightings of the rows.

    It takes how often each row stands in each resample, floats of shape (resamples, rows), and
    returns for each metric its values, shape (resamples,); NaN where it is not defined.
    """
    task = predictions.task
    measures = [(_regression if task == "regression" else _classification)(predictions)]
    for name, metric in METRICS.items():
        if metric.function and task in metric.tasks:
            measures.append(_own(name, metric, predictions))

    def measured(weights: Array) -> Metrics:
        return {name: values for one in measures for name, values in one(weights).items()}

    return measured


def _own(name: str, metric: Metric, predictions: Predictions) -> Measure:
    """Return the function from weights to a metric that has a function of its own."""
    columns = _arguments(predictions)
    if not set(metric.takes) <= columns.keys():
        return lambda _: {}
    arguments = [columns[argument] for argument in metric.takes]
    actual, classes = predictions.actual, predictions.classes or []
    function = metric.function

    def value(rows: Array) -> float:
        try:
            compute = resolve_name(function) if isinstance(function, str) else function
            return float(compute(*(argument[rows] for argument in arguments)))
        except Exception as error:  # whatever a function of one's own raises
            if isinstance(error, ValueError) and len(np.unique(actual[rows])) < len(classes):
                return np.nan  # so some of scikit-learn's say that they need rows of each class
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserError(
                f"src/metrics.py: METRICS['{name}'] cannot be computed: {told}"
            ) from error

    def measured(weights: Array) -> Metrics:
        rows, times = np.arange(len(actual)), weights.astype(int)
        return {name: np.array([value(np.repeat(rows, repeats)) for repeats in times])}

    return measured


def _arguments(predictions: Predictions) -> dict[str, Array]:
    """Return what a metric's function can take, by name; see `Metric`."""
    actual, predicted, scores = predictions.actual, predictions.predicted, predictions.scores
    if predictions.binary and predictions.classes:
        positive = predictions.classes[1]
        actual, predicted = (actual == positive).astype(int), (predicted == positive).astype(int)
        scores = None if scores is None else scores[:, 1]
    columns = {"actual": actual, "predicted": predicted}
    if scores is not None:
        columns["scores"] = scores
        if predictions.probabilities:
            columns["probabilities"] = scores
    return columns


def shares(predictions: Predictions) -> dict[str, tuple[int, int]]:
    """Return the metrics that are shares of rows: of how many, and how many these are of them.

    Returns:
        For each the count of hits, and of the rows that count.
    """
    if predictions.classes is None:
        return {}
    right = predictions.actual == predictions.predicted
    found = {"accuracy": right}
    if predictions.binary:
        positive = predictions.classes[1]
        found["precision"] = right[predictions.predicted == positive]
        found["recall"] = right[predictions.actual == positive]
    else:
        for label in predictions.classes:
            if (name := _recall_of(label)) not in METRICS:
                found[name] = right[predictions.actual == label]
    return {name: (int(rows.sum()), len(rows)) for name, rows in found.items() if len(rows)}


def row_losses(predictions: Predictions) -> list[Array]:
    """Return the numbers of each row that metrics are made of, to see whether rows depend."""
    if predictions.classes is None:
        error = predictions.actual - predictions.predicted
        return [np.abs(error), error**2, predictions.actual]
    return [(predictions.actual != predictions.predicted).astype(float)]


def _recall_of(label: Any) -> str:
    """Name the recall of a class. A slash would make a folder of it."""
    return f"recall_{label}".replace("/", "_")


def _regression(predictions: Predictions) -> Measure:
    actual, error = predictions.actual, predictions.actual - predictions.predicted
    centred = actual - actual.mean()
    relative = np.abs(error) / np.maximum(np.abs(actual), np.finfo(float).eps)

    def measured(weights: Array) -> Metrics:
        total = weights.sum(axis=1)
        squares = weights @ error**2
        spread = weights @ centred**2
        variation = spread - (weights @ centred) ** 2 / total
        variation[variation <= 1e-12 * spread] = 0  # rounding: all rows are the same
        return {
            "rmse": np.sqrt(squares / total),
            "mae": weights @ np.abs(error) / total,
            "r2": 1 - _ratio(squares, variation, np.nan),
            "mape": weights @ relative / total,
        }

    return measured


def _classification(predictions: Predictions) -> Measure:
    classes, binary = predictions.classes or [], predictions.binary
    actual = np.column_stack([predictions.actual == label for label in classes]).astype(float)
    predicted = np.column_stack([predictions.predicted == label for label in classes]).astype(float)
    scores, curves, losses = predictions.scores, [], {}
    if scores is not None:
        curves = _curves(actual, scores, binary)
        losses = _losses(actual, scores, binary) if predictions.probabilities else {}

    def measured(weights: Array) -> Metrics:
        total = weights.sum(axis=1)
        hits = weights @ (actual * predicted)
        real, said = weights @ actual, weights @ predicted
        recalls = _ratio(hits, real, np.nan)
        precision, recall = _ratio(hits, said, np.nan), recalls
        f1 = _ratio(2 * hits, real + said, np.nan)
        ranked = [curve(weights) for curve in curves]
        areas = {
            name: _mean(np.column_stack([one[name] for one in ranked]))
            for name in (ranked[0] if ranked else ())
        }
        means = {name: weights @ loss / total for name, loss in losses.items()}
        metrics = {"accuracy": hits.sum(axis=1) / total, "balanced_accuracy": _mean(recalls)}
        if binary:
            one = {"f1": f1, "precision": precision, "recall": recall}
            return metrics | areas | {name: values[:, 1] for name, values in one.items()} | means
        # In a mean over the classes, one that occurs and is never predicted counts as 0.
        precision = np.where((real > 0) & (said == 0), 0.0, precision)
        recall = np.where((said > 0) & (real == 0), 0.0, recall)
        macro = {"f1_macro": f1, "precision_macro": precision, "recall_macro": recall}
        each = {_recall_of(label): recalls[:, at] for at, label in enumerate(classes)}
        metrics |= areas | {k: _mean(v) for k, v in macro.items()} | means
        # A class called `macro` must not hide a metric.
        return metrics | {name: value for name, value in each.items() if name not in metrics}

    return measured


def _losses(actual: Array, scores: Array, binary: bool) -> dict[str, Array]:
    """Compute each row's share of the log loss and of the Brier score.

    Source: Brier (1950); for two classes half of its sum, which is the usual form.
    """
    eps = np.finfo(scores.dtype).eps
    real = (np.clip(scores, eps, 1 - eps) * actual).sum(axis=1)
    square = ((scores - actual) ** 2).sum(axis=1)
    with np.errstate(divide="ignore"):
        return {"log_loss": -np.log(real), "brier": square / 2 if binary else square}


def _curves(actual: Array, scores: Array, binary: bool) -> list[Measure]:
    """Return for each class, or for the positive one alone, the function from weights to areas."""
    columns = [1] if binary else range(actual.shape[1])
    return [_areas(actual[:, at], scores[:, at]) for at in columns]


def _areas(actual: Array, score: Array) -> Measure:
    """Return the function from weights to the areas under one class's curves.

    ROC AUC by the trapezoid rule, average precision as the sum of precision times the step in
    recall, both over the distinct scores, as scikit-learn defines them.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    positive = actual[order]

    def areas(weights: Array) -> Metrics:
        ranked = weights[:, order]
        hits = np.cumsum(ranked * positive, axis=1)[:, ends]
        said = np.cumsum(ranked, axis=1)[:, ends]
        misses = said - hits
        start = np.zeros((len(weights), 1))
        hit_steps = np.diff(hits, axis=1, prepend=start)
        miss_steps = np.diff(misses, axis=1, prepend=start)
        roc = (miss_steps * (hits - hit_steps / 2)).sum(axis=1)
        precision = (hit_steps * _ratio(hits, said, 0.0)).sum(axis=1)
        return {
            "roc_auc": _ratio(roc, hits[:, -1] * misses[:, -1], np.nan),
            "average_precision": _ratio(precision, hits[:, -1], np.nan),
        }

    return areas


def _ratio(above: Array, below: Array, otherwise: float) -> Array:
    """Divide, with a value for where the divisor is 0."""
    return np.divide(above, below, out=np.full_like(above, otherwise), where=below > 0)


def _mean(values: Array) -> Array:
    """Average each row over the classes for which the metric is defined."""
    defined = np.isfinite(values)
    return _ratio(
        np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(float), np.nan
    )
