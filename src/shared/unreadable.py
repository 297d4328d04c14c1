"""Why a raw table cannot be read, in one line that says what to do."""

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
from src.shared.lines import BLOCK, RefusedError
from src.shared.paths import SCHEMA

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


def as_error(path: Path, refused: RefusedError) -> UserError:
    """Return the error that names the file, what is wrong with it, and the settings that help."""
    helps = [f"`{key}: {json.dumps(value)}`" for key, value in refused.settings.items()]
    remedy = f": set {', and '.join(helps)} under data in params.yaml" if helps else ""
    remedy += ", or save it as UTF-8" * ("encoding" in refused.settings)
    return UserError(f"{path.as_posix()}: {refused}{remedy}")


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
