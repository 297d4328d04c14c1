"""Reading the raw table in batches: a CSV or Parquet file, or a folder of them."""

import contextlib
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from src import cleaning
from src.shared import columns, fields, lines, tables, unreadable
from src.shared.columns import TYPES
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.hashes import values_of
from src.shared.lines import BLOCK, RefusedError
from src.shared.params import Data
from src.shared.paths import SCHEMA
from src.shared.unreadable import in_data

Kinds = Mapping[str, Kind | None]

PLAIN = Format()
SUFFIXES = (".csv", ".parquet")
ROWS = 50_000  # of a Parquet file that are read at once; of a CSV file it is BLOCK bytes
FEWEST = 10  # rows from which on it is no chance that numbers count them
NAMELESS = re.compile(r"|Unnamed: \d+(\.\d+)?")


@dataclass(frozen=True)
class File:
    """A file of the raw table, its columns' names as they stand there, and its quotes if CSV."""

    path: Path
    header: list[str]
    quotes: int = 0

    @property
    def is_csv(self) -> bool:
        """Whether it is a CSV file; else it is a Parquet file."""
        return self.path.suffix.lower() == ".csv"


@dataclass
class Seen:
    """What was seen of the raw table while it was read.

    Attributes:
        rows: how many there were.
        zeros: for each column of numbers, how many were written as 007.
        empty: the columns without a value.
        counting: for each column that counts the rows so far, its next number. The count may begin
            anew with each file.
    """

    rows: int = 0
    zeros: Counter[str] = field(default_factory=Counter)
    empty: set[str] = field(default_factory=set)
    counting: dict[str, int] = field(default_factory=dict)

    def look(self, batch: pa.RecordBatch, is_first: bool) -> None:
        """Look at a batch; the first one of a file may begin to count anew."""
        names = batch.schema.names
        if not self.rows:
            self.empty, self.counting = set(names), dict.fromkeys(names, 0)
        self.empty -= {one for one in self.empty if batch[one].null_count < len(batch)}
        going_on = {}
        for name, expected in self.counting.items() if len(batch) else ():
            starts = {expected, 0, 1} if is_first else {expected}
            if (end := _count_on(batch[name], starts)) is not None:
                going_on[name] = end
        self.counting = going_on if len(batch) else self.counting
        self.rows += len(batch)


def _count_on(column: pa.Array, starts: set[int]) -> int | None:
    """Return the next number where a column counts on from one of the starts, else None."""
    if column.type != pa.int64() or column.null_count or column[0].as_py() not in starts:
        return None
    values = values_of(column)
    return int(values[-1]) + 1 if (np.diff(values) == 1).all() else None


@dataclass
class Raw:
    """The raw table, which is read as often as it is asked for batches.

    Attributes:
        path: the file or the folder, for messages.
        files: of the table, in their order.
        form: how they are written.
        kinds: for each column that is not dropped, what it holds.
        index: the columns that are the index of a pandas table.
        seen: what reading has seen, after the last batch.
    """

    path: Path
    files: list[File]
    form: Format
    kinds: dict[str, Kind]
    index: set[str] = field(default_factory=set)
    seen: Seen = field(default_factory=Seen)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order, each column with the type of its kind.

        Raises:
            UserError: a column is not what its kind says, or there are no rows.
        """
        self.seen = Seen()
        for file in self.files:
            read = _csv_batches if file.is_csv else _parquet_batches
            is_first = True
            for batch in _readable(file, read(file, self.kinds, self.form, self.seen.zeros)):
                self.seen.look(batch, is_first)
                is_first = is_first and not len(batch)
                yield batch
        if not self.seen.rows:
            raise UserError(f"{self.path.as_posix()}: has a header but no rows")

    @property
    def is_csv(self) -> bool:
        """Whether its files are CSV files; else they are Parquet files."""
        return self.files[0].is_csv

    @property
    def zeros(self) -> dict[str, str]:
        """The notes `tables.ZEROS` of its columns, after the last batch."""
        return {name: str(count) for name, count in self.seen.zeros.items() if count}


def read(data: Data, kinds: Kinds | None = None) -> pa.Table:
    """Read the raw table that params.yaml names as a whole; see `find` and `Raw.batches`."""
    return whole(find(data, kinds))


def read_raw(
    path: Path, drop: Iterable[str] = (), form: Format = PLAIN, kinds: Kinds | None = None
) -> pa.Table:
    """Read a raw table as a whole; see `find_raw` and `Raw.batches`."""
    return whole(find_raw(path, drop, form, kinds))


def whole(raw: Raw) -> pa.Table:
    """Return all rows of the raw table. A column is nullable if values are missing."""
    table = pa.Table.from_batches(list(raw.batches()))
    gaps = [name for name in table.column_names if table[name].null_count]
    return table.cast(tables.marked(table.schema, gaps, raw.zeros))


def find(data: Data, kinds: Kinds | None = None) -> Raw:
    """Find the raw table that params.yaml names; see `find_raw`."""
    missing = tuple(str(text).strip(BLANKS) for text in data.missing)
    form = Format(data.separator, data.decimal, data.encoding, missing)
    return find_raw(Path(data.raw), data.drop, form, kinds)


def find_raw(
    path: Path, drop: Iterable[str] = (), form: Format = PLAIN, kinds: Kinds | None = None
) -> Raw:
    """Find a raw table, and what its columns hold.

    Args:
        path: a `.csv` (one header line) or `.parquet` file, or a folder of such files of the same
            columns, which are read in the order of their names.
        drop: names of columns to leave out.
        form: how it is written.
        kinds: what the columns hold (see `read_kinds`). What it does not name is inferred from all
            rows: of CSV files in one more pass, which reads these columns only.

    Returns:
        A table of distinct column names, and only the types int64, float64, bool, string and
        timestamp.

    Raises:
        UserError: a file cannot be read as such a table, or has other columns than the first one.
    """
    files = [_file(one, form) for one in paths_of(path)]
    first = files[0]
    names = _names(first)
    tables.require_distinct(names, first.path.as_posix())
    for name in drop:
        tables.require_column(name, names, first.path, "data.drop")
    for file in files[1:]:
        _require_alike(file, first)
    kept = [name for name in names if name not in set(drop)]
    told = {name: kind for name in kept if (kind := (kinds or {}).get(name))}
    unknown = [name for name in kept if name not in told]
    infer = _infer_csv if first.is_csv else _infer_parquet
    found = told | infer(files, unknown, form)
    return Raw(path, files, form, {name: found[name] for name in kept}, _pandas_index(first))


def paths_of(path: Path) -> list[Path]:
    """List the files of a raw table in the order of their names.

    Args:
        path: a file, or a folder, in which other files and hidden ones do not count.

    Raises:
        UserError: there is none, or there are CSV and Parquet files.
    """
    if not path.exists():
        raise UserError(f"{path.as_posix()}: not found; run `dvc pull`, or put your data there")
    if not path.is_dir():
        if path.suffix not in SUFFIXES:
            raise UserError(f"{path.as_posix()}: not a .csv or .parquet file (set data.raw)")
        return [path]
    inside = (one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
    names = sorted(filter(is_table, inside))
    if not names:
        raise UserError(f"{path.as_posix()}: no .csv or .parquet file in this folder")
    if len({name.lower().endswith(".csv") for name in names}) > 1:
        raise UserError(f"{path.as_posix()}: has .csv and .parquet files; keep one of both kinds")
    return [path / name for name in names]


def is_table(name: str) -> bool:
    """Tell whether a file belongs to the table of its folder, which it is named from."""
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    return name.lower().endswith(SUFFIXES) and not hidden


def _file(path: Path, form: Format) -> File:
    """Look at the head of a file."""
    if not path.stat().st_size:
        raise UserError(f"{path.as_posix()}: the file is empty")
    with _told(path):
        if path.suffix.lower() == ".parquet":
            return File(path, pa.parquet.read_schema(path).names)
        quotes = lines.check_quotes(path, form)
        return File(path, *_header(path, form, quotes))


def _header(path: Path, form: Format, quotes: int) -> tuple[list[str], int]:
    with _csv_errors(path, form, []):
        header = pa.csv.open_csv(path, *_options(form, quotes)).schema.names
    if len(header) == 1:
        lines.check_separator(path, header[0].strip(BLANKS), form)
    return header, quotes


def _names(file: File) -> list[str]:
    """Return the names of a file's columns."""
    return [name.strip(BLANKS) for name in file.header] if file.is_csv else file.header


def _require_alike(file: File, first: File) -> None:
    """Check that a file has the columns of the first one, in their order."""
    names, wanted = _names(file), _names(first)
    if names == wanted:
        return
    lacking = [name for name in wanted if name not in names]
    other = [name for name in names if name not in wanted]
    parts = [f"lacks {tables.listed(lacking)}"] if lacking else []
    parts += [f"has {tables.listed(other)} besides"] if other else []
    at = next((at for at, pair in enumerate(zip(names, wanted), 1) if pair[0] != pair[1]), 0)  # noqa: B905
    if not parts and len(names) == len(wanted):
        parts = [f"column {at} is '{names[at - 1]}', and there '{wanted[at - 1]}'"]
    raise UserError(
        f"{file.path.as_posix()}: has other columns than {first.path.as_posix()}: "
        f"{'; '.join(parts or ['a name stands twice'])[:300]}; all files of the folder must have "
        "the same ones in the same order"
    )


def _pandas_index(file: File) -> set[str]:
    """Return the columns of a Parquet file that are the index of a pandas table."""
    if file.is_csv:
        return set()
    try:
        index = json.loads(pa.parquet.read_schema(file.path).metadata[b"pandas"])["index_columns"]
        return {name for name in index if isinstance(name, str)}
    except (KeyError, TypeError, ValueError):
        return set()


def read_kinds() -> Kinds:
    """Return what each column of the raw table holds, before anything is cleaned."""
    return as_read(schema_kinds())


def as_read(kinds: Kinds) -> Kinds:
    """Return what columns hold before they are cleaned.

    Args:
        kinds: what they hold afterwards.
    """
    return {**kinds, **{name: columns.kind_of(one) for name, one in cleaning.READ_AS.items()}}


def schema_kinds() -> Kinds:
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


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be read."""
    try:
        yield
    except RefusedError as refused:
        raise unreadable.as_error(path, refused) from None
    except (pa.ArrowInvalid, OSError) as error:  # OSError: a Parquet file cut short
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{path.as_posix()}: cannot be read: {reason}") from None


def _readable(file: File, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file; what goes wrong outside is none of its business."""
    while True:
        with _told(file.path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _options(form: Format, quotes: int) -> tuple[pa.csv.ReadOptions, pa.csv.ParseOptions]:
    read = pa.csv.ReadOptions(block_size=BLOCK, encoding=form.encoding)
    # Line ends in values take time.
    return read, pa.csv.ParseOptions(delimiter=form.separator, newlines_in_values=quotes > 0)


@contextlib.contextmanager
def _csv_errors(path: Path, form: Format, names: Sequence[str]) -> Iterator[None]:
    """Say what is wrong with a CSV file where Arrow does not."""
    try:
        yield
    except (UnicodeError, pa.ArrowInvalid) as error:
        if re.search(r"CSV parse error: (Row #\d+: )?Expected", str(error)):
            deque(lines.rows_of(path, form), maxlen=0)  # which names the line
        if isinstance(error, UnicodeError):
            raise lines.other_encoding(path, form, "header") from None
        if bad := re.match(r"In CSV column #(\d+): .*UTF8", str(error)):
            where = f"column '{names[int(bad[1])]}'"
            raise lines.other_encoding(path, form, where) from None
        raise


def _texts(file: File, wanted: Iterable[str], form: Format) -> Iterator[dict[str, pa.Array]]:
    """Yield the blocks of a CSV file: for each column that is wanted its texts."""
    names, wanted = _names(file), list(wanted)
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(file.header, pa.string()),
        include_columns=[file.header[names.index(name)] for name in wanted],
        strings_can_be_null=False,
    )
    with _csv_errors(file.path, form, names):
        for block in pa.csv.open_csv(file.path, *_options(form, file.quotes), convert):
            yield dict(zip(wanted, block.columns, strict=True))


def _csv_batches(
    file: File, kinds: Mapping[str, Kind], form: Format, zeros: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """Read a CSV file as text, block by block, and turn each block into values."""
    for texts in _texts(file, kinds, form):
        values = []
        for name, kind in kinds.items():
            try:
                values.append(columns.from_text(texts[name], kind, form.absent, form.decimal))
            except pa.ArrowInvalid:
                column = (block[name] for block in _texts(file, [name], form))
                unreadable.refuse_column(file.path, name, kind, column, form)
            if kind in ("whole", "number"):
                zeros[name] += columns.count_leading_zeros(texts[name])
        yield pa.RecordBatch.from_arrays(values, list(kinds))


def _infer_csv(files: list[File], names: list[str], form: Format) -> dict[str, Kind]:
    """Look at all rows of some columns for what they hold."""
    looks = {name: columns.Look(form.decimal) for name in names}
    for file in files if names else ():
        with _told(file.path):
            for texts in _texts(file, names, form):
                for name, look in looks.items():
                    look.at(columns.clean(texts[name], form.absent))
    return {name: look.kind for name, look in looks.items()}


def _blocks(file: File, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a Parquet file."""
    with pa.parquet.ParquetFile(file.path) as opened:
        for block in opened.iter_batches(ROWS, columns=names):
            yield block.select(names)  # `a` reads `a.b` as well


def _parquet_batches(
    file: File, kinds: Mapping[str, Kind], form: Format, _: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file, and turn each block into values."""
    for block in _blocks(file, list(kinds)):
        values = []
        for name, kind in kinds.items():
            again = partial(_blocks, file, [name])
            column = pa.chunked_array([block[name]])
            values.append(as_kind(file.path, name, column, kind, form, again).combine_chunks())
        yield pa.RecordBatch.from_arrays(values, list(kinds))


def _infer_parquet(files: list[File], names: list[str], form: Format) -> dict[str, Kind]:
    """Take the kinds of columns from their types, which must agree in all files."""
    found: dict[str, Kind] = {}
    types: dict[str, dict[Kind, Path]] = {name: {} for name in names}
    for file in files:
        with _told(file.path):
            schema = pa.parquet.read_schema(file.path)
            for name in names:
                if kind := _kind_of(file, schema.field(name)):
                    types[name].setdefault(kind, file.path)
    for name, kinds in types.items():
        if set(kinds) == {"whole", "number"}:  # pandas writes whole numbers so where some lack
            kinds.pop("whole")
        if len(kinds) > 1:
            (one, first), (other, second), *_ = kinds.items()
            raise UserError(
                f"{second.as_posix()}: column '{name}' holds {unreadable.NAMES[other]}, in "
                f"{first.as_posix()} {unreadable.NAMES[one]}; write it with one type in all files"
            )
        found[name] = next(iter(kinds), "number")
    return found


def _kind_of(file: File, column: pa.Field) -> Kind | None:
    """Return what a column of a Parquet file holds by its type; None if it has no values."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return None
    whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
    if whole and (kind == pa.uint64() or pa.types.is_decimal(kind)):
        blocks = (pa.chunked_array([block[0]]) for block in _blocks(file, [column.name]))
        plain = {_plain(file.path, column.name, block).type for block in blocks}
        return "text" if pa.string() in plain else "whole"
    empty = pa.chunked_array([pa.array([], kind)])
    return columns.kind_of_type(_plain(file.path, column.name, empty).type)


def as_kind(
    path: Path,
    name: str,
    column: pa.ChunkedArray,
    kind: Kind | None,
    form: Format,
    again: Callable[[], Iterable[pa.RecordBatch]] | None = None,
) -> pa.ChunkedArray:
    """Cast a column of a Parquet file to what the schema says it holds, if that loses nothing.

    Args:
        path: the file, for messages.
        name: the column's.
        column: all of it, or a part.
        kind: what it is to hold.
        form: what stands for a missing value.
        again: reads all of it again for a message, where `column` is a part.

    Raises:
        UserError: it would.
    """
    column = _plain(path, name, column)
    if pa.types.is_string(column.type):
        column = columns.clean(column, {"", *form.missing})
        try:
            return columns.from_text(column, kind or "text", (), form.decimal)
        except pa.ArrowInvalid:
            blocks = [column] if again is None else (pa.chunked_array([one[0]]) for one in again())
            whole = (_plain(path, name, block) for block in blocks)
            unreadable.refuse_column(path, name, kind or "text", whole, form)
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


def refuse_index(raw: Raw, data: Data, known: Iterable[str | None]) -> None:
    """Stop where a column is surely no more than the number of its row, after the last batch.

    Args:
        raw: the raw table, which was read.
        data: for the message.
        known: columns that are no features, or that somebody has looked at.

    Raises:
        UserError: columns have no name, are pandas' index, or count the rows from 0 or 1.
    """
    looked_at, found = set(known), {}
    counting = raw.seen.counting if raw.seen.rows >= FEWEST else {}
    for at, name in enumerate(raw.kinds, start=1):
        if name in looked_at:
            continue
        if NAMELESS.fullmatch(name) and name in raw.seen.empty:
            found[name] = f"column {at} has neither a name nor values: a separator ends the lines"
        elif NAMELESS.fullmatch(name):
            found[name] = f"column {at} has no name, as the row numbers that pandas' to_csv writes"
        elif name in raw.index:
            found[name] = f"column '{name}' is the index of a pandas table"
        elif name in counting:
            found[name] = f"column '{name}' counts the rows in the file's order"
    if found:
        features = [name for name in found if not NAMELESS.fullmatch(name)]
        accept = json.dumps(features, ensure_ascii=False)
        unless = f" (or, for features, `accept: {accept}` under validate)" if features else ""
        raise UserError(
            f"{data.raw}: {'; '.join(found.values())}. That tells nothing of rows to come: "
            f"{in_data('drop', [*data.drop, *found])}{unless}"
        )
