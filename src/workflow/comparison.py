"""A challenger and a rival on the same rows: how much worse it is, and whether that is chance.

The rows are those that both models were tested on. The two are measured on the same resamples of
these rows, so what is hard about a row is hard for both and drops out of the difference. Two equal
models measured on different rows differ by .02 in accuracy one time in five at 113 rows.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from src.metrics import better
from src.shared.intervals import (
    block_length,
    draw_blocks,
    draw_groups,
    draw_rows,
    reach,
    weights_of,
)
from src.shared.measure import Array, Predictions, measure, row_losses, six_digits
from src.shared.params import Evaluate
from src.shared.verdicts import Drop

CHANCE = 5  # per cent of equal models that may be taken for worse ones
CHANCE_OF_SLICES = 2  # of these, by all slices together where there are any
TAIL = 10  # resamples that must lie beyond the end of a slice's interval, at the least


def compare(
    rival: Predictions,
    challenger: Predictions,
    metrics: Sequence[str],
    weights: Iterable[Array],
    chance: float = CHANCE,
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
        chance: per cent of equal models for which the interval may lie above 0.

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
            low, high = np.percentile(values, [chance, 100 - chance])
            level = 100 - 2 * chance
            drops[name] = Drop(six_digits(estimate), six_digits(low), six_digits(high), rows, level)
    return drops


def compare_slices(
    rival: Predictions,
    challenger: Predictions,
    metrics: Sequence[str],
    slices: Mapping[str, Array],
    settings: Evaluate,
    unit: Array | None = None,
    ordered: bool = False,
) -> dict[str, dict[str, Drop]]:
    """Return for each metric and each slice how much worse the challenger is than the rival.

    The more slices, the more often one of them looks worse by chance. So each interval is as much
    wider that over all slices together `CHANCE_OF_SLICES` of equal models are taken for worse ones.
    Source: Bonferroni's inequality, as in Dunn, Multiple Comparisons Among Means (1961); for few
    rows Hesterberg's wider percentiles, as in src/shared/intervals.py.

    Args:
        rival: what the model to beat says of the shared rows.
        challenger: what the new model says of them.
        metrics: the names of the metrics to compare.
        slices: the numbers of the rows of each, by the slice's name.
        settings: resamples (more are drawn where the ends of the intervals need them), and seed.
        unit: as for `draw`.
        ordered: as for `draw`.
    """
    chance = CHANCE_OF_SLICES / max(len(slices), 1)
    found: dict[str, dict[str, Drop]] = {metric: {} for metric in metrics}
    for name, rows in slices.items():
        one, other = rival.take(rows), challenger.take(rows)
        near = None if unit is None else unit[rows]
        count = len(rows) if near is None or ordered else len(np.unique(near))
        if count < 2:
            continue
        tail = NormalDist().cdf(-reach(chance / 100, count))
        resamples = max(settings.resamples, math.ceil(TAIL / tail))
        weights = draw(one, other, resamples, settings.seed, near, ordered)
        for metric, drop in compare(one, other, metrics, weights, 100 * tail).items():
            found[metric][name] = replace(drop, level=100 - 2 * chance)
    return found


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
