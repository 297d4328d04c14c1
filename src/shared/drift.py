"""How far two samples of one column lie apart, and how far chance alone moves them."""

import numpy as np
import pandas as pd

# Chance of a false alarm over all columns of a data set without drift.
FALSE_ALARM = 0.001


def drift(train: pd.Series, test: pd.Series) -> float:
    """Measure how far two samples of one column lie apart.

    Args:
        train: the column in the train split.
        test: the same column in the test split.

    Returns:
        From 0 to 1: for numbers and dates the largest gap between the cumulative distributions
        (the two-sample Kolmogorov-Smirnov statistic), for text the largest gap between the shares
        of a value; in either case at least the gap between the shares of missing values.
    """
    gap = abs(float(train.isna().mean()) - float(test.isna().mean()))
    train, test = train.dropna(), test.dropna()
    if train.empty or test.empty:
        return gap
    if pd.api.types.is_string_dtype(train):
        first, second = (column.value_counts(normalize=True) for column in (train, test))
        return max(gap, float(first.sub(second, fill_value=0).abs().max()))
    ordered = [np.sort(column.to_numpy()) for column in (train, test)]
    values = np.concatenate(ordered)
    below = [np.searchsorted(column, values, side="right") / len(column) for column in ordered]
    return max(gap, float(np.abs(below[0] - below[1]).max()))


def chance_drift(train_rows: int, test_rows: int, columns: int) -> float:
    """Return the drift that chance alone exceeds in one of 1,000 data sets of this size.

    Source: Smirnov's asymptotic bound for the two-sample statistic, sqrt(-ln(a / 2) / 2) times
    sqrt((n + m) / (n m)), with a = 0.001 shared out among the columns (Bonferroni).
    """
    level = FALSE_ALARM / max(columns, 1)
    size = (train_rows + test_rows) / (train_rows * test_rows)
    return float(np.sqrt(-np.log(level / 2) / 2 * size))
