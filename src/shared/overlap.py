"""Rows of the test split that the train split has as well, to the letter or nearly."""

import numpy as np
import pandas as pd

from src.shared.hashes import mixed

# Bits of a float32 that are cut off: what is left are five to six digits.
NOISE = np.uint32(0xFFFFFFF0)


def shared_rows(train: pd.DataFrame, test: pd.DataFrame, near: np.ndarray) -> int:
    """Count the rows of the test split that are in the train split too, equal in every column.

    Args:
        train: the train split.
        test: the test split.
        near: which rows of the test split have features that a train row has (`near_rows`); no
            others are looked at.
    """
    if not near.any():
        return 0
    hashes = pd.util.hash_pandas_object(train, index=False)
    return int(pd.util.hash_pandas_object(test[near], index=False).isin(hashes).sum())


def near_rows(train: pd.DataFrame, test: pd.DataFrame, features: list[str]) -> np.ndarray:
    """Mark the rows of the test split whose features a train row has, but for noise and identity.

    Args:
        train: the train split.
        test: the test split.
        features: columns to compare. Whole numbers, texts and dates that differ in every row are
            left out, and of numbers the digits after the fifth or sixth.
    """
    total = np.zeros(len(train) + len(test), np.uint64)
    compared = False
    for name in features:
        column = pd.concat([train[name], test[name]], ignore_index=True)
        whole = not pd.api.types.is_float_dtype(column)
        if whole and column.head(1000).is_unique and column.is_unique:
            continue
        compared = True
        total = mixed(total, _bits(column))
    if not compared:
        return np.zeros(len(test), dtype=bool)
    return np.isin(total[len(train) :], total[: len(train)])


def _bits(column: pd.Series) -> np.ndarray:
    if not pd.api.types.is_float_dtype(column):
        return pd.factorize(column)[0].astype(np.uint64)
    with np.errstate(over="ignore"):
        numbers = (column.to_numpy() + 0.0).astype(np.float32)  # -0.0 as 0.0
    numbers[np.isnan(numbers)] = np.nan
    return (numbers.view(np.uint32) & NOISE).astype(np.uint64)
