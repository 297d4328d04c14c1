"""Confidence intervals of metrics: Wilson's for shares, the bootstrap's for the rest.

What is drawn anew are rows; where rows belong to groups, whole groups, and where they follow one
another in time, blocks of neighbours: such rows are not independent.

Where there are more than `MANY` rows, and no class has few, the rows (groups, blocks) are put at
random into `SETS` sets, and the sets are drawn. The metric of a resample is then not computed, but
the mean of what each set adds to it, its jackknife pseudo-value; so all rows are looked at 200
times, not once for each resample. It is an estimate, as the bootstrap is: 1,000 resamples of rows
know the width to about 4 %, those of sets to about 7 % (another 1 / sqrt(2 SETS), for the sets).
Source: Shao and Wu, A General Theory for Jackknife Variance Estimation (1989); for blocks Kunsch,
The Jackknife and the Bootstrap for General Stationary Observations (1989).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from src.shared.measure import (
    Array,
    Metrics,
    Predictions,
    heavy_tails,
    measure,
    row_losses,
    shares,
    shares_of_zero,
    six_digits,
)
from src.shared.wording import SETS, counted

# Weights held in memory at once: 16 MB of float64.
BLOCK = 2_000_000

# Up to so many rows the bootstrap is corrected for bias and skew; with more the ends hardly differ.
CORRECTED = 1_000

MANY = 100_000  # from more rows on they are drawn in `SETS` sets

FEW = 20  # with fewer groups or blocks an interval is said to be rough

# Of a class with fewer rows than this one resample in 50 or more has none. What is a mean over the
# classes is there a mean over the others.
RARE = 5
MEANS = (
    "balanced_accuracy",
    "roc_auc",
    "average_precision",
    "f1_macro",
    "precision_macro",
    "recall_macro",
)

# Draws so many resamples: how often each row stands in each of them, shape (resamples, rows).
Draw = Callable[[int, np.random.Generator], Array]


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: its lower end; None where the metric is not defined in any resample.
        high: its upper end.
        method: Wilson, BCa, percentile, or jackknife for percentiles of sets of rows.
        note: what the reader should know of it.
    """

    low: float | None
    high: float | None
    method: str
    note: str = ""


def intervals(
    predictions: Predictions,
    resamples: int,
    seed: int,
    groups: Array | None = None,
    order: Array | None = None,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Compute a confidence interval for each metric that is defined.

    Args:
        predictions: what a model says of the test split.
        resamples: how many times to draw anew, with replacement.
        seed: of the random generator.
        groups: the group of each row, where rows of a group belong together.
        order: what orders the rows, such as their dates, where they follow one another.
        level: how often an interval should hold the true value.
    """
    units, rows = "rows", len(predictions.actual)
    codes, draw = np.arange(rows), draw_rows(rows)
    if groups is not None:
        units, codes = "groups", np.unique(groups, return_inverse=True)[1]
        draw = draw_groups(codes)
    elif order is not None:
        places = np.argsort(order, kind="stable")
        length = block_length([one[places] for one in row_losses(predictions)])
        if length > 1:
            units, draw = "blocks", draw_blocks(places, length)
            codes[places] = np.arange(rows) // length
    measured, count = measure(predictions), int(codes.max()) + 1
    in_sets = rows > MANY and count > 1 and fewest(predictions) > CORRECTED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a resample that lacks a class, say: it is left out
        all_rows = _all_of(measured, [np.ones((1, rows))])
        left = {}
        if in_sets:
            sets = sets_of(count, seed)[codes]
            drawn = draw_sets(all_rows, _all_of(measured, left_out(sets)), resamples, seed)
        else:
            drawn = _all_of(measured, weights_of(draw, resamples, rows, seed))
            if units != "blocks" and count > 1 and count * rows <= CORRECTED**2:
                left = _all_of(measured, left_out(codes))
    exact = shares(predictions) if units == "rows" else {}
    few = units != "rows" and count < FEW
    rough = [f"rough, as there are only {count} {units}"] if few else []
    said = heavy_tails(predictions) | shares_of_zero(predictions) | rare_class(predictions)
    found = {}
    for name, [value] in all_rows.items():
        if not np.isfinite(value):
            continue
        notes = [*rough, *([said[name]] if name in said else [])]
        if name in exact:
            method = "Wilson"
            ends: tuple[float | None, float | None] = wilson(*exact[name], level)
        else:
            values = drawn[name][np.isfinite(drawn[name])]
            method = "jackknife" if in_sets else "percentile"
            if name in left and len(values):
                method = "BCa"
            ends = bootstrap(
                values, value, min(count, SETS) if in_sets else count, left.get(name), level
            )
            if lost := resamples - len(values):
                notes.append(f"not defined in {lost} of {resamples} resamples, which are left out")
            elif values.min() == values.max():
                notes.append("the same in every resample: too few rows to say more")
        low, high = (None if end is None else six_digits(end) for end in ends)
        found[name] = Interval(low, high, method, "; ".join(notes))
    return found


def fewest(predictions: Predictions) -> int:
    """Count the rows of the class that has the fewest; all rows where there are no classes."""
    actual = predictions.actual
    counts = [int((actual == label).sum()) for label in predictions.classes or []]
    return min(filter(None, counts), default=len(actual))


def rare_class(predictions: Predictions) -> dict[str, str]:
    """Say of the means over classes where one class has so few rows that resamples lack it."""
    count = fewest(predictions)
    if predictions.classes is None or count >= RARE:
        return {}
    actual = predictions.actual
    name = next(one for one in predictions.classes if (actual == one).sum() == count)
    said = f"class '{name}' has {counted(count, 'row')}, and counts as much as the others"
    return dict.fromkeys(MEANS, said)


def sets_of(count: int, seed: int) -> Array:
    """Choose a set for each row, group or block, of at most `SETS`, shape (count,)."""
    return np.random.default_rng(seed).permutation(count) % SETS


def draw_sets(all_rows: Metrics, left: Metrics, resamples: int, seed: int) -> Metrics:
    """Return for each metric its values in resamples of the sets, shape (resamples,).

    Args:
        all_rows: the metric on all rows, shape (1,).
        left: the metric with each set left out in turn, shape (sets,).
        resamples: how many.
        seed: of the random generator.
    """
    count = len(next(iter(left.values())))
    weights = draw_rows(count)(resamples, np.random.default_rng(seed)) / count
    return {name: weights @ (count * all_rows[name] - (count - 1) * left[name]) for name in left}


def wilson(hits: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of the interval of a share, such as an accuracy.

    Source: Wilson, Probable Inference (1927); Brown, Cai and DasGupta, Interval Estimation for a
    Binomial Proportion (2001), formula 4.

    Args:
        hits: how many rows have the property.
        count: of how many, at least 1.
        level: how often the interval should hold the true share.
    """
    z, share = NormalDist().inv_cdf((1 + level) / 2), hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(
    values: Array, value: float, count: int, left: Array | None = None, level: float = 0.95
) -> tuple[float | None, float | None]:
    """Return the ends of the bootstrap's interval, corrected for bias and skew (BCa) or not.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3 for the
    percentiles, 14.3 for BCa; Hesterberg, What Teachers Should Know About the Bootstrap (2015),
    section 4.3 for the wider percentiles where there are few rows, groups or blocks.

    Args:
        values: of the metric in the resamples.
        value: of the metric on all rows.
        count: of the rows, groups or blocks.
        left: of the metric with each row or group left out in turn; without these no correction.
        level: how often the interval should hold the true value.
    """
    if not len(values) or count < 2:
        return None, None
    normal = NormalDist()
    end = reach((1 - level) / 2, count)
    z = [-end, end]
    tails = [normal.cdf(one) for one in z]
    # Half of those that are equal: many are where a metric takes few values.
    below = float(np.mean(values < value) + np.mean(values == value) / 2)
    if left is not None and 0 < below < 1:
        bias, off = normal.inv_cdf(below), left[np.isfinite(left)]
        off = off.mean() - off if len(off) else np.zeros(1)
        squares = float((off**2).sum())
        skew = float((off**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
        tails = [normal.cdf(bias + (bias + one) / (1 - skew * (bias + one))) for one in z]
    low, high = np.quantile(values, tails)
    return float(low), float(high)


def reach(tail: float, count: int) -> float:
    """Return how many standard errors from the value an end lies, wider where there are few rows.

    Source: as for the wider percentiles of `bootstrap`.

    Args:
        tail: how often the true value should lie beyond this end.
        count: of the rows, groups or blocks, at least 2.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(np.sqrt(count / (count - 1)) * stdtrit(count - 1, 1 - tail))


def block_length(series: list[Array]) -> int:
    """Return how many rows that follow one another to draw together; 1 where they do not depend.

    Source: Politis and White, Automatic Block-Length Selection for the Dependent Bootstrap (2004),
    for the circular bootstrap, with the autocorrelations of an AR(1) process. Half as long again,
    as errors that are only right or wrong depend on each other for longer than that.

    Args:
        series: what the metrics are made of, in the order of the rows. The longest block counts.
    """
    longest = 1.0
    for values in series:
        centred = values - values.mean()
        spread = float(centred @ centred)
        if spread > 0:
            near = min(float(centred[1:] @ centred[:-1]) / spread, 0.99)
            if near > 2 / np.sqrt(len(values)):  # else it may be chance
                length = (6 * near**2 / (1 - near**2) ** 2 * len(values)) ** (1 / 3)
                longest = max(longest, 1.5 * length)
    return min(int(np.ceil(longest)), len(series[0]))


def _all_of(measured: Callable[[Array], Metrics], weights: Iterable[Array]) -> Metrics:
    blocks = [measured(block) for block in weights]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def left_out(codes: Array) -> Iterator[Array]:
    """Leave out the rows of each code in turn, in blocks that fit into memory."""
    count, size = int(codes.max()) + 1, max(1, BLOCK // len(codes))
    for start in _progress(range(0, count, size), "jackknife"):
        yield (codes != np.arange(start, min(start + size, count))[:, None]).astype(float)


def weights_of(draw: Draw, resamples: int, rows: int, seed: int) -> Iterator[Array]:
    """Draw in blocks of resamples that fit into memory."""
    random, size = np.random.default_rng(seed), max(1, BLOCK // rows)
    starts = range(0, resamples, size)
    for start in _progress(starts, "bootstrap"):
        yield draw(min(size, resamples - start), random)


def _progress(steps: range, what: str) -> Iterable[int]:
    from tqdm import tqdm

    return tqdm(steps, what, unit=" steps", delay=1, disable=None)


def draw_rows(rows: int) -> Draw:
    """Return the function that draws single rows."""
    return lambda count, random: _count(random.integers(rows, size=(count, rows)), rows)


def draw_groups(codes: Array) -> Draw:
    """Return the function that draws whole groups; `codes` numbers the group of each row from 0."""
    groups = int(codes.max()) + 1
    return lambda count, random: draw_rows(groups)(count, random)[:, codes]


def draw_blocks(places: Array, length: int) -> Draw:
    """Draw circular blocks: the first row follows the last one."""
    rows = len(places)

    def draw(count: int, random: np.random.Generator) -> Array:
        starts = random.integers(rows, size=(count, -(-rows // length), 1))
        chosen = ((starts + np.arange(length)) % rows).reshape(count, -1)[:, :rows]
        return _count(places[chosen], rows)

    return draw


def _count(drawn: Array, size: int) -> Array:
    """Count how often each number below `size` stands in each line."""
    lines = len(drawn)
    places = drawn + size * np.arange(lines)[:, None]
    return np.bincount(places.ravel(), minlength=lines * size).reshape(lines, size).astype(float)
