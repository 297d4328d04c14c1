"""How far two samples of one column lie apart, and how far chance alone moves them."""

import numpy as np
import pandas as pd

# Chance of a false alarm over all columns of a data set without drift.
FALSE_ALARM = 0.001


def drift(train: pd.Series, test: pd.Series) -> float:
    """Measure how far two samples of a column of numbers or dates lie apart.

    Args:
        train: the column in the train split.
        test: the same column in the test split.

    Returns:
        From 0 to 1: the largest gap between the cumulative distributions (the two-sample
        Kolmogorov-Smirnov statistic); at least the gap between the shares of missing values.
    """
    gap = abs(float(train.isna().mean()) - float(test.isna().mean()))
    train, test = train.dropna(), test.dropna()
    if train.empty or test.empty:
        return gap
    ordered, values = np.sort(train.to_numpy()), np.sort(test.to_numpy())
    # From one value of the test split to the next only the other distribution rises: the gap is
    # largest at a value of the test split, or just before one.
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    ends = np.append(starts[1:], len(values))
    gaps = [
        np.abs(ordered.searchsorted(values[starts], "left") / len(ordered) - starts / len(values)),
        np.abs(ordered.searchsorted(values[starts], "right") / len(ordered) - ends / len(values)),
    ]
    return max(gap, *(float(one.max()) for one in gaps))


def text_drift(train: np.ndarray, test: np.ndarray, rows: tuple[int, int]) -> float:
    """Measure how far two samples of a text column lie apart.

    Args:
        train: how often each text stands in the train split, shape (texts,).
        test: the same in the test split, of the same texts.
        rows: how many rows each split has.

    Returns:
        From 0 to 1: half the sum of the gaps between the shares of each value (the total variation
        distance: the share of rows whose value would have to be another); at least the gap between
        the shares of missing values.
    """
    known = train.sum(), test.sum()
    gap = abs(float(known[0] / max(rows[0], 1)) - float(known[1] / max(rows[1], 1)))
    if not all(known):
        return gap
    apart = np.abs(train / known[0] - test / known[1]).sum() / 2
    return max(gap, min(float(apart), 1.0))  # a sum of many may come out above 1


def unseen(train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of the known values of a test column that the train column does not have.

    Args:
        train: how often each text stands in the train split, shape (texts,).
        test: the same in the test split, of the same texts.
    """
    return 1 - float(test[train > 0].sum() / test.sum()) if test.sum() else 0.0


def chance_drift(train_rows: float, test_rows: float, columns: int) -> float:
    """Return the drift that chance alone exceeds in one of 1,000 data sets of this size.

    Source: Smirnov's asymptotic bound for the two-sample statistic, sqrt(-ln(a / 2) / 2) times
    sqrt((n + m) / (n m)), with a = 0.001 shared out among the columns (Bonferroni).
    """
    level = FALSE_ALARM / max(columns, 1)
    size = (train_rows + test_rows) / (train_rows * test_rows)
    return float(np.sqrt(-np.log(level / 2) / 2 * size))


def chance_category_drift(
    train: np.ndarray, test: np.ndarray, rows: tuple[float, float], columns: int
) -> float:
    """Return the drift of categories that chance alone exceeds in fewer than 1 of 1,000 data sets.

    Args:
        train: how often each text stands in the train split, shape (texts,).
        test: the same in the test split, of the same texts.
        rows: how many independent rows each has.
        columns: of the data set, among which the chance of a false alarm is shared out.

    Source: the mean of the total variation is at most half the sum of the standard deviations of
    the gaps, sqrt(p (1 - p) (1/n + 1/m)) for a value of the share p (Jensen's inequality), and it
    exceeds its mean by t with a probability of at most exp(-2 t^2 / (1/n + 1/m)) (McDiarmid's).
    """
    counts = train + test
    share = counts / max(counts.sum(), 1)
    size = 1 / rows[0] + 1 / rows[1]
    mean = np.sqrt(share * (1 - share) * size).sum() / 2
    return float(min(mean + np.sqrt(-np.log(FALSE_ALARM / max(columns, 1)) / 2 * size), 1.0))


def chance_unseen(train: np.ndarray, rows: tuple[float, float], columns: int) -> float:
    """Return the share of unseen values that chance alone exceeds in 1 of 1,000 data sets.

    Args:
        train: how often each text stands in the train split, shape (texts,).
        rows: how many independent rows each split has.
        columns: as for `chance_category_drift`.

    Source: the share that further rows have of values not seen so far is about the share of values
    seen once (Good and Turing), and a share of m rows exceeds its own by t with a probability of
    at most exp(-2 t^2 m) (Hoeffding); for the estimate from n rows the same is added.
    """
    once = float((train == 1).sum()) / max(int(train.sum()), 1)
    size = 1 / rows[0] + 1 / rows[1]
    return float(min(once + np.sqrt(-np.log(FALSE_ALARM / max(columns, 1)) / 2 * size), 1.0))
