"""A challenger and a rival on the same rows: how much worse it is, and whether that is chance.

The rows are those that both models were tested on. The two are measured on the same resamples of
these rows, so what is hard about a row is hard for both and drops out of the difference. Two equal
models measured on different rows differ by .02 in accuracy one time in five at 113 rows.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from src.metrics import better
from src.shared.intervals import block_length, draw_blocks, draw_groups, draw_rows, weights_of
from src.shared.measure import Array, Predictions, measure, row_losses, six_digits
from src.shared.verdicts import Drop

LEVEL = 95  # per cent of the resamples that must agree before a drop counts as more than chance
GATE_ROWS = 30  # with fewer shared rows the two tables of metrics are compared


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a resample that lacks a class, say: it is left out
        blocks = [differences(block) for block in weights]
    drops = {}
    for name, [estimate] in estimates.items():
        values = np.concatenate([block[name] for block in blocks])
        values = values[np.isfinite(values)]  # a resample of one class has no ROC AUC
        if np.isfinite(estimate) and len(values):
            low, high = np.percentile(values, [100 - LEVEL, LEVEL])
            drops[name] = Drop(six_digits(estimate), six_digits(low), six_digits(high), rows)
    return drops


def draw(
    rival: Predictions,
    challenger: Predictions,
    resamples: int,
    seed: int,
    unit: Array | None = None,
    ordered: bool = False,
) -> Iterator[Array]:
    """Draw the resamples of the shared rows: single rows, whole groups, or blocks of time.

    Rows of one group, or next to one another in time, are alike, so that single rows would make the
    interval too narrow; src/shared/intervals.py names the sources. What counts for the length of a
    block is how long the two models' errors differ in the same way.

    Args:
        rival: what the model to beat says of the shared rows.
        challenger: what the new model says of them.
        resamples: how many times to draw.
        seed: of the random generator.
        unit: the group or the time of each row, shape (rows,); None where rows are independent.
        ordered: whether `unit` is a time.

    Yields:
        How often each row stands in each resample, shape (resamples, rows), in blocks.
    """
    rows = len(challenger.actual)
    drawing = draw_rows(rows)
    if unit is not None and not ordered:
        drawing = draw_groups(np.unique(unit, return_inverse=True)[1])
    elif unit is not None:
        places = np.argsort(unit, kind="stable")
        losses = zip(row_losses(rival), row_losses(challenger), strict=True)
        length = block_length([(new - old)[places] for old, new in losses])
        drawing = draw_blocks(places, length) if length > 1 else drawing
    yield from weights_of(drawing, resamples, rows, seed)


def _worse(name: str, old: Array, new: Array) -> Array:
    """Subtract so that a positive difference is worse; what only rounding makes becomes 0."""
    drop = new - old if better(name) == "lower" else old - new
    return np.where(np.isfinite(old) & (np.abs(drop) <= 1e-12 * np.abs(old)), 0.0, drop)
