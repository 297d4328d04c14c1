"""Hashes: a number for what a row holds, the same with every version of every library.

They decide which rows are tested, so a test holds their values: others would split all tables anew.
"""

from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

BATCH = 50_000  # rows that stay in the processor's cache
EXACT = 2**53  # from here on float64 does not hold every whole number
MISSING = np.array([np.nan]).view(np.uint64)[0]


def hash_rows(table: pa.Table, salt: int = 0) -> Hashes:
    """Return a hash of what each row holds, shape (rows,).

    It depends neither on how values are stored (a column of whole numbers becomes one of floats
    where a value is missing) nor on the names of the columns, but on their order.

    Args:
        table: with the types that `raw.read_raw` gives.
        salt: with another one, rows that differ and have the same hash have others.
    """
    columns = [
        pa.chunked_array([_hash_texts(column, salt)]) if pa.types.is_string(column.type) else column
        for column in table.columns
    ]
    hashes = [np.zeros(0, np.uint64)]
    for batch in pa.table(columns, table.column_names).to_batches(max_chunksize=BATCH):
        total = np.full(len(batch), salt, np.uint64)
        for column in batch.columns:
            total = mixed(total, _bits(column))
        hashes.append(total)
    return np.concatenate(hashes)


def mixed(hashes: Hashes, values: Hashes | int) -> Hashes:
    """Return new hashes of hashes and values (or of a seed): one step of splitmix64.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    state = (hashes ^ np.uint64(values)) + np.uint64(0x9E3779B97F4A7C15)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


def codes_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number for each row, from 0: the same for equal values, a missing one included."""
    return encoded(column)[0]


def encoded(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Return the codes of a column, and what they stand for. Its chunks are not put together."""
    chunks = column.dictionary_encode("encode").chunks  # which share one dictionary
    codes = [np.zeros(0, np.int32), *(np.from_dlpack(chunk.indices) for chunk in chunks)]
    return np.concatenate(codes), chunks[0].dictionary if chunks else pa.array([], column.type)


def values_of(column: pa.Array) -> np.ndarray:
    """Return the values of all but texts, shape (rows,); any value stands for a missing one.

    Without pyarrow's conversions: they import pandas, a third of a short run.
    """
    if pa.types.is_boolean(column.type):
        bits = np.frombuffer(column.buffers()[1], np.uint8)
        end = column.offset + len(column)
        return np.unpackbits(bits, count=end, bitorder="little")[column.offset :]
    kind = float if pa.types.is_floating(column.type) else np.int64
    values = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * 8)
    return values + 0.0 if kind is float else values  # -0.0, which equals 0.0, looks like it


def _bits(column: pa.Array) -> Hashes:
    """Return 64 bits for each value: the same for a number of any type, and for a missing one."""
    values = values_of(column)
    bits = values.astype(float).view(np.uint64)
    if values.dtype == np.int64 and not pa.types.is_integer(column.type):  # times
        bits = values.view(np.uint64)
    elif (long := np.abs(values) >= EXACT).any():
        long &= np.abs(values) < 2**63
        bits[long] = values[long].astype(np.int64).view(np.uint64)
    return np.where(known(column), bits, MISSING) if column.null_count else bits


def known(column: pa.Array) -> Mask:
    """Mark the values that are not missing."""
    return np.from_dlpack(column.is_valid().cast(pa.uint8())).view(bool)


def _hash_texts(column: pa.ChunkedArray, salt: int) -> pa.Array:
    """Return a hash of each text; of the distinct ones of some rows, as that is done one by one."""
    parts = [
        _hash_some(pa.chunked_array([chunk.slice(start, BATCH)]), salt)
        for chunk in column.chunks
        for start in range(0, len(chunk), BATCH)
    ]
    hashes = np.concatenate([np.zeros(0, np.uint64), *parts])
    return pa.Array.from_buffers(pa.int64(), len(hashes), [None, pa.py_buffer(hashes)])


def _hash_some(column: pa.ChunkedArray, salt: int) -> Hashes:
    codes, distinct = encoded(column)
    texts = distinct.to_pylist()
    hashes = [MISSING if text is None else _hash_text(text, salt) for text in texts]
    return np.array(hashes, np.uint64)[codes]


def _hash_text(text: str, salt: int) -> int:
    salted = salt.to_bytes(8, "little") if salt else b""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, salt=salted).digest(), "little")
