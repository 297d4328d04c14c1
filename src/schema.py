"""`make schema`: infer data/schema.yaml from the raw table, for a person to review."""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from src.cleaning import CLEANING
from src.shared import cleaned, errors, files, findings, params, progress, raw, tables
from src.shared.paths import SCHEMA
from src.shared.spill import Spill, spilled

if TYPE_CHECKING:
    from pandera.pandas import Column, DataFrameSchema

# Text columns with no more values than this get the list of the values that are allowed.
MAX_CATEGORIES = 20

# Where the raw table waits while its columns are looked at one by one, each with all its rows.
SPILL = SCHEMA.with_name(".columns.arrow.tmp")


def infer(columns: Iterable[pd.Series], target: str, key: Sequence[str] = ()) -> "DataFrameSchema":
    """Infer a schema: types, missing values, ranges of numbers and dates, values of categories.

    Args:
        columns: those of the raw table without the dropped ones.
        target: the column to predict, which may not be missing.
        key: the columns that say which row is which, of which new rows have new values.
    """
    os.environ.setdefault("DISABLE_PANDERA_IMPORT_WARNING", "True")
    from pandera.pandas import Column, DataFrameSchema

    described = {
        str(column.name): Column(str(column.dtype))
        if column.name in key
        else _column(column, column.name == target)
        for column in columns
    }
    return DataFrameSchema(described, strict=True)


def to_yaml(schema: "DataFrameSchema") -> str:
    """Write a schema as a person would: `str` for text, whatever pandas keeps it in."""
    return re.sub(r"dtype: string.*", "dtype: str", str(schema.to_yaml()))


def _column(column: pd.Series, is_target: bool) -> "Column":
    from pandera.pandas import Check, Column

    checks, known = [], column.dropna()
    if pd.api.types.is_string_dtype(column):
        if known.nunique() <= MAX_CATEGORIES:
            checks = [Check.isin(sorted(known.unique()))]
    elif not pd.api.types.is_bool_dtype(column) and not known.empty:
        checks = [Check.in_range(*_ends(known))]
    nullable = bool(column.isna().any()) and not is_target
    return Column(str(column.dtype), checks, nullable=nullable)


def _ends(known: pd.Series) -> tuple[Any, Any]:
    """Return the least and the greatest value as types that YAML knows."""
    ends = known.min(), known.max()
    return ends if isinstance(ends[0], pd.Timestamp) else (ends[0].item(), ends[1].item())


def read_column(spill: Spill, name: str) -> pd.Series:
    """Read a column as `tables.read_split` would give it."""
    table = pa.table({name: spill.column(name)})
    gaps = [name] if table[name].null_count else []
    return tables.to_frame(table.cast(tables.marked(table.schema, gaps, {})))[name]


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
        columns = (read_column(spill, name) for name in names)
        text = to_yaml(infer(columns, data.target, data.key or ()))
        draft.write_text(text, encoding="utf-8", newline="\n")
        if SCHEMA.exists() and SCHEMA.read_bytes() != draft.read_bytes():
            old = SCHEMA.with_name("schema.old.yaml")
            shutil.copyfile(SCHEMA, old)
            print(f"{SCHEMA.as_posix()}: the earlier one is now {old.as_posix()}")
        sample, odd = findings.sample_rows(read_column(spill, data.target), settings), []
        for name in tqdm(names, "look at the columns", unit=" columns", delay=2, disable=None):
            column = read_column(spill, name)
            odd += findings.find_in(column, sample, settings, inferred=True)
    if odd:
        print(findings.told(odd, settings))
    print(f"{SCHEMA.as_posix()}: {len(names)} columns; please review it")


if __name__ == "__main__":
    errors.run(main)
