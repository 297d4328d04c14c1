"""Reading tables: raw CSV or Parquet files, and the splits that the pipeline makes of them."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from src.shared import files
from src.shared.errors import UserError
from src.shared.paths import DVC_LOCK

if TYPE_CHECKING:
    import pandas as pd

# Where pyarrow has it (Linux), it reads millions of rows in half the time that its default takes.
if "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())


def read_raw(path: Path, drop: Iterable[str] = ()) -> pa.Table:
    """Read the raw table.

    Args:
        path: a `.csv` (UTF-8, comma, one header line) or `.parquet` file.
        drop: names of columns to leave out.

    Returns:
        At least one row, distinct column names, and only the types int64, float64, bool, string
        and timestamp. Whole numbers and booleans with missing values become float64, so that
        each column has the same type in every split.

    Raises:
        UserError: the file cannot be read as such a table.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise UserError(f"{path.as_posix()}: not a .csv or .parquet file (set data.raw)")
    if not path.exists():
        raise UserError(f"{path.as_posix()}: not found; run `dvc pull`, or put your data there")
    if not path.stat().st_size:
        raise UserError(f"{path.as_posix()}: the file is empty")
    try:
        table = readers[path.suffix](path)
        names = table.column_names
    except UnicodeDecodeError:
        raise UserError(f"{path.as_posix()}: header is not UTF-8; save it as UTF-8") from None
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{path.as_posix()}: cannot be read: {reason}") from None
    except OSError as error:  # what Arrow raises for a Parquet file cut short
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{path.as_posix()}: cannot be read: {reason}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path.as_posix()}: column names stand twice: {', '.join(twice)}")
    for name in drop:
        require_column(name, names, path, "data.drop")
    table = table.drop_columns(list(dict.fromkeys(drop)))
    if not table.num_rows:
        raise UserError(f"{path.as_posix()}: has a header but no rows")
    columns = [_plain(table[name], name, path) for name in table.column_names]
    return pa.table(columns, names=table.column_names)


def _read_csv(path: Path) -> pa.Table:
    """Read a CSV file, with empty fields and the usual markers (NA, null, ...) as missing."""
    with path.open("rb") as file:
        quotes = sum(part.count(b'"') for part in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2:  # pyarrow would take the rest of the file for one field
        raise UserError(f"{path.as_posix()}: a quoted field is not closed: {quotes} quotes in all")
    # Fields of several lines need quotes, and time.
    parse = pa.csv.ParseOptions(newlines_in_values=quotes > 0)
    convert = pa.csv.ConvertOptions(strings_can_be_null=True)
    return pa.csv.read_csv(path, parse_options=parse, convert_options=convert)


def _read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file, without the index that pandas may have written along."""
    table = pa.parquet.read_table(path).replace_schema_metadata()
    index = [name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)]
    return table.drop_columns(index)


def _plain(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Cast a column to one of the types that `read_raw` promises."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_boolean(kind):
        return column.cast(pa.float64()) if column.null_count else column
    if pa.types.is_integer(kind) and kind != pa.uint64() and not column.null_count:
        return column.cast(pa.int64())
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        missing = pa.compute.is_nan(column)  # Parquet files may hold NaN beside null
        return (
            pa.compute.if_else(missing, None, column) if pa.compute.any(missing).as_py() else column
        )
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us"), safe=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_binary(kind):
        raise UserError(
            f"{path.as_posix()}: column '{name}' is not UTF-8 text; save the file as UTF-8"
        )
    raise UserError(
        f"{path.as_posix()}: column '{name}' has the type {kind}, which a model cannot take; "
        "add it to data.drop or convert it"
    )


def read_split(path: Path, *columns: str) -> "pd.DataFrame":
    """Read one of the splits that `prepare` writes.

    Args:
        path: the split's file.
        columns: names of columns that it must have.

    Raises:
        UserError: the file is missing, is not the one that dvc.lock names, is not a Parquet file or
            lacks one of the columns.
    """
    files.require_recorded(path, DVC_LOCK, "run `dvc repro -f prepare`")
    try:
        frame = pa.parquet.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid):
        raise UserError(f"{path.as_posix()}: missing or damaged; run `dvc repro`") from None
    lacking = ", ".join(name for name in columns if name not in frame)
    if lacking:
        raise UserError(f"{path.as_posix()}: lacks the column {lacking}; run `dvc repro`")
    return frame


def require_column(name: str, names: Iterable[str], path: Path, setting: str) -> None:
    """Stop with the nearest right name where a table lacks a column.

    Args:
        name: the column that is looked for.
        names: the columns that the table has.
        path: the table's file, for the message.
        setting: the key of params.yaml that names the column, for the message.

    Raises:
        UserError: `name` is not among `names`.
    """
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(names)[:200]}"
        raise UserError(f"{path.as_posix()}: no column '{name}' ({setting} in params.yaml); {hint}")
