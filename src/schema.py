"""`make schema`: infer data/schema.yaml from the raw table, for a person to review."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.shared import errors, files, params, tables
from src.shared.paths import SCHEMA

if TYPE_CHECKING:
    from pandera.pandas import Column, DataFrameSchema

# Text columns with no more values than this get the list of the values that are allowed.
MAX_CATEGORIES = 20


def infer(frame: pd.DataFrame, target: str) -> "DataFrameSchema":
    """Infer a schema: types, missing values, ranges of numbers and dates, values of categories.

    Args:
        frame: the raw table without the dropped columns.
        target: the column to predict, which may not be missing.
    """
    os.environ.setdefault("DISABLE_PANDERA_IMPORT_WARNING", "True")
    from pandera.pandas import DataFrameSchema

    columns = {name: _column(frame[name], name == target) for name in frame.columns}
    return DataFrameSchema(columns, strict=True)


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
    data = params.load().data
    raw = Path(data.raw)
    frame = tables.read_raw(raw, data.drop).to_pandas()
    tables.require_column(data.target, frame.columns, raw, "data.target")
    text = str(infer(frame, data.target).to_yaml())
    with files.replacing(SCHEMA) as (draft,):
        draft.write_text(text, encoding="utf-8", newline="\n")
        if SCHEMA.exists() and SCHEMA.read_bytes() != draft.read_bytes():
            old = SCHEMA.with_name("schema.old.yaml")
            shutil.copyfile(SCHEMA, old)
            print(f"{SCHEMA.as_posix()}: the earlier one is now {old.as_posix()}")
    print(f"{SCHEMA.as_posix()}: {frame.shape[1]} columns; please review it")


if __name__ == "__main__":
    errors.run(main)
