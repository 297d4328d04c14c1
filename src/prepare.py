"""Stage 1: settle what repeated rows are, and split the raw table into train and test."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from src import splits
from src.shared import errors, files, params, raw, tables
from src.shared.duplicates import earlier_equals
from src.shared.errors import UserError, plain
from src.shared.hashes import Hashes, codes_of, hash_rows, mixed
from src.shared.params import Params
from src.shared.paths import TEST, TRAIN
from src.splits import Mask

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


def find_rare(table: pa.Table, kept: Mask, target: str, fewest: int) -> Mask:
    """Mark the rows of classes of which fewer than `fewest` are kept."""
    codes = codes_of(table[target])
    rare: Mask = np.bincount(codes[kept], minlength=codes.max() + 1)[codes] < fewest
    if (left_out := rare & kept).any():
        classes = _filter(table.select([target]), left_out)[target].unique().to_pylist()
        names = ", ".join(map(plain, classes))
        print(f"{left_out.sum()} rows of rare classes are left out: {names}")
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
            raise UserError(f"data.key: '{name}' is missing in {missing} rows, where none may be")
    again = np.flatnonzero(earlier)
    if again.size:
        rows = [" ".join(map(str, row.values())) for row in key.take(again[:5]).to_pylist()]
        more = ", ..." if again.size > len(rows) else ""
        raise UserError(
            f"data.key: {again.size} rows have the {' and '.join(key.column_names)} of an earlier "
            f"row: {', '.join(rows)}{more}; mend the data, or name more columns"
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


def main() -> None:
    """Read the raw table, write data/prepared/train.parquet and test.parquet."""
    settings = params.load()
    data, prepare, path = settings.data, settings.prepare, Path(settings.data.raw)
    splits.find(settings)
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
    # Rows with a key are equal in all columns only if they are in that.
    row = table.select(key or sorted(table.column_names))
    hashes = hash_rows(row)
    earlier = earlier_equals(row, hashes)
    if key:
        check_key(row, earlier)
    repeats, made = np.count_nonzero(earlier), prepare.duplicates or "together"
    if prepare.duplicates is None:
        check_repeats(table, earlier == 0, settings)
    if repeats:
        print(f"{repeats} rows repeat an earlier one: {SAID[made]}")
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
    table = tables.mark_gaps(table)
    with files.replacing(TRAIN, TEST) as drafts:
        for draft, mask in zip(drafts, (~test, test), strict=True):
            pyarrow.parquet.write_table(_filter(table, mask), draft)
    print(f"{len(table)} rows: {len(table) - test.sum()} to train on, {test.sum()} to test on")


if __name__ == "__main__":
    errors.run(main)
