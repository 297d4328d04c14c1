"""Rows of the test split that the train split has as well, to the letter or nearly."""

import numpy as np
import pandas as pd

from src.shared.hashes import BATCH, Hashes, Mask, mixed
from src.shared.tables import Split
from src.shared.texts import TextColumn, all_differ

# Bits of a float32 that are cut off: what is left are five to six digits.
NOISE = np.uint32(0xFFFFFFF0)

# What stands for a missing whole number or truth value, as no table has it.
ABSENT = -0x61C8864680B583EB


class FeatureHashes:
    """A hash of the features of each row, but for noise and identity, made column by column.

    Whole numbers, texts and dates that differ in every row are left out, and of numbers the digits
    after the fifth or sixth. It takes 8 bytes a row.
    """

    def __init__(self, train_rows: int, test_rows: int) -> None:
        """Begin without a feature."""
        self.hashes, self.train_rows = np.zeros(train_rows + test_rows, np.uint64), train_rows
        self.compared = False

    def add(self, column: pd.Series | TextColumn) -> None:
        """Add a feature: the train split's rows, then those of the test split."""
        if isinstance(column, TextColumn):
            values, exact = column.hashes, True
        elif exact := not pd.api.types.is_float_dtype(column):
            values = _exact(column)
        else:
            values = column.to_numpy()
        if exact and all_differ(values):
            return
        self.compared = True
        for start in range(0, len(values), BATCH):
            part = slice(start, start + BATCH)
            bits = values[part] if exact else _bits(values[part])
            self.hashes[part] = mixed(self.hashes[part], bits)

    @property
    def train(self) -> Hashes:
        """The hashes of the train split's rows."""
        return self.hashes[: self.train_rows]

    @property
    def test(self) -> Hashes:
        """The hashes of the test split's rows."""
        return self.hashes[self.train_rows :]

    def near(self) -> Mask:
        """Mark the rows of the test split whose features a train row has, shape (test rows,)."""
        return is_in(self.test, self.train) & self.compared


def is_in(hashes: Hashes, others: Hashes) -> Mask:
    """Mark the hashes that are among the others: `np.isin`, a tenth of its time for millions."""
    ordered = np.sort(others)
    places = np.searchsorted(ordered, hashes).clip(max=len(ordered) - 1)
    return np.asarray(ordered[places] == hashes)


def shared_rows(train: Split, test: Split, hashes: FeatureHashes, near: Mask) -> int:
    """Count the rows of the test split that are in the train split too, equal in every column.

    Args:
        train: the train split.
        test: the test split.
        hashes: of their features.
        near: `hashes.near()`; no other rows are looked at.
    """
    if not near.any():
        return 0
    candidates = is_in(hashes.train, hashes.test[near])
    return int(is_in(_hashes_of(test, near), _hashes_of(train, candidates)).sum())


def _hashes_of(split: Split, wanted: Mask) -> Hashes:
    """Return a hash of all that a row holds, for the rows that are wanted."""
    found, start = list[Hashes](), 0
    for batch in split.batches():
        rows = batch[wanted[start : start + len(batch)]]
        found.append(np.asarray(pd.util.hash_pandas_object(rows, index=False), np.uint64))
        start += len(batch)
    return np.concatenate(found)


def _exact(column: pd.Series) -> Hashes:
    """Return what is compared of a whole number, a truth value or a date: all of it."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.to_numpy().view(np.uint64)
    return column.to_numpy("int64", na_value=ABSENT).view(np.uint64)


def _bits(numbers: np.ndarray) -> Hashes:
    """Return what is compared of numbers: -0.0 as 0.0, what is missing as one number."""
    with np.errstate(over="ignore"):
        short = (numbers + 0.0).astype(np.float32)
    short[np.isnan(short)] = np.nan
    return (short.view(np.uint32) & NOISE).astype(np.uint64)
