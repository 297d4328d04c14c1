"""Stage 1: settle what repeated rows are, and split the raw table into train and test."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from src import splits
from src.cleaning import CLEANING
from src.shared import cleaned, errors, files, params, progress, raw, tables
from src.shared.duplicates import earlier_equals, repeated
from src.shared.errors import UserError, plain
from src.shared.hashes import Hashes, codes_of, hash_rows, mixed
from src.shared.params import Params
from src.shared.paths import TEST, TRAIN
from src.shared.spill import Spill, spilled
from src.shared.wording import are, counted
from src.splits import Mask

Sides = np.ndarray[Any, np.dtype[np.uint8]]

# What becomes of a row.
LEFT_OUT, TO_TRAIN, TO_TEST = np.arange(3, dtype=np.uint8)

SPILL = TRAIN.with_name(".rows.arrow.tmp")

# The share of rows that may repeat an earlier one without anybody saying what they are.
FEW = 0.01
SAID = {
    "keep": "kept, as rows of their own",
    "together": "kept, equal ones in one split",
    "drop": "dropped",
}


@dataclass
class Rows:
    """What is known of all rows when they have been read once.

    Attributes:
        table: what decides: the target, prepare.column and the key; shape (rows, columns).
        hashes: of the key of each row, or of all it holds.
        gaps: the columns in which values are missing.
        schema: that of all columns.
    """

    table: pa.Table
    hashes: Hashes
    gaps: set[str]
    schema: pa.Schema


def read_rows(batches: Iterator[pa.RecordBatch], spill: Spill, settings: Params) -> Rows:
    """Read all rows once, into a file, and return what is needed to decide about them.

    Args:
        batches: of the raw table, cleaned.
        spill: where they wait.
        settings: the sections task, data and prepare.

    Raises:
        UserError: a column that is needed is not there, or the target is missing in every row.
    """
    data, path = settings.data, Path(settings.data.raw)
    deciding = [data.target, *filter(None, [settings.prepare.column]), *(data.key or ())]
    read, missing, gaps = 0, 0, set[str]()
    parts, hashes = list[pa.RecordBatch](), list[Hashes]()
    for batch in progress.rows(batches, "read the raw table"):
        names = batch.schema.names
        if not parts:
            require_columns(names, settings)
        read += len(batch)
        missing += batch[data.target].null_count
        if data.missing_target == "drop":
            batch = batch.filter(batch[data.target].is_valid())
        spill.write(batch)
        parts.append(batch.select(list(dict.fromkeys(deciding))))
        hashes.append(hash_rows(pa.Table.from_batches([batch]).select(identity(names, data.key))))
        gaps |= {name for name in names if batch[name].null_count}
    if not read:
        raise UserError(f"{cleaned.WHERE}: leaves no row")
    if missing == read:
        raise UserError(f"{path.as_posix()}: target '{data.target}' is missing in every row")
    if missing and data.missing_target == "drop":
        print(f"{counted(missing, 'row')} without a target {are(missing)} left out")
    return Rows(pa.Table.from_batches(parts), np.concatenate(hashes), gaps, batch.schema)


def require_columns(names: Sequence[str], settings: Params) -> None:
    """Check that the columns which decide are there.

    Raises:
        UserError: one is not.
    """
    data, column = settings.data, settings.prepare.column
    for setting, wanted in (
        ("data.target", [data.target]),
        ("prepare.column", [column] if column else []),
        ("data.key", data.key or []),
    ):
        for name in wanted:
            tables.require_column(name, names, Path(data.raw), setting)


def identity(names: Sequence[str], key: Sequence[str] | None) -> list[str]:
    """Return the columns in which rows are equal that are the same: the key, or else all."""
    return list(key or sorted(names))


def find_rare(table: pa.Table, kept: Mask, target: str, fewest: int) -> Mask:
    """Mark the rows of classes of which fewer than `fewest` are kept."""
    codes = codes_of(table[target])
    rare: Mask = np.bincount(codes[kept], minlength=codes.max() + 1)[codes] < fewest
    if (left_out := rare & kept).any():
        classes = _filter(table.select([target]), left_out)[target].unique().to_pylist()
        names = ", ".join(map(plain, classes))
        count = int(left_out.sum())
        print(f"{counted(count, 'row')} of rare classes {are(count)} left out: {names}")
    return rare


def check_key(key: pa.Table, earlier: np.ndarray) -> None:
    """Check that the columns of the key tell every row from every other.

    Args:
        key: these columns.
        earlier: for each row how many earlier ones equal it there.

    Raises:
        UserError: one is missing in a row, or two rows have the same.
    """
    for name in key.column_names:
        if missing := key[name].null_count:
            raise UserError(
                f"data.key: '{name}' is missing in {counted(missing, 'row')}, where none may be"
            )
    again = np.flatnonzero(earlier)
    if again.size:
        rows = [" ".join(map(str, row.values())) for row in key.take(again[:5]).to_pylist()]
        more = ", ..." if again.size > len(rows) else ""
        raise UserError(
            f"data.key: {counted(again.size, 'row')} {are(again.size, 'has', 'have')} the "
            f"{' and '.join(key.column_names)} of an earlier row: {', '.join(rows)}{more}; mend "
            "the data, or name more columns"
        )


def check_repeats(table: pa.Table, distinct: Mask, settings: Params) -> None:
    """Check that so few rows repeat an earlier one that it matters little what is made of them.

    Args:
        table: all rows.
        distinct: which of them repeat none.
        settings: the sections task and data.

    Raises:
        UserError: there are more. The message says what dropping them would change, and asks.
    """
    rows, repeats = len(table), int((~distinct).sum())
    if repeats > FEW * rows:
        raise UserError(
            f"prepare.duplicates: {repeats:,} of {rows:,} rows ({repeats / rows:.1%}) repeat an "
            f"earlier one, and dropping them moves {_moved(table, distinct, settings)}; set under "
            "prepare in params.yaml `duplicates: keep` if each is an observation of its own (equal "
            "ones may then be in both splits), `duplicates: together` to keep all with equal ones "
            "in one split, or `duplicates: drop` if they were copied by mistake"
        )


def _moved(table: pa.Table, distinct: Mask, settings: Params) -> str:
    """Say how far the target would move, if only the distinct rows stayed."""
    column = table[settings.data.target]
    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if number and settings.task == "regression":
        kept = _filter(pa.table({"target": column}), distinct)["target"]
        means = [pa.compute.mean(part).as_py() for part in (column, kept)]
        return f"the target's mean from {means[0]:.4g} to {means[1]:.4g}"
    codes = codes_of(column)
    before = np.bincount(codes) / len(codes)
    after = np.bincount(codes[distinct], minlength=len(before)) / distinct.sum()
    most = int(np.abs(after - before).argmax())
    label = column[int(np.flatnonzero(codes == most)[0])]
    return f"the share of class '{label}' from {before[most]:.1%} to {after[most]:.1%}"


def _filter(table: pa.Table, mask: Mask) -> pa.Table:
    """Keep the rows that a mask marks."""
    bits = pa.py_buffer(np.packbits(mask, bitorder="little"))
    return table.filter(pa.Array.from_buffers(pa.bool_(), len(mask), [None, bits]))


def split_hashes(table: pa.Table, hashes: Hashes, earlier: np.ndarray, settings: Params) -> Hashes:
    """Return a number for each row, shape (rows,), by which it is split wherever it stands.

    It is made of the seed and of what says which row it is: its group, its key, or all it holds.

    Args:
        table: all rows.
        hashes: of the key of each row, or of all it holds.
        earlier: for each row how many earlier ones equal it.
        settings: the section prepare.
    """
    prepare = settings.prepare
    if prepare.column and splits.find(settings).grouped:
        hashes = hash_rows(table.select([prepare.column]))
    elif prepare.duplicates == "keep":
        # Else equal rows would be in one split; those that stand first are as without repeats.
        hashes = np.where(earlier > 0, mixed(hashes, earlier), hashes)
    return mixed(hashes, prepare.seed)


def unite(test: Mask, hashes: Hashes) -> Mask:
    """Put rows of equal hashes on the side of the first, where a split does not go by hashes."""
    _, first, row = np.unique(hashes, return_index=True, return_inverse=True)
    return np.asarray(test[first][row])


def second_hashes(batches: Iterable[pa.RecordBatch], again: Mask, names: Sequence[str]) -> pa.Table:
    """Return other hashes of the rows whose first hash stands more than once.

    Two rows that differ have both hashes in common with a chance of 1 in 2^128. So with 100 million
    rows the chance that any two are wrongly taken for equal is below 1 in 10^22.

    Args:
        batches: of all rows.
        again: these rows.
        names: the columns to compare.

    Returns:
        One column, shape (rows, 1); 0 for the other rows.
    """
    found, start = np.zeros(len(again), np.uint64), 0
    for batch in batches if again.any() else ():
        part = again[start : start + len(batch)]
        if part.any():
            chosen = _filter(pa.Table.from_batches([batch]), part).select(names)
            found[start : start + len(batch)][part] = hash_rows(chosen, salt=1)
        start += len(batch)
    return pa.table(
        {"hash": pa.Array.from_buffers(pa.int64(), len(found), [None, pa.py_buffer(found)])}
    )


def choose_sides(rows: Rows, batches: Iterable[pa.RecordBatch], settings: Params) -> Sides:
    """Decide what becomes of each row: `LEFT_OUT`, `TO_TRAIN` or `TO_TEST`, shape (rows,).

    Args:
        rows: what was kept of them in memory.
        batches: all of them once more, for those that seem to be equal.
        settings: the sections task, data and prepare.

    Raises:
        UserError: rows repeat and nobody said what they are, or the rows cannot be split.
    """
    data, prepare, path = settings.data, settings.prepare, Path(settings.data.raw)
    table, hashes, names = rows.table, rows.hashes, identity(rows.schema.names, data.key)
    # Rows with a key are equal in all columns only if they are in that.
    if data.key:
        earlier = earlier_equals(table.select(names), hashes)
        check_key(table.select(names), earlier)
    else:
        earlier = earlier_equals(second_hashes(batches, repeated(hashes), names), hashes)
    repeats, made = int(np.count_nonzero(earlier)), prepare.duplicates or "together"
    if prepare.duplicates is None:
        check_repeats(table, earlier == 0, settings)
    if repeats:
        verb = are(repeats, "repeats", "repeat")
        print(f"{counted(repeats, 'row')} {verb} an earlier one: {SAID[made]}")
    kept = earlier == 0 if made == "drop" else np.ones(len(table), dtype=bool)
    if data.drop_rare_classes:
        kept &= ~find_rare(table, kept, data.target, data.drop_rare_classes)
    if not kept.all():
        table, hashes, earlier = _filter(table, kept), hashes[kept], earlier[kept]
    if len(table) < 2:
        raise UserError(f"{path.as_posix()}: has {len(table)} row to split, where two are needed")
    if made == "together" and np.count_nonzero(earlier == 0) < 2:
        raise UserError(f"{path.as_posix()}: all rows are equal; a split needs two that differ")
    test = splits.choose_test(table, split_hashes(table, hashes, earlier, settings), settings)
    if made == "together" and earlier.any():
        test = unite(test, hashes)
    sides = np.full(len(kept), LEFT_OUT)
    sides[kept] = np.where(test, TO_TEST, TO_TRAIN)
    return sides


def find_gaps(batches: Iterable[pa.RecordBatch], sides: Sides, names: Iterable[str]) -> set[str]:
    """Return the columns in which values are missing in rows that are not left out.

    Args:
        batches: all rows.
        sides: what becomes of them.
        names: the columns in which any are missing.
    """
    found: set[str] = set()
    for batch, part in _with(sides, batches):
        kept = _filter(pa.Table.from_batches([batch]).select(list(names)), part != LEFT_OUT)
        found |= {name for name in kept.column_names if kept[name].null_count}
    return found


def _with(
    sides: Sides, batches: Iterable[pa.RecordBatch]
) -> Iterator[tuple[pa.RecordBatch, Sides]]:
    """Yield each batch with the sides of its rows."""
    start = 0
    for batch in batches:
        yield batch, sides[start : start + len(batch)]
        start += len(batch)


def main() -> None:
    """Read the raw table, write data/prepared/train.parquet and test.parquet."""
    settings = params.load()
    data, path = settings.data, Path(settings.data.raw)
    splits.find(settings)
    record = path.with_name(f"{path.name}.dvc")
    remedy = f"`dvc add {path.as_posix()}`, or remove it and `dvc pull`"
    files.require_recorded(path, record, remedy)
    kinds = raw.schema_kinds()
    source = raw.find(data, raw.as_read(kinds))
    with spilled(SPILL) as spill, files.replacing(TRAIN, TEST) as drafts:
        rows = read_rows(cleaned.clean(source.batches(), CLEANING, kinds), spill, settings)
        looked_at = (data.target, settings.prepare.column, *(data.key or ()))
        raw.refuse_index(source, data, (*looked_at, *settings.validate.accept))
        sides = choose_sides(rows, spill, settings)
        gaps = rows.gaps if sides.all() else find_gaps(spill, sides, rows.gaps)
        schema = tables.marked(rows.schema, gaps, source.zeros)
        schema = schema if source.is_csv else schema.with_metadata(tables.PARQUET)
        splits_of = [tables.RowGroups(draft, schema) for draft in drafts]
        with splits_of[0] as train, splits_of[1] as test:
            for batch, part in _with(sides, progress.rows(spill, "write the splits", len(sides))):
                whole = pa.Table.from_arrays(batch.columns, schema=schema)
                train.write(_filter(whole, part == TO_TRAIN))
                test.write(_filter(whole, part == TO_TEST))
    to_train, to_test = np.count_nonzero(sides == TO_TRAIN), np.count_nonzero(sides == TO_TEST)
    print(f"{to_train + to_test} rows: {to_train} to train on, {to_test} to test on")


if __name__ == "__main__":
    errors.run(main)
