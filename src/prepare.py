"""Stage 1: drop duplicate rows and split the raw table into train and test."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from src.shared import errors, files, params, tables
from src.shared.errors import UserError
from src.shared.params import Prepare
from src.shared.paths import TEST, TRAIN

Mask = np.ndarray[Any, np.dtype[np.bool_]]


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


def choose_test(table: pa.Table, target: str, settings: Prepare) -> Mask:
    """Choose the rows of the test split.

    Args:
        table: at least two rows.
        target: name of the column to predict.
        settings: how to split, how much, and the seed.

    Returns:
        One boolean a row: true for the test split.

    Raises:
        UserError: the table cannot be split in this way.
    """
    random = np.random.default_rng(settings.seed)
    if settings.split == "stratified":
        return _stratified(_codes(table[target]), settings.test_size, random)
    if settings.split == "group":
        return _by_group(_codes(_complete(table, settings)), settings.test_size, random)
    if settings.split == "time":
        times = _complete(table, settings)
        if pa.types.is_string(times.type) and not _sorts_by_time(times):
            raise UserError(
                f"prepare.column: '{settings.column}' is text whose order is not that of time; "
                "write times as in 2026-03-31"
            )
        return _latest(times, settings.test_size)
    return _stratified(np.zeros(len(table), dtype=int), settings.test_size, random)


def _encode(column: pa.ChunkedArray) -> pa.Array:
    """Number a column's distinct values from 0; a missing value counts as one of them."""
    return column.combine_chunks().dictionary_encode("encode").indices


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    return np.from_dlpack(_encode(column))


def _complete(table: pa.Table, settings: Prepare) -> pa.ChunkedArray:
    """Return the column that groups or dates the rows, which must have no missing value."""
    column = table[settings.column]
    if column.null_count:
        raise UserError(
            f"prepare.column: '{settings.column}' is missing in {column.null_count} rows; "
            f"a {settings.split} split needs it in all"
        )
    return column


def _stratified(codes: np.ndarray, test_size: float, random: np.random.Generator) -> Mask:
    """Draw the same share of every class, at least one row of each class that has two."""
    test = np.zeros(len(codes), dtype=bool)
    for code in np.unique(codes):
        rows = random.permutation(np.flatnonzero(codes == code))
        count = min(max(round(len(rows) * test_size), 1), len(rows) - 1)
        test[rows[:count]] = True
    if not test.any():
        raise UserError(
            "prepare.split: every class has one row, so a stratified split leaves none to test "
            "on; for a target of numbers set `task: regression` and `split: random`"
        )
    return test


def _by_group(codes: np.ndarray, test_size: float, random: np.random.Generator) -> Mask:
    """Draw groups at random, each that brings the test split nearer to its size."""
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise UserError("prepare.column: all rows are of one group; a group split needs two")
    chosen: list[int] = []
    left = test_size * len(codes)
    for group in random.permutation(len(sizes)).tolist():
        if abs(left - sizes[group]) < abs(left) and len(chosen) < len(sizes) - 1:
            chosen.append(group)
            left -= sizes[group]
    # Where each group is too large, the smallest one.
    return np.isin(codes, chosen or [int(np.argmin(sizes))])


def _sorts_by_time(texts: pa.ChunkedArray) -> bool:
    """Tell whether texts start with the year and are equally long, as 2026-03 and 2026Q1 are."""
    years = pa.compute.match_substring_regex(texts, r"^[0-9]{4}([^0-9]|$)")
    lengths = pa.compute.min_max(pa.compute.utf8_length(texts))
    return bool(pa.compute.all(years).as_py() and lengths["min"] == lengths["max"])


def _latest(column: pa.ChunkedArray, test_size: float) -> Mask:
    """Take the latest rows; rows of the same time stay together."""
    times = column.to_numpy()
    cut = np.sort(times)[-max(round(len(times) * test_size), 1)]
    test = times >= cut
    if test.all():
        test = times > cut
    if not test.any():
        raise UserError("prepare.column: all rows have the same time; a time split needs two")
    return test


def main() -> None:
    """Read the raw table, write data/prepared/train.parquet and test.parquet."""
    settings = params.load()
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
    test = choose_test(table, data.target, settings.prepare)
    with files.replacing(TRAIN, TEST) as drafts:
        for draft, mask in zip(drafts, (~test, test), strict=True):
            pyarrow.parquet.write_table(_filter(table, mask), draft)
    print(
        f"{rows} rows, {rows - len(table)} duplicates dropped: "
        f"{len(table) - test.sum()} to train on, {test.sum()} to test on"
    )


if __name__ == "__main__":
    errors.run(main)
