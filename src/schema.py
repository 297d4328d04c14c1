"""`make schema`: infer data/schema.yaml from the raw table, for a person to review."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from src.cleaning import CLEANING
from src.shared import cleaned, errors, files, findings, params, progress, raw, tables
from src.shared.errors import plain
from src.shared.findings import Finding
from src.shared.params import Params
from src.shared.paths import SCHEMA
from src.shared.spill import Spill, spilled
from src.shared.texts import TextColumn

if TYPE_CHECKING:
    from pandera.pandas import Column, DataFrameSchema

# Text columns with no more values than this get the list of the values that are allowed.
MAX_CATEGORIES = 20

# Where the raw table waits while its columns are looked at one by one, each with all its rows.
SPILL = SCHEMA.with_name(".columns.arrow.tmp")


def infer(
    columns: Iterable[pd.Series | TextColumn], target: str, key: Sequence[str] = ()
) -> "DataFrameSchema":
    """Infer a schema: types, missing values, ranges of numbers and dates, values of categories.

    Args:
        columns: those of the raw table without the dropped ones.
        target: the column to predict, which may not be missing.
        key: the columns that say which row is which, of which new rows have new values.
    """
    os.environ.setdefault("DISABLE_PANDERA_IMPORT_WARNING", "True")
    from pandera.pandas import DataFrameSchema

    described = {
        str(column.name): _column(column, column.name == target, column.name in key)
        for column in columns
    }
    return DataFrameSchema(described, strict=True)


def to_yaml(schema: "DataFrameSchema") -> str:
    """Write a schema as a person would: `str` for text, whatever pandas keeps it in."""
    return re.sub(r"dtype: string.*", "dtype: str", str(schema.to_yaml()))


def _column(column: pd.Series | TextColumn, is_target: bool, is_key: bool) -> "Column":
    from pandera.pandas import Check, Column

    if isinstance(column, pd.Series) and pd.api.types.is_string_dtype(column):
        return _column(TextColumn(str(column.name), lambda: [column]), is_target, is_key)
    dtype = "str" if isinstance(column, TextColumn) else str(column.dtype)
    checks = list[Check]()
    if is_key:
        return Column(dtype)
    if isinstance(column, TextColumn):
        gaps, counts = not column.known.all(), column.counts
        if len(counts) <= MAX_CATEGORIES:
            checks = [Check.isin(sorted(column.take(counts.first)))]
    else:
        gaps, known = bool(column.isna().any()), column.dropna()
        if not pd.api.types.is_bool_dtype(column) and not known.empty:
            checks = [Check.in_range(*_ends(known))]
    return Column(dtype, checks, nullable=gaps and not is_target)


def _ends(known: pd.Series) -> tuple[Any, Any]:
    """Return the least and the greatest value as types that YAML knows."""
    ends = known.min(), known.max()
    return ends if isinstance(ends[0], pd.Timestamp) else (ends[0].item(), ends[1].item())


def read_column(spill: Spill, name: str) -> pd.Series:
    """Read a column as `tables.read_split` would give it."""
    return _as_series(name, spill.column(name))


def read_any(spill: Spill, schema: pa.Schema, name: str) -> pd.Series | TextColumn:
    """Read a column; of a text one nothing is held but hashes."""
    if schema.field(name).type != pa.string():
        return read_column(spill, name)
    return TextColumn(
        name, lambda: (_as_series(name, pa.chunked_array([part])) for part in spill.parts(name))
    )


def _as_series(name: str, values: pa.ChunkedArray) -> pd.Series:
    table = pa.table({name: values})
    gaps = [name] if values.null_count else []
    return tables.to_frame(table.cast(tables.marked(table.schema, gaps, {})))[name]


def on_dates(names: Sequence[str], settings: Params) -> str:
    """Say what a table with dates may need; nothing where the split goes by a column.

    Args:
        names: the columns that hold dates.
        settings: the sections data, prepare and validate.
    """
    new = [name for name in names if name not in {settings.data.target, *settings.validate.accept}]
    if not new or settings.prepare.column:
        return ""
    column = json.dumps(new[0], ensure_ascii=False)
    return (
        f"note: '{plain(new[0])}' holds dates. If the model is to predict later rows than it\n"
        f"  learned from, set `split: time` and `column: {plain(column)}` under prepare in\n"
        "  params.yaml: after a random split the figures would be too good."
    )


def main() -> None:
    """Write data/schema.yaml; an earlier one is kept as data/schema.old.yaml."""
    settings = params.load()
    data, path = settings.data, Path(settings.data.raw)
    source = raw.find(data, raw.as_read({}))
    with spilled(SPILL) as spill, files.replacing(SCHEMA) as (draft,):
        batches = cleaned.clean(source.batches(), CLEANING, {})
        for batch in progress.rows(batches, "read the raw table"):
            spill.write(batch)
        names = batch.schema.names
        tables.require_column(data.target, names, path, "data.target")
        looked_at = (data.target, settings.prepare.column, *(data.key or ()))
        raw.refuse_index(source, data, (*looked_at, *settings.validate.accept))
        sample = findings.sample_rows(read_column(spill, data.target), settings)
        odd = list[Finding]()

        def columns() -> Iterator[pd.Series | TextColumn]:
            for name in tqdm(names, "look at the columns", unit=" columns", delay=2, disable=None):
                column = read_any(spill, batch.schema, name)
                odd.extend(findings.find_in(column, sample, settings, inferred=True))
                yield column

        text = to_yaml(infer(columns(), data.target, data.key or ()))
        draft.write_text(text, encoding="utf-8", newline="\n")
        if SCHEMA.exists() and SCHEMA.read_bytes() != draft.read_bytes():
            old = SCHEMA.with_name("schema.old.yaml")
            shutil.copyfile(SCHEMA, old)
            print(f"{SCHEMA.as_posix()}: the earlier one is now {old.as_posix()}")
    if odd:
        print(findings.told(odd, settings))
    dates = [name for name in names if pa.types.is_timestamp(batch.schema.field(name).type)]
    if said := on_dates(dates, settings):
        print(said)
    print(f"{SCHEMA.as_posix()}: {len(names)} columns; please review it")


if __name__ == "__main__":
    errors.run(main)
