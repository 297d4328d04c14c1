"""Rows that are equal: found by their hashes, as comparing whole rows would copy the table."""

import numpy as np
import pyarrow as pa

from src.shared.hashes import Hashes, Mask, codes_of, known, values_of


def earlier_equals(table: pa.Table, hashes: Hashes) -> np.ndarray:
    """Return for each row how many earlier rows equal it in every column, shape (rows,).

    Args:
        table: with the types that `raw.read_raw` gives. Missing values are equal to each other.
        hashes: those of its rows, by `hash_rows`.
    """
    first = _first_equals(table, hashes)
    again = np.flatnonzero(first != np.arange(len(first)))
    again = again[first[again].argsort(kind="stable")]
    _, start, count = np.unique(first[again], return_index=True, return_counts=True)
    earlier = np.zeros(len(first), dtype=np.int64)
    earlier[again] = np.arange(len(again)) - np.repeat(start, count) + 1
    return earlier


def repeated(hashes: Hashes) -> Mask:
    """Mark the rows whose hash is that of another row."""
    ordered = np.sort(hashes)
    return np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]])


def _first_equals(table: pa.Table, hashes: Hashes) -> np.ndarray:
    """Return for each row the number of the first row that equals it."""
    first = np.arange(len(table))
    left = np.flatnonzero(repeated(hashes))
    parts = [part for column in table.columns for part in _comparable(column)] if left.size else []
    while left.size:  # once, or where rows that differ have the same hash more often
        _, start, group = np.unique(hashes[left], return_index=True, return_inverse=True)
        head = left[start][group]
        equal = np.all([part[left] == part[head] for part in parts], axis=0)
        first[left[equal]] = head[equal]
        left = left[~equal]
    return first


def _comparable(column: pa.ChunkedArray) -> list[np.ndarray]:
    """Return arrays that are equal in two rows where the column is."""
    if pa.types.is_string(column.type):
        return [codes_of(column)]
    whole = column.combine_chunks()
    values = values_of(whole)
    return [np.where(known(whole), values, 0), known(whole)] if whole.null_count else [values]
