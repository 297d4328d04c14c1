"""Add the labelled rows that came in to the raw data, as a new version of it.

`python -m src.workflow.retrain` takes the record from RECORD and the labels from LABELS. A row is
known by `data.key`, or without one by all its features. It is added once, and not at all where the
raw data holds it already, under whatever label: so what the test split holds stays as it is. On
which side of the split a new row falls its hash says, as of every other row.
"""

import csv
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from src.cleaning import CLEANING
from src.shared import cleaned, columns, fields, lines, params, raw, record, tables
from src.shared.duplicates import earlier_equals
from src.shared.errors import UserError, plain
from src.shared.fields import Format, Kind
from src.shared.hashes import hash_rows
from src.shared.page import escape
from src.shared.params import Params
from src.shared.raw import Raw
from src.workflow import github, labelled, state
from src.workflow.labelled import Row


def require_columns(rows: Iterable[Row], wanted: Iterable[str], labels: str) -> None:
    """Check that the new rows have every column of the raw data.

    Raises:
        UserError: one is lacking. Empty values would pass for missing ones.
    """
    known = set.intersection(*(set(row) for row in rows))
    if lacking := [name for name in wanted if name not in known]:
        raise UserError(
            f"the record lacks the column {tables.listed(lacking)}, so no row can be added to the "
            f"raw data; put it into {labels}, or into data.drop"
        )


def fitting(
    rows: Iterable[Row], kinds: Mapping[str, Kind], form: Format, left_out: Counter[str]
) -> list[Row]:
    """Return the rows whose values the raw data can hold, with its decimal sign.

    Args:
        rows: with a decimal point.
        kinds: what each column of the raw data holds.
        form: how the raw data is written.
        left_out: counts the rows that are left out, by reason.
    """
    kept, signs = [], {"whole": (".0", ""), "number": (".", form.decimal)}
    for row in rows:
        try:
            for name, kind in kinds.items():
                fields.read(row[name], kind, form.absent)
                row[name].encode(form.encoding)
        except ValueError:
            left_out[f"have a value that the column '{plain(name)}' cannot hold"] += 1
            continue
        numbers = {name: signs[kind] for name, kind in kinds.items() if kind in signs}
        kept.append(row | {name: row[name].replace(*sign) for name, sign in numbers.items()})
    return kept


def choose(fresh: pa.Table, old: pa.Table, settings: Params, left_out: Counter[str]) -> np.ndarray:
    """Choose the rows to add, one boolean a row.

    Args:
        fresh: the labelled rows.
        old: the raw data: the columns that say which row is which, then the target.
        settings: the sections task and data.
        left_out: counts the others, by reason.
    """
    *names, target = old.column_names
    both = pa.table(
        {name: pa.chunked_array(old[name].chunks + fresh[name].chunks) for name in old.column_names}
    )
    there, same = (
        earlier_equals(part, hash_rows(part))[len(old) :] > 0 for part in (both.select(names), both)
    )
    left_out["are in the data already"] = int(same.sum())
    left_out["are in the data already, under another label"] = int((there & ~same).sum())
    chosen = ~there
    if settings.task != "regression":
        known = pa.compute.is_in(fresh[target], value_set=old[target].unique()).to_numpy()
        left_out["have a label that is no class of the data"] = int((chosen & ~known).sum())
        chosen &= known
    return chosen


def add_to_csv(old: Path, new: Path, rows: Iterable[Row], form: Format, *, keep: bool) -> None:
    """Write a CSV file with the columns of another one, and with rows at its end.

    Args:
        old: the other file.
        new: the file to write.
        rows: the rows to add.
        form: how both are written.
        keep: whether the rows of the other file stay before them, just as they are.
    """
    head = [name.strip(fields.BLANKS) for name in next(iter(lines.rows_of(old, form)))]
    with (
        old.open(encoding=form.encoding, newline="") as source,
        new.open("w", encoding=form.encoding, newline="") as file,
    ):
        last = source.readline()
        end = last[len(last.rstrip("\r\n")) :] or "\n"
        writer = csv.writer(file, delimiter=form.separator, lineterminator=end)
        if keep:
            file.write(last)
            while block := source.read(1 << 20):
                last = block
                file.write(block)
            if not last.endswith(("\n", "\r")):
                file.write(end)
        else:
            writer.writerow(head)
        writer.writerows([row.get(name, "") for name in head] for row in rows)


def add_to_parquet(old: Path, new: Path, rows: pa.Table, *, keep: bool) -> None:
    """Write a Parquet file with the columns of another one, and with rows at its end.

    Args:
        old: the other file.
        new: the file to write.
        rows: the rows to add. Columns that they lack are missing in them.
        keep: whether the rows of the other file stay before them.
    """
    table = pa.parquet.read_table(old)
    added = [
        _cast(rows[field.name], field.type)
        if field.name in rows.column_names
        else pa.nulls(len(rows), field.type)
        for field in table.schema
    ]
    more = pa.table(added, schema=table.schema)
    pa.parquet.write_table(pa.concat_tables([table, more]) if keep else more, new)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(kind):
        column = column.dictionary_encode()
    return column.cast(kind)


def add(table: Raw, rows: Sequence[Row], typed: pa.Table) -> None:
    """Add rows to the raw data: at the end of its file, or as one more file in its folder.

    Args:
        table: the raw data.
        rows: as texts.
        typed: the same rows as values.
    """
    old, target = table.files[0].path, table.path
    if target.is_dir():
        target = target / f"labelled-{datetime.now(UTC):%Y%m%dT%H%M%S}{old.suffix}"
    with tempfile.TemporaryDirectory(dir=table.path.parent, suffix=".tmp") as folder:
        new = Path(folder, target.name)
        if table.is_csv:
            add_to_csv(old, new, rows, table.form, keep=old == target)
        else:
            add_to_parquet(old, new, typed, keep=old == target)
        new.replace(target)


def read_again(before: Raw, added: pa.Table, settings: Params) -> None:
    """Check that the rows that were added are read as what they are, and change no other.

    Raises:
        UserError: a column is read as something else now.
    """
    after = raw.find(settings.data, raw.read_kinds())
    more, at = [], 0
    for batch in after.batches():
        more.append(batch.slice(max(0, before.seen.rows - at)))
        at += len(batch)
    end = pa.Table.from_batches(more)
    for name, kind in before.kinds.items():
        if after.kinds[name] != kind or not (before.path.is_dir() or end[name].equals(added[name])):
            raise UserError(
                f"{settings.data.raw}: column '{name}' is read as something else once the new rows "
                "are there; name its type in data/schema.yaml"
            )


def require_clean(rows: Sequence[Row], typed: pa.Table, form: Format) -> None:
    """Check that cleaning leaves the new rows as they are: what a model is asked is clean already.

    Args:
        rows: as texts.
        typed: the same rows, as the raw data is read.
        form: how the texts are written.

    Raises:
        UserError: it makes something else of them, and so would of what the model was asked.
    """
    parts = list(cleaned.clean(iter(typed.to_batches()), CLEANING, raw.schema_kinds()))
    for name in parts[0].schema.names:
        found = [value for part in parts for value in part[name].to_pylist()]
        kind = columns.kind_of_type(parts[0].schema.field(name).type)
        asked = [fields.read(row[name], kind, form.absent, form.decimal)
                 for row in rows if name in row]  # fmt: skip
        if asked and asked != found:
            raise UserError(
                f"{cleaned.WHERE}: makes another '{name}' of rows that the model was asked, which "
                "are clean; let its functions leave a clean row as it is, or no row can be added"
            )


def take(rows: list[Row], table: Raw, settings: Params, left_out: Counter[str]) -> int:
    """Add those of the labelled rows to the raw data that are new; return how many.

    Args:
        rows: the labelled rows.
        table: the raw data.
        settings: the sections task and data.
        left_out: counts the rows that are left out, by reason.
    """
    data, form = settings.data, table.form
    names = data.key or sorted(table.kinds.keys() - {data.target})
    old = pa.Table.from_batches([one.select([*names, data.target]) for one in table.batches()])
    rows = fitting(rows, table.kinds, form, left_out)
    if not rows:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, "rows.csv")
        with alone.open("w", encoding=form.encoding, newline="") as file:
            writer = csv.writer(file, delimiter=form.separator)
            writer.writerow(table.kinds)
            writer.writerows([row[name] for name in table.kinds] for row in rows)
        fresh = raw.read_raw(alone, (), form, table.kinds)
    if CLEANING:
        require_clean(rows, fresh, form)
    chosen = choose(fresh, old, settings, left_out)
    if chosen.any():
        added = fresh.filter(pa.array(chosen))
        add(table, [row for row, new in zip(rows, chosen, strict=True) if new], added)
        read_again(table, added, settings)
    return int(chosen.sum())


def tell(new: int, found: int, left_out: Counter[str]) -> list[str]:
    """Say in a few lines what came in."""
    lines = [f"{found:,} labelled rows came in, {new:,} of them are new and added to the data"]
    return lines + [f"{count:,} {reason}" for reason, count in left_out.items() if count]


def track(path: Path) -> None:
    """Let DVC take the raw data as it is now.

    Raises:
        UserError: it does not.
    """
    command = [sys.executable, "-m", "dvc", "add", "--quiet", path.as_posix()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise UserError(f"dvc add: {done.stderr.strip()[:300]}")


def main() -> None:
    """Add the labelled rows to the raw data and to DVC; note how many there are."""
    settings, left_out = params.load(), Counter[str]()
    path = Path(settings.data.raw)
    if not path.with_name(f"{path.name}.dvc").exists():
        raise UserError(
            f"{path.as_posix()}.dvc: not found, so a stage makes this data; add the rows where it "
            "takes them from"
        )
    address, target = os.environ["LABELS"], settings.data.target
    table = raw.find(settings.data, raw.read_kinds())
    read = labelled.read_labels(address, target, table)
    names = labelled.choose_places(read, settings.data, address)
    labels = labelled.by_place(read, names, target, left_out)
    found = labelled.join(record.read(os.environ["RECORD"]), labels, names)
    if found:
        require_columns(found, table.kinds, address)
    new = take(found, table, settings, left_out) if found else 0
    told = tell(new, len(found), left_out)
    print(*told, sep="\n")
    if new:
        track(path)
    state.note(came=told)
    github.output(came="; ".join(told), new=new)
    if not new:  # else the report tells it
        lines = (f"- {escape(one)}" for one in told)
        github.summarise("\n".join(["Nothing was trained:", "", *lines]))


if __name__ == "__main__":
    state.run(main)
