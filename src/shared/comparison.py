"""A challenger and a rival on the same rows: how much worse it is, and whether that is chance.

The rows are those that both models were tested on. The two are measured on the same resamples of
these rows, so what is hard about a row is hard for both and drops out of the difference. Two equal
models measured on different rows differ by .02 in accuracy one time in five at 113 rows.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from src.metrics import better
from src.shared.measure import Array, Predictions, measure, six_digits
from src.shared.verdicts import Drop

LEVEL = 95  # per cent of the resamples that must agree before a drop counts as more than chance


def compare(
    rival: Predictions, challenger: Predictions, metrics: Sequence[str], weights: Iterable[Array]
) -> dict[str, Drop]:
    """Return for each metric how much worse the challenger is than the rival.

    The interval is the percentile bootstrap's of the paired difference. Source: Efron and
    Tibshirani, An Introduction to the Bootstrap (1993), sections 13.3 and 8.3.

    Args:
        rival: what the model to beat says of the shared rows.
        challenger: what the new model says of the same rows, in the same order.
        metrics: the names of the metrics to compare.
        weights: how often each row stands in each resample, in blocks of shape (resamples, rows),
            as src/shared/intervals.py draws them: single rows, whole groups or circular blocks.

    Returns:
        The drops by metric, without those that one of the models does not have or that are not
        defined on these rows.
    """
    rows = len(challenger.actual)
    measures = measure(rival), measure(challenger)

    def differences(weights: Array) -> dict[str, Array]:
        old, new = (measured(weights) for measured in measures)
        return {
            name: _worse(name, old[name], new[name])
            for name in metrics
            if name in old and name in new
        }

    estimates = differences(np.ones((1, rows)))
    blocks = [differences(block) for block in weights]
    drops = {}
    for name, [estimate] in estimates.items():
        values = np.concatenate([block[name] for block in blocks])
        values = values[np.isfinite(values)]  # a resample of one class has no ROC AUC
        if np.isfinite(estimate) and len(values):
            low, high = np.percentile(values, [100 - LEVEL, LEVEL])
            drops[name] = Drop(six_digits(estimate), six_digits(low), six_digits(high), rows)
    return drops


def _worse(name: str, old: Array, new: Array) -> Array:
    """Subtract so that a positive difference is worse; what only rounding makes becomes 0."""
    drop = new - old if better(name) == "lower" else old - new
    return np.where(np.isfinite(old) & (np.abs(drop) <= 1e-12 * np.abs(old)), 0.0, drop)
