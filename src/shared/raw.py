"""Reading the raw table: a CSV or Parquet file, each column as data/schema.yaml says."""

import contextlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from src.shared import columns, fields, lines, tables, unreadable
from src.shared.columns import TYPES
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.lines import BLOCK, RefusedError
from src.shared.params import Data
from src.shared.paths import SCHEMA
from src.shared.unreadable import in_data

Kinds = Mapping[str, Kind | None]

PLAIN = Format()
FEWEST = 10  # rows from which on it is no chance that numbers count them


def read(data: Data, kinds: Kinds | None = None) -> pa.Table:
    """Read the raw table that params.yaml names, without the dropped columns; see `read_raw`."""
    missing = tuple(str(text).strip(BLANKS) for text in data.missing)
    form = Format(data.separator, data.decimal, data.encoding, missing)
    return read_raw(Path(data.raw), data.drop, form, kinds)


def read_raw(
    path: Path, drop: Iterable[str] = (), form: Format = PLAIN, kinds: Kinds | None = None
) -> pa.Table:
    """Read a raw table.

    Args:
        path: a `.csv` (one header line) or `.parquet` file.
        drop: names of columns to leave out.
        form: how it is written.
        kinds: what the columns hold (see `read_kinds`). What it does not name is inferred.

    Returns:
        At least one row, distinct column names, and only the types int64, float64, bool, string
        and timestamp. A column is nullable if values are missing.

    Raises:
        UserError: the file cannot be read as such a table, or a column is not what `kinds` says.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise UserError(f"{path.as_posix()}: not a .csv or .parquet file (set data.raw)")
    if not path.exists():
        raise UserError(f"{path.as_posix()}: not found; run `dvc pull`, or put your data there")
    if not path.stat().st_size:
        raise UserError(f"{path.as_posix()}: the file is empty")
    try:
        table = readers[path.suffix](path, list(dict.fromkeys(drop)), form, kinds or {})
    except RefusedError as refused:
        raise unreadable.as_error(path, refused) from None
    except (pa.ArrowInvalid, OSError) as error:  # OSError: a Parquet file cut short
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{path.as_posix()}: cannot be read: {reason}") from None
    if not table.num_rows:
        raise UserError(f"{path.as_posix()}: has a header but no rows")
    return tables.mark_gaps(table)


def read_kinds() -> Kinds:
    """Read from data/schema.yaml what each column holds.

    Returns:
        For each column its kind, or None where the schema names no type that is read so.

    Raises:
        UserError: the schema is missing or is not one.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not SCHEMA.exists():
        raise UserError(f"{SCHEMA.as_posix()}: not found; infer one with `make schema`")
    try:
        described = YAML(typ="safe").load(SCHEMA.read_text(encoding="utf-8"))["columns"]
        return {
            str(name): columns.kind_of(str((column or {}).get("dtype", "")))
            for name, column in described.items()
        }
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f"{SCHEMA.as_posix()}: not a Pandera schema; mend it, or infer one with `make schema`"
        ) from None


def _read_csv(path: Path, drop: list[str], form: Format, kinds: Kinds) -> pa.Table:
    """Read a CSV file as text, block by block, and turn each block into values."""
    quotes = lines.check_quotes(path, form)
    read = pa.csv.ReadOptions(block_size=BLOCK, encoding=form.encoding)
    parse = pa.csv.ParseOptions(
        delimiter=form.separator,
        newlines_in_values=quotes > 0,  # which takes time
    )
    try:
        header = pa.csv.open_csv(path, read, parse).schema.names
        names = [name.strip(BLANKS) for name in header]
        if len(names) == 1:
            lines.check_separator(path, names[0], form)
        kept = _kept(names, drop, path)
        convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            include_columns=[header[names.index(name)] for name in kept],
            strings_can_be_null=False,
        )
        blocks, zeros = [], Counter[str]()
        for block in pa.csv.open_csv(path, read, parse, convert):
            texts = dict(zip(kept, block.columns, strict=True))
            values = [_values(path, name, texts[name], kinds.get(name), form) for name in kept]
            blocks.append(pa.RecordBatch.from_arrays(values, kept))
            for name in kept:
                if kinds.get(name) in ("whole", "number"):
                    zeros[name] += columns.count(texts[name], fields.LEADING_ZERO)
    except (UnicodeError, pa.ArrowInvalid) as error:
        if re.search(r"CSV parse error: (Row #\d+: )?Expected", str(error)):
            deque(lines.rows_of(path, form), maxlen=0)  # which names the line
        if isinstance(error, UnicodeError):
            raise lines.other_encoding(path, form, "header") from None
        if bad := re.match(r"In CSV column #(\d+): .*UTF8", str(error)):
            where = f"column '{names[int(bad[1])]}'"
            raise lines.other_encoding(path, form, where) from None
        raise
    if not blocks:
        raise UserError(f"{path.as_posix()}: has a header but no rows")
    table = pa.Table.from_batches(blocks)
    for at, name in enumerate(kept):
        if not kinds.get(name):
            kind = columns.infer(table[name], form.decimal)
            table = table.set_column(
                at, name, columns.from_text(table[name], kind, (), form.decimal)
            )
    found = {name: str(count) for name, count in zeros.items() if count}
    return tables.with_notes(table, tables.ZEROS, found)


def _values(path: Path, name: str, texts: pa.Array, kind: Kind | None, form: Format) -> pa.Array:
    """Turn a block of a column into values; without a kind it stays text."""
    try:
        return columns.from_text(texts, kind or "text", form.absent, form.decimal)
    except pa.ArrowInvalid:
        whole = unreadable.read_column(path, name, form)
        unreadable.refuse_column(path, name, kind or "text", whole, form)


def _kept(names: list[str], drop: list[str], path: Path) -> list[str]:
    """Return the names of the columns that are not dropped."""
    tables.require_distinct(names, path.as_posix())
    for name in drop:
        tables.require_column(name, names, path, "data.drop")
    return [name for name in names if name not in drop]


def _read_parquet(path: Path, drop: list[str], form: Format, kinds: Kinds) -> pa.Table:
    """Read a Parquet file, and note which columns are the index of a pandas table."""
    table = pa.parquet.read_table(path)
    try:
        index = json.loads(table.schema.metadata[b"pandas"])["index_columns"]
    except (KeyError, TypeError, ValueError):
        index = []
    kept = _kept(table.column_names, drop, path)
    values = [as_kind(path, name, table[name], kinds.get(name), form) for name in kept]
    found = {name: "pandas" for name in index if isinstance(name, str)}
    return tables.with_notes(pa.table(values, kept), tables.INDEX, found)


def as_kind(
    path: Path, name: str, column: pa.ChunkedArray, kind: Kind | None, form: Format
) -> pa.ChunkedArray:
    """Cast a column of a Parquet file to what the schema says it holds, if that loses nothing.

    Raises:
        UserError: it would.
    """
    column = _plain(path, name, column)
    if pa.types.is_string(column.type):
        column = columns.clean(column, {"", *form.missing})
        try:
            return columns.from_text(column, kind or "text", (), form.decimal)
        except pa.ArrowInvalid:
            unreadable.refuse_column(path, name, kind or "text", column, form)
    column = _without_numbers(column, form)
    if kind is None or column.type == TYPES[kind]:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), TYPES[kind])])
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    discrete = pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    with contextlib.suppress(pa.ArrowInvalid):
        if (number and kind in ("whole", "number")) or (discrete and kind == "text"):
            return column.cast(TYPES[kind])
    raise UserError(
        f"{path.as_posix()}: column '{name}' is to hold {unreadable.NAMES[kind]}, but has the "
        f"type {column.type}, which cannot be turned into that without a loss; mend its dtype in "
        f"{SCHEMA.as_posix()}"
    )


def _without_numbers(column: pa.ChunkedArray, form: Format) -> pa.ChunkedArray:
    """Let numbers that stand for a missing value, such as -999, be missing."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        for text in form.missing:
            if re.fullmatch(fields.NUMBER, text):
                absent = pa.compute.equal(column, pa.scalar(float(text)))
                column = pa.compute.if_else(absent, pa.scalar(None, column.type), column)
    return column


def _plain(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cast a column of a Parquet file to one of the types that `read_raw` promises."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:  # beyond 64 bits with a sign: exact only as text
            return column.cast(pa.string())
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(kind):  # Parquet files may hold NaN beside null
        return columns.without_nan(column.cast(pa.float64()))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us"), safe=False)
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return column.cast(pa.string())
    if kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        try:  # Spark and others write text so, without saying that it is text
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            raise UserError(
                f"{path.as_posix()}: column '{name}' is not UTF-8 text; save the file as UTF-8, "
                "or add it to data.drop"
            ) from None
    raise UserError(
        f"{path.as_posix()}: column '{name}' has the type {kind}, which a model cannot take; "
        "add it to data.drop or convert it"
    )


def refuse_index(table: pa.Table, data: Data, known: Iterable[str | None]) -> None:
    """Stop where a column is surely no more than the number of its row.

    Args:
        table: as `read_raw` gives it, in the order of the file.
        data: for the message.
        known: columns that are no features, or that somebody has looked at.

    Raises:
        UserError: columns have no name, are pandas' index, or count the rows from 0 or 1.
    """
    looked_at, index = set(known), tables.notes(table.schema, tables.INDEX)
    found, nameless = {}, re.compile(r"|Unnamed: \d+(\.\d+)?")
    for at, name in enumerate(table.column_names, start=1):
        if name in looked_at:
            continue
        if nameless.fullmatch(name) and table[name].null_count == len(table):
            found[name] = f"column {at} has neither a name nor values: a separator ends the lines"
        elif nameless.fullmatch(name):
            found[name] = f"column {at} has no name, as the row numbers that pandas' to_csv writes"
        elif name in index:
            found[name] = f"column '{name}' is the index of a pandas table"
        elif _counts_rows(table[name]):
            found[name] = f"column '{name}' counts the rows in the file's order"
    if found:
        features = [name for name in found if not nameless.fullmatch(name)]
        accept = json.dumps(features, ensure_ascii=False)
        unless = f" (or, for features, `accept: {accept}` under validate)" if features else ""
        raise UserError(
            f"{data.raw}: {'; '.join(found.values())}. That tells nothing of rows to come: "
            f"{in_data('drop', [*data.drop, *found])}{unless}"
        )


def _counts_rows(column: pa.ChunkedArray) -> bool:
    """Say whether a column holds 0, 1, 2 ... or 1, 2, 3 ..."""
    rows = len(column)
    if rows < FEWEST or column.type != pa.int64() or column.null_count:
        return False
    first = column[0].as_py()
    if first not in (0, 1) or column[rows - 1].as_py() != first + rows - 1:
        return False
    return bool(np.array_equal(np.from_dlpack(column.combine_chunks()), first + np.arange(rows)))
