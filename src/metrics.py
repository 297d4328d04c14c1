"""What is measured: the name of each metric, which way it is better, and for which tasks.

A metric of your own is one more entry in METRICS: train then measures it in cross-validation,
evaluate on the test split with its confidence interval, and gate can bound it. docs/extend.md
shows one. This module imports nothing heavy, as gate reads it too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

CLASSES = ("binary", "multiclass")


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        better: which values are better.
        tasks: the tasks that have it.
        function: what computes it, or where to import that from: "sklearn.metrics.fbeta_score".
            Empty for the metrics that src/shared/measure.py computes for many resamples at once.
        takes: the arguments of the function, in their order: "actual", "predicted", and "scores"
            (probabilities, or else what the decision function gives) or "probabilities". A model
            that has none of these has no such metric either.

    A function gets arrays and returns a number. For a binary task `actual` and `predicted` are 1
    for the positive class and 0 for the other, and the scores are those of the positive class,
    shape (rows,). For a multiclass task both hold the classes themselves, and the scores have the
    shape (rows, classes), the classes sorted. A value that is not finite says that the metric is
    not defined on these rows.
    """

    better: Literal["higher", "lower"]
    tasks: tuple[str, ...]
    function: Callable[..., Any] | str = ""
    takes: tuple[str, ...] = ("actual", "predicted")


METRICS: dict[str, Metric] = {
    "accuracy": Metric("higher", CLASSES),
    "balanced_accuracy": Metric("higher", CLASSES),
    "roc_auc": Metric("higher", CLASSES),
    "average_precision": Metric("higher", CLASSES),
    "f1": Metric("higher", ("binary",)),
    "precision": Metric("higher", ("binary",)),
    "recall": Metric("higher", ("binary",)),
    "f1_macro": Metric("higher", ("multiclass",)),
    "precision_macro": Metric("higher", ("multiclass",)),
    "recall_macro": Metric("higher", ("multiclass",)),
    "log_loss": Metric("lower", CLASSES),
    "brier": Metric("lower", CLASSES),
    "rmse": Metric("lower", ("regression",)),
    "mae": Metric("lower", ("regression",)),
    "r2": Metric("higher", ("regression",)),
    "mape": Metric("lower", ("regression",)),
}


def better(name: str) -> Literal["higher", "lower"] | None:
    """Return which values of a metric are better; None for a metric that nobody computes."""
    if name in METRICS:
        return METRICS[name].better
    return "higher" if name.startswith("recall_") else None  # of one class
