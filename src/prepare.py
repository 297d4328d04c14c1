"""Stage 1: settle what repeated rows are, and split the raw table into train and test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from src import splits
from src.shared import errors, files, params, raw, tables
from src.shared.duplicates import first_equals
from src.shared.errors import UserError, plain
from src.shared.params import Prepare
from src.shared.paths import TEST, TRAIN
from src.splits import Mask, Split, codes_of

# The share of rows that may repeat an earlier one without anybody saying what they are.
FEW = 0.01
SAID = {
    "keep": "kept, as rows of their own",
    "together": "kept, equal ones in one split",
    "drop": "dropped",
}


def drop_incomplete(table: pa.Table, target: str) -> pa.Table:
    """Leave out the rows without a target."""
    missing = table[target].null_count
    if missing:
        print(f"{missing} rows without a target are left out")
    return table.filter(table[target].is_valid()) if missing else table


def drop_rare(table: pa.Table, target: str, fewest: int) -> pa.Table:
    """Leave out the rows of classes that have fewer than `fewest`."""
    codes = codes_of(table[target])
    rare = np.bincount(codes)[codes] < fewest
    if not rare.any():
        return table
    classes = _filter(table.select([target]), rare)[target].unique().to_pylist()
    print(f"{rare.sum()} rows of rare classes are left out: {', '.join(map(plain, classes))}")
    return _filter(table, ~rare)


def check_key(table: pa.Table, key: Sequence[str]) -> None:
    """Check that the columns of the key tell every row from every other.

    Raises:
        UserError: one is missing in a row, or two rows have the same.
    """
    columns = table.select(key)
    for name in key:
        if missing := columns[name].null_count:
            raise UserError(f"data.key: '{name}' is missing in {missing} rows, where none may be")
    again = np.flatnonzero(first_equals(columns) != np.arange(len(table)))
    if again.size:
        rows = [" ".join(map(str, row.values())) for row in columns.take(again[:5]).to_pylist()]
        more = ", ..." if again.size > len(rows) else ""
        raise UserError(
            f"data.key: {again.size} rows have the {' and '.join(key)} of an earlier row: "
            f"{', '.join(rows)}{more}; mend the data, or name more columns"
        )


def check_repeats(table: pa.Table, distinct: Mask, target: str) -> None:
    """Check that so few rows repeat an earlier one that it matters little what is made of them.

    Args:
        table: all rows.
        distinct: which of them repeat none.
        target: the column to predict.

    Raises:
        UserError: there are more. The message says what dropping them would change, and asks.
    """
    rows, repeats = len(table), int((~distinct).sum())
    if repeats > FEW * rows:
        raise UserError(
            f"prepare.duplicates: {repeats:,} of {rows:,} rows ({repeats / rows:.1%}) repeat an "
            f"earlier one, and dropping them moves {_moved(table[target], distinct)}; set under "
            "prepare in params.yaml `duplicates: keep` if each is an observation of its own (equal "
            "ones may then be in both splits), `duplicates: together` to keep all with equal ones "
            "in one split, or `duplicates: drop` if they were copied by mistake"
        )


def _moved(column: pa.ChunkedArray, distinct: Mask) -> str:
    """Say how far the target would move, if only the distinct rows stayed."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
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


def choose_together(table: pa.Table, target: str, settings: Prepare, split: Split) -> Mask:
    """Choose the rows of the test split so that equal rows are in the same split.

    Raises:
        UserError: they cannot be split in this way.
    """
    first = first_equals(table)
    distinct = first == np.arange(len(table))
    test = np.zeros(len(table), dtype=bool)
    test[distinct] = splits.choose_test(_filter(table, distinct), target, settings, split)
    return test[first]


def main() -> None:
    """Read the raw table, write data/prepared/train.parquet and test.parquet."""
    settings = params.load()
    data, prepare, path = settings.data, settings.prepare, Path(settings.data.raw)
    split = splits.find(settings)
    record = path.with_name(f"{path.name}.dvc")
    remedy = f"`dvc add {path.as_posix()}`, or remove it and `dvc pull`"
    files.require_recorded(path, record, remedy)
    table = raw.read(data, raw.read_kinds())
    key = data.key or []
    for setting, names in (
        ("data.target", [data.target]),
        ("prepare.column", [prepare.column] if prepare.column else []),
        ("data.key", key),
    ):
        for name in names:
            tables.require_column(name, table.column_names, path, setting)
    looked_at = (data.target, prepare.column, *key, *settings.validate.accept)
    raw.refuse_index(table, data, looked_at)
    if table[data.target].null_count == len(table):
        raise UserError(f"{path.as_posix()}: target '{data.target}' is missing in every row")
    if data.missing_target == "drop":
        table = drop_incomplete(table, data.target)
    if key:
        check_key(table, key)
    distinct = first_equals(table) == np.arange(len(table))
    repeats, made = len(table) - int(distinct.sum()), prepare.duplicates or "together"
    if prepare.duplicates is None:
        check_repeats(table, distinct, data.target)
    if repeats:
        print(f"{repeats} rows repeat an earlier one: {SAID[made]}")
    if made == "drop":
        table = _filter(table, distinct)
    if data.drop_rare_classes:
        table = drop_rare(table, data.target, data.drop_rare_classes)
    if len(table) - repeats < 2 and made == "together":
        raise UserError(f"{path.as_posix()}: all rows are equal; a split needs two that differ")
    if len(table) < 2:
        raise UserError(f"{path.as_posix()}: has {len(table)} row to split, where two are needed")
    choose = choose_together if repeats and made == "together" else splits.choose_test
    test = choose(table, data.target, prepare, split)
    table = tables.mark_gaps(table)
    with files.replacing(TRAIN, TEST) as drafts:
        for draft, mask in zip(drafts, (~test, test), strict=True):
            pyarrow.parquet.write_table(_filter(table, mask), draft)
    print(f"{len(table)} rows: {len(table) - test.sum()} to train on, {test.sum()} to test on")


if __name__ == "__main__":
    errors.run(main)
