"""Cleaning batch by batch: the owner's functions of a DataFrame, held to what batches need."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from src.shared import columns, tables
from src.shared.columns import TYPES
from src.shared.errors import UserError
from src.shared.fields import Kind
from src.shared.raw import Kinds
from src.shared.wording import are, counted

if TYPE_CHECKING:
    import pandas as pd

WHERE = "src/cleaning.py"
TRIED = 1000  # rows of the first batch that are also cleaned in parts

Functions = Sequence[Callable[["pd.DataFrame"], "pd.DataFrame"]]


def clean(
    batches: Iterator[pa.RecordBatch], functions: Functions, kinds: Kinds
) -> Iterator[pa.RecordBatch]:
    """Clean a table batch by batch, so that the result does not depend on where a batch ends.

    Args:
        batches: of the raw table.
        functions: `CLEANING` of src/cleaning.py. Where there is none, the batches stay as they are.
        kinds: what the columns are to hold afterwards. What it does not name holds in every batch
            what it holds in the first one.

    Raises:
        UserError: a function returns no table, or not the same columns and types for each batch;
            or what it makes of a row depends on the rows beside it.
    """
    if not functions:
        yield from batches
        return
    start, kept, wanted, names = 0, 0, dict(kinds), None
    for batch in batches:
        cleaned = _clean(batch, start, functions, wanted)
        if names is None:
            names = cleaned.schema.names
            wanted = {field.name: columns.kind_of_type(field.type) for field in cleaned.schema}
            _require_alone(batch, functions, wanted)
        elif cleaned.schema.names != names:
            raise UserError(
                f"{WHERE}: gives other columns from row {start + 1} on "
                f"({tables.listed(cleaned.schema.names)[:200]}) than before "
                f"({tables.listed(names)[:200]}); the columns must not depend on the rows"
            )
        start += len(batch)
        kept += len(cleaned)
        yield cleaned
    if kept < start:
        print(f"{counted(start - kept, 'row')} {are(start - kept)} left out by {WHERE}")


def _clean(batch: pa.RecordBatch, start: int, functions: Functions, kinds: Kinds) -> pa.RecordBatch:
    """Clean the rows of a batch, which begin at a row of the whole table."""
    import pandas as pd

    every = pa.schema([field.with_nullable(True) for field in batch.schema])
    # The same types in every batch, whether it has missing values or not.
    frame = tables.to_frame(pa.Table.from_batches([batch]).cast(every))
    frame.index = pd.RangeIndex(start, start + len(frame))
    for function in functions:
        frame = function(frame)
        if not isinstance(frame, pd.DataFrame):
            name = getattr(function, "__name__", function)
            raise UserError(f"{WHERE}: {name} returns {type(frame).__name__}, not a DataFrame")
    tables.require_distinct([str(name) for name in frame.columns], WHERE)
    values = [_column(frame[name], kinds.get(str(name))) for name in frame.columns]
    return pa.RecordBatch.from_arrays(values, [str(name) for name in frame.columns])


def _column(column: "pd.Series", kind: Kind | None) -> pa.Array:
    """Turn a column into values of its kind, or of the one that its type stands for."""
    found = columns.kind_of(str(column.dtype))
    turned = found and _turned(column, found, kind or found)
    if turned is not None:
        return turned
    wanted = f", where {TYPES[kind]} is to be" if kind else ""
    raise UserError(
        f"{WHERE}: column '{column.name}' comes as {column.dtype}{wanted}, by data/schema.yaml or "
        "the rows before; give it one type, such as by astype, or run `make schema`"
    )


def _turned(column: "pd.Series", found: Kind, kind: Kind) -> pa.Array | None:
    """Return the values of a column as another kind, or None where that would lose something."""
    try:
        values = pa.Array.from_pandas(column)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if values.null_count == len(values):
            return pa.nulls(len(values), TYPES[kind])
        if found == "text":
            if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
                return None  # objects of another kind
            values = columns.clean(values.cast(pa.string()), {""})
        elif found == "number":
            values = columns.without_nan(values.cast(pa.float64()))
        elif found == "date":
            values = values.cast(pa.timestamp("us"), safe=False)
        if found == kind or {found, kind} == {"whole", "number"}:
            return values.cast(TYPES[kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        pass
    return None


def _require_alone(batch: pa.RecordBatch, functions: Functions, kinds: Kinds) -> None:
    """Check that what is made of some rows is the same when they come in two parts."""
    rows = batch.slice(0, TRIED)
    cut = len(rows) // 3
    if not cut:
        return
    once = pa.Table.from_batches([_clean(rows, 0, functions, kinds)])
    parts = [(rows.slice(0, cut), 0), (rows.slice(cut), cut)]
    try:
        twice = pa.Table.from_batches([_clean(*part, functions, kinds) for part in parts])
    except pa.ArrowInvalid:  # other columns
        twice = once.slice(0, 0)
    other = [name for name in once.column_names if not _alike(once[name], twice[name])]
    if other:
        raise UserError(
            f"{WHERE}: what becomes of {tables.listed(other)[:200]} in a row depends on the rows "
            "beside it, and so on where a part of the table ends; look at one row at a time"
        )


def _alike(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if len(one) != len(other) or not pa.types.is_floating(one.type):
        return bool(one.equals(other))
    return bool(np.allclose(one.to_numpy(), other.to_numpy(), rtol=1e-9, atol=0, equal_nan=True))
