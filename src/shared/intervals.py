"""Bootstrap confidence intervals of metrics."""

import warnings
from collections.abc import Iterator

import numpy as np

from src.shared.measure import Array, Predictions, measure, six_digits

# Weights held in memory at once: 32 MB of float64.
BLOCK = 4_000_000


def intervals(
    predictions: Predictions, resamples: int, seed: int, level: float = 0.95
) -> dict[str, dict[str, float | None]]:
    """Compute a percentile bootstrap confidence interval for each metric.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3. A resample
    in which a metric is not defined (one class only) is left out; where all are, the ends are None.

    Args:
        predictions: what a model says of the test split.
        resamples: how many times to draw the rows anew, with replacement.
        seed: of the random generator.
        level: share of the resamples inside the interval.

    Returns:
        For each metric its `low` and `high` end.
    """
    random, rows = np.random.default_rng(seed), len(predictions.actual)
    measured = measure(predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a resample that lacks a class, say: it is left out
        blocks = [measured(weights) for weights in _weights(rows, resamples, random)]
    tails = 50 * (1 - level), 50 * (1 + level)
    found: dict[str, dict[str, float | None]] = {}
    for name in blocks[0]:
        values = np.concatenate([block[name] for block in blocks])
        values = values[np.isfinite(values)]
        ends = np.percentile(values, tails) if len(values) else (None, None)
        low, high = (None if end is None else six_digits(end) for end in ends)
        found[name] = {"low": low, "high": high}
    return found


def _weights(rows: int, resamples: int, random: np.random.Generator) -> Iterator[Array]:
    """Draw how often each row stands in each resample, in blocks of shape (resamples, rows)."""
    from tqdm import tqdm

    size = max(1, BLOCK // rows)
    starts = range(0, resamples, size)
    for start in tqdm(starts, desc="bootstrap", disable=None if len(starts) > 10 else True):
        count = min(size, resamples - start)
        draws = random.integers(rows, size=(count, rows))
        draws += rows * np.arange(count)[:, None]
        yield np.bincount(draws.ravel(), minlength=count * rows).reshape(count, rows).astype(float)
