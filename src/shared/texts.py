"""A column of texts of which there may be millions: it is read in parts and counted by hashes.

What is held are 8 bytes a row, and while it is counted 16 more, however long the texts are. Two of
ten million texts that differ have the same hash with a chance of 1 in 300,000.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa

from src.shared.hashes import MISSING, Hashes, encoded


@dataclass(frozen=True)
class Counts:
    """How often each text of a column stands there, those first that come first.

    Attributes:
        first: the first row of each, shape (texts,).
        train: in how many rows of the train split it stands, shape (texts,).
        test: the same of the test split.
    """

    first: np.ndarray
    train: np.ndarray
    test: np.ndarray

    def __len__(self) -> int:
        """Return how many texts there are."""
        return len(self.first)

    @property
    def rows(self) -> np.ndarray:
        """In how many rows each text stands, shape (texts,)."""
        return self.train + self.test

    def most(self, some: np.ndarray, count: int) -> np.ndarray:
        """Return the first rows of the most frequent of some texts, at most `count` of them.

        Args:
            some: the numbers of these texts, ascending.
            count: how many to return.
        """
        order = np.argsort(-self.rows[some], kind="stable")[:count]
        return np.asarray(self.first[some[order]])


class TextColumn:
    """A text column: of the train split and of the test split after it, or of a whole table.

    Attributes:
        name: of the column.
        hashes: of the text in each row, `hashes.MISSING` where there is none; shape (rows,).
        train_rows: how many of the rows are the train split's.
    """

    def __init__(self, name: str, *splits: Callable[[], Iterable[pd.Series]]) -> None:
        """Read a column once.

        Args:
            name: of the column.
            splits: for the train split and then for the test split, or for a whole table alone,
                what reads the column in parts, as often as it is called.
        """
        self.name, self.splits = name, splits
        parts = [[hash_texts(part) for part in read()] for read in splits]
        self.train_rows = sum(map(len, parts[0]))
        self.hashes = np.concatenate([np.zeros(0, np.uint64), *chain(*parts)])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.hashes)

    @property
    def known(self) -> np.ndarray:
        """Whether a row has a text, shape (rows,)."""
        return np.asarray(self.hashes != MISSING)

    @property
    def train(self) -> Hashes:
        """The hashes of the train split's rows."""
        return self.hashes[: self.train_rows]

    @property
    def test(self) -> Hashes:
        """The hashes of the test split's rows."""
        return self.hashes[self.train_rows :]

    @cached_property
    def counts(self) -> Counts:
        """How often each text stands there."""
        order = np.argsort(self.hashes, kind="stable")
        ordered = self.hashes[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
        del ordered  # of ten million rows each of these takes 80 MB
        first, rows = order[starts], np.diff(starts, append=len(order)).astype(np.int32)
        train = np.zeros(0, np.int32)
        if len(starts):
            train = np.add.reduceat(order < self.train_rows, starts, dtype=np.int32)
        del order, starts
        known = np.argsort(first)
        known = known[self.hashes[first[known]] != MISSING]
        first, rows, train = first[known], rows[known], train[known]
        return Counts(first, train, rows - train)

    def texts(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Read the texts of some rows, part by part.

        Args:
            places: the numbers of these rows, ascending.
        """
        start, done = 0, 0
        for part in chain.from_iterable(read() for read in self.splits):
            if done == len(places):
                return
            end = start + len(part)
            upto = int(np.searchsorted(places, end))
            yield part.iloc[places[done:upto] - start].to_numpy(object)
            start, done = end, upto

    def take(self, places: np.ndarray) -> list[str]:
        """Return the texts of some rows, in the order in which these are given."""
        order = np.argsort(places, kind="stable")
        found = np.empty(len(places), object)
        found[order] = list(chain.from_iterable(self.texts(places[order])))
        return list(found)


def hash_texts(column: pd.Series) -> Hashes:
    """Return a hash of each text, shape (rows,): of the distinct ones, as that is done singly."""
    values = pa.Array.from_pandas(column)
    chunks = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    codes, distinct = encoded(chunks)
    if not len(distinct):
        return np.zeros(0, np.uint64)
    hashes = pd.util.hash_array(distinct.to_numpy(zero_copy_only=False), categorize=False)
    return np.where(distinct.is_null().to_numpy(zero_copy_only=False), MISSING, hashes)[codes]


def all_differ(values: np.ndarray) -> bool:
    """Tell whether no value stands twice; of millions in a tenth of what a hash table takes."""
    if len(np.unique(values[:1000])) < len(values[:1000]):  # which nearly always tells
        return False
    ordered = np.sort(values)
    return bool((ordered[1:] != ordered[:-1]).all())


def repeats(values: np.ndarray) -> np.ndarray:
    """Mark the values that an earlier one equals, shape (rows,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    found = np.zeros(len(values), bool)
    found[order[1:]] = ordered[1:] == ordered[:-1]
    return found
