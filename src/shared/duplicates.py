"""Rows that are equal: found by their hashes, as comparing whole rows would copy the table."""

import numpy as np
import pyarrow as pa
import pyarrow.compute


def first_equals(table: pa.Table) -> np.ndarray:
    """Return for each row the number of the first row that equals it in every column.

    Args:
        table: with the types that `raw.read_raw` gives. Missing values are equal to each other.
    """
    first = np.arange(len(table))
    hashes = _hash_rows(table)
    ordered = np.sort(hashes)
    left = np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]]))
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
    if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        return [np.from_dlpack(_codes(column))]
    whole = column.combine_chunks()
    known = [np.from_dlpack(whole.is_valid().cast(pa.uint8()))] if whole.null_count else []
    return [_bits(whole), *known]


def _codes(column: pa.ChunkedArray) -> pa.Array:
    """Number a column's distinct values from 0; a missing value counts as one of them."""
    return column.combine_chunks().dictionary_encode("encode").indices


def _hash_rows(table: pa.Table) -> np.ndarray:
    """Return each row of one or more a number: the same to equal rows, hardly ever to others."""
    columns = [
        pa.chunked_array([_codes(column).cast(pa.int64())])
        if pa.types.is_string(column.type) or pa.types.is_boolean(column.type)
        else column
        for column in table.columns
    ]
    hashes = []
    # Batches that stay in the processor's cache.
    for batch in pa.table(columns, table.column_names).to_batches(max_chunksize=50_000):
        total = np.zeros(len(batch), np.uint64)
        for column in batch.columns:
            total ^= _bits(column)
            total *= np.uint64(0x9E3779B97F4A7C15)  # odd, so that nothing is lost
            total ^= total >> np.uint64(32)
        hashes.append(total)
    return np.concatenate(hashes)


def _bits(column: pa.Array) -> np.ndarray:
    """Return the 64 bits of each number or time, 0 for a missing one.

    Without pyarrow's conversions: they import pandas, a third of a short run.
    """
    kind = float if pa.types.is_floating(column.type) else np.int64
    values = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * 8)
    if kind is float:
        values = values + 0.0  # makes -0.0, which equals 0.0, look like it
    bits: np.ndarray = values.view(np.uint64)
    if column.null_count:
        bits = bits * np.from_dlpack(column.is_valid().cast(pa.uint64()))
    return bits
