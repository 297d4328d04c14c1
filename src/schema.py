"""`make schema`: infer data/schema.yaml from the raw table, for a person to review."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.shared import errors, files, findings, params, raw, tables
from src.shared.paths import SCHEMA

if TYPE_CHECKING:
    from pandera.pandas import Column, DataFrameSchema

# Text columns with no more values than this get the list of the values that are allowed.
MAX_CATEGORIES = 20


def infer(frame: pd.DataFrame, target: str, key: Sequence[str] = ()) -> "DataFrameSchema":
    """Infer a schema: types, missing values, ranges of numbers and dates, values of categories.

    Args:
        frame: the raw table without the dropped columns.
        target: the column to predict, which may not be missing.
        key: the columns that say which row is which, of which new rows have new values.
    """
    os.environ.setdefault("DISABLE_PANDERA_IMPORT_WARNING", "True")
    from pandera.pandas import Column, DataFrameSchema

    columns = {
        name: Column(str(frame[name].dtype))
        if name in key
        else _column(frame[name], name == target)
        for name in frame.columns
    }
    return DataFrameSchema(columns, strict=True)


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


def main() -> None:
    """Write data/schema.yaml; an earlier one is kept as data/schema.old.yaml."""
    settings = params.load()
    data, path = settings.data, Path(settings.data.raw)
    table = raw.read(data)
    tables.require_column(data.target, table.column_names, path, "data.target")
    looked_at = (data.target, settings.prepare.column, *(data.key or ()), *settings.validate.accept)
    raw.refuse_index(table, data, looked_at)
    frame = tables.to_frame(table)
    text = to_yaml(infer(frame, data.target, data.key or ()))
    with files.replacing(SCHEMA) as (draft,):
        draft.write_text(text, encoding="utf-8", newline="\n")
        if SCHEMA.exists() and SCHEMA.read_bytes() != draft.read_bytes():
            old = SCHEMA.with_name("schema.old.yaml")
            shutil.copyfile(SCHEMA, old)
            print(f"{SCHEMA.as_posix()}: the earlier one is now {old.as_posix()}")
    if odd := findings.find(frame, settings, inferred=True):
        print(findings.told(odd, settings))
    print(f"{SCHEMA.as_posix()}: {frame.shape[1]} columns; please review it")


if __name__ == "__main__":
    errors.run(main)
