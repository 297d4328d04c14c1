"""Stage 1: drop duplicate rows and split the raw table into train and test."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from src import splits
from src.shared import errors, files, params, tables
from src.shared.errors import UserError
from src.shared.paths import TEST, TRAIN
from src.splits import Mask


def drop_duplicates(table: pa.Table) -> pa.Table:
    """Keep the first of rows that are equal in every column, in the table's order."""
    # Hashes first: comparing whole rows would copy the table.
    hashes = _hash_rows(table)
    ordered = np.sort(hashes)
    suspects = np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]]))
    if not suspects.size:
        return table
    keep = np.ones(len(table), dtype=bool)
    keep[suspects[table.take(suspects).to_pandas().duplicated()]] = False
    return _filter(table, keep)


def _hash_rows(table: pa.Table) -> np.ndarray:
    """Return each row of one or more a number: the same to equal rows, hardly ever to others."""
    columns = [
        pa.chunked_array([_encode(column).cast(pa.int64())])
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

    Like `_filter`, without pyarrow's conversions: they import pandas, a third of a short run.
    """
    kind = float if pa.types.is_floating(column.type) else np.int64
    values = np.frombuffer(column.buffers()[1], kind, len(column), column.offset * 8)
    if kind is float:
        values = values + 0.0  # makes -0.0, which equals 0.0, look like it
    bits: np.ndarray = values.view(np.uint64)
    if column.null_count:
        bits = bits * np.from_dlpack(column.is_valid().cast(pa.uint64()))
    return bits


def _filter(table: pa.Table, mask: Mask) -> pa.Table:
    """Keep the rows that a mask marks."""
    bits = pa.py_buffer(np.packbits(mask, bitorder="little"))
    return table.filter(pa.Array.from_buffers(pa.bool_(), len(mask), [None, bits]))


def _encode(column: pa.ChunkedArray) -> pa.Array:
    """Number a column's distinct values from 0; a missing value counts as one of them."""
    return column.combine_chunks().dictionary_encode("encode").indices


def main() -> None:
    """Read the raw table, write data/prepared/train.parquet and test.parquet."""
    settings = params.load()
    split = splits.find(settings)
    data, raw = settings.data, Path(settings.data.raw)
    record = raw.with_name(f"{raw.name}.dvc")
    files.require_recorded(raw, record, f"`dvc add {raw.as_posix()}`, or remove it and `dvc pull`")
    table = tables.read_raw(raw, data.drop)
    tables.require_column(data.target, table.column_names, raw, "data.target")
    if settings.prepare.column:
        tables.require_column(settings.prepare.column, table.column_names, raw, "prepare.column")
    if table[data.target].null_count == len(table):
        raise UserError(f"{raw.as_posix()}: target '{data.target}' is missing in every row")
    rows = len(table)
    table = drop_duplicates(table)
    if len(table) < 2:
        raise UserError(f"{raw.as_posix()}: has {len(table)} distinct row; a split needs two")
    test = splits.choose_test(table, data.target, settings.prepare, split)
    with files.replacing(TRAIN, TEST) as drafts:
        for draft, mask in zip(drafts, (~test, test), strict=True):
            pyarrow.parquet.write_table(_filter(table, mask), draft)
    print(
        f"{rows} rows, {rows - len(table)} duplicates dropped: "
        f"{len(table) - test.sum()} to train on, {test.sum()} to test on"
    )


if __name__ == "__main__":
    errors.run(main)
