"""Why a raw table cannot be read, in one line that says what to do."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.csv

from src.shared import fields
from src.shared.columns import TYPES
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.paths import SCHEMA

BLOCK = 1 << 23  # bytes of CSV that are read at once: no field may be longer
SHOWN = 5  # how many odd texts are told

NAMES: dict[Kind, str] = {
    "text": "text",
    "whole": "whole numbers",
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates",
}


def in_data(key: str, value: Any) -> str:
    """Return the line to put into params.yaml, and where."""
    return f"set `{key}: {json.dumps(value, ensure_ascii=False)}` under data in params.yaml"


def count_quotes(path: Path, form: Format) -> int:
    """Count the quotes in a CSV file.

    Raises:
        UserError: one is not closed, or the file is in UTF-16 and the format says otherwise.
    """
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff") and "16" not in form.encoding:
            refuse_encoding(path, form)
        file.seek(0)
        quotes = sum(part.count(b'"') for part in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2:  # pyarrow would take the rest of the file for one field
        raise UserError(f"{path.as_posix()}: a quoted field is not closed: {quotes} quotes in all")
    return quotes


def check_separator(path: Path, name: str, form: Format) -> None:
    """Refuse a file whose only column holds what seems to be the separator."""
    found = next((sign for sign in ";\t|," if sign in name and sign != form.separator), None)
    if found is None:
        return
    with path.open(encoding=form.encoding, errors="replace") as file:
        lines = [line for line in (file.readline() for _ in range(9)) if line.strip()]
    comma = found != "," and form.decimal == "." and re.search(r"\d,\d", "".join(lines[1:]))
    also = ', and `decimal: ","` for its decimal commas' if comma else ""
    raise UserError(
        f"{path.as_posix()}: has one column, '{name[:80]}', so its separator seems to be another: "
        f"{in_data('separator', found)}{also}"
    )


def refuse_line(path: Path, form: Format) -> NoReturn:
    """Refuse the first line that has more or fewer fields than the header."""
    sign = form.separator
    with path.open(encoding=form.encoding, errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=sign)
        header = next(row for row in rows if row)
        row = next((row for row in rows if row and len(row) != len(header)), [])
    if len(header) == 1:
        check_separator(path, header[0], form)
    if not header[-1] and len(row) == len(header) - 1:
        why = f"the header ends with a '{sign}' and the line does not; take it away there"
    elif header[-1] and row and not row[-1]:
        why = f"the line ends with a '{sign}'; take it away"
    else:
        why = sign.join(row).strip()[:80]
    raise UserError(
        f"{path.as_posix()}: line {rows.line_num} has {len(row)} fields, the header has "
        f"{len(header)}: {why}"
    )


def refuse_encoding(path: Path, form: Format, where: str = "the file") -> NoReturn:
    """Refuse a file that is not in its encoding; say which one it seems to be in."""
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            guess, seen = "utf-16", ""
        else:
            file.seek(0)
            line, at = next(((line, at) for line in file if (at := _not_utf8(line)) >= 0), (b"", 0))
            part = line[max(at - 20, 0) : at + 20]
            guess = "latin-1" if set(part) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252"
            seen = f", where it holds '{part.decode(guess).strip()}'"
    raise UserError(
        f"{path.as_posix()}: {where} is not {form.encoding.upper()} text; it seems to be {guess}"
        f"{seen}: {in_data('encoding', guess)}, or save it as UTF-8"
    )


def _not_utf8(line: bytes) -> int:
    """Return where a line stops being UTF-8, or -1."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def read_column(path: Path, name: str, form: Format) -> pa.ChunkedArray:
    """Read one column of a CSV file as text."""
    read = pa.csv.ReadOptions(block_size=BLOCK, encoding=form.encoding)
    parse = pa.csv.ParseOptions(delimiter=form.separator, newlines_in_values=True)
    header = pa.csv.open_csv(path, read, parse).schema.names
    own = next(one for one in header if one.strip(BLANKS) == name)
    convert = pa.csv.ConvertOptions(include_columns=[own], column_types={own: pa.string()})
    return pa.csv.read_csv(path, read, parse, convert)[own]


def refuse_column(
    path: Path, name: str, kind: Kind, texts: pa.ChunkedArray, form: Format
) -> NoReturn:
    """Refuse a column that holds texts which are not of its kind."""
    absent = form.absent if path.suffix == ".csv" else frozenset(["", *form.missing])
    known = [text and text.strip(BLANKS) for text in texts.to_pylist()]
    odd = {text for text in set(known) if text and not _reads(text, kind, absent, form)}
    rows = [at for at, text in enumerate(known, start=1) if text in odd]
    values = [text for text, _ in Counter(text for text in known if text in odd).most_common(SHOWN)]
    shown = ", ".join(f"'{text[:30]}'" for text in values) + ", ..." * (len(odd) > SHOWN)
    dtype = f"its dtype in {SCHEMA.as_posix()}"
    if all(re.fullmatch(fields.WHOLE, text) for text in odd):
        fits = all(_reads(text, "whole", absent, form) for text in odd)
        exact = " (or int64 if it holds whole numbers only)" if fits else ""
        remedy = f"no {TYPES[kind]} holds that exactly; set {dtype} to str{exact}"
    elif kind == "whole" and all(_reads(text, "number", absent, form) for text in odd):
        remedy = f"set {dtype} to float64"
    elif len(rows) > len(known) / 2:
        dates = "write them as 2024-03-31, " if kind == "date" else ""
        remedy = f"{dates}or set {dtype} to what it holds".removeprefix("or " * (not dates))
    else:
        missing = in_data("missing", [*form.missing, *values])
        remedy = f"if they stand for a missing value, {missing}; else set {dtype} to str"
    raise UserError(
        f"{path.as_posix()}: column '{name}' is to hold {NAMES[kind]}, but {len(rows)} of "
        f"{len(known)} rows (first: row {rows[0]}) hold {shown}; {remedy}"
    )


def _reads(text: str, kind: Kind, absent: frozenset[str], form: Format) -> bool:
    try:
        fields.read(text, kind, absent, form.decimal)
    except ValueError:
        return False
    return True
