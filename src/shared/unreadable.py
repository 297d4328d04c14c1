"""Why a raw table cannot be read, in one line that says what to do."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from src.shared import columns, fields
from src.shared.columns import TYPES
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.lines import RefusedError
from src.shared.paths import SCHEMA

SHOWN = 5  # how many odd texts are told
MOST = 100_000  # distinct odd texts that are counted, the first ones

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


def refuse_column(
    path: Path, name: str, kind: Kind, column: Iterable[pa.Array], form: Format
) -> NoReturn:
    """Refuse a column that holds texts which are not of its kind.

    Args:
        path: the file, for the message.
        name: the column's.
        kind: what it is to hold.
        column: all of it as text, in parts.
        form: how it is written.
    """
    absent = form.absent if path.suffix.lower() == ".csv" else frozenset(["", *form.missing])
    counts, first, wrong, rows = Counter[str](), 0, 0, 0
    for part in column:
        try:
            columns.from_text(part, kind, absent, form.decimal)
        except pa.ArrowInvalid:
            known = [text and text.strip(BLANKS) for text in part.to_pylist()]
            odd = {text for text in set(known) if text and not _reads(text, kind, absent, form)}
            first = first or next((rows + at for at, one in enumerate(known, 1) if one in odd), 0)
            found = [text for text in known if text in odd]
            wrong += len(found)
            counts.update(text for text in found if text in counts or len(counts) < MOST)
        rows += len(part)
    odd = set(counts)
    values = [text for text, _ in counts.most_common(SHOWN)]
    shown = ", ".join(f"'{text[:30]}'" for text in values) + ", ..." * (len(odd) > SHOWN)
    dtype = f"its dtype in {SCHEMA.as_posix()}"
    if all(re.fullmatch(fields.WHOLE, text) for text in odd):
        fits = all(_reads(text, "whole", absent, form) for text in odd)
        exact = " (or int64 if it holds whole numbers only)" if fits else ""
        remedy = f"no {TYPES[kind]} holds that exactly; set {dtype} to str{exact}"
    elif kind == "whole" and all(_reads(text, "number", absent, form) for text in odd):
        remedy = f"set {dtype} to float64"
    elif wrong > rows / 2:
        dates = "write them as 2024-03-31, " if kind == "date" else ""
        remedy = f"{dates}or set {dtype} to what it holds".removeprefix("or " * (not dates))
    else:
        missing = in_data("missing", [*form.missing, *values])
        remedy = f"if they stand for a missing value, {missing}; else set {dtype} to str"
    raise UserError(
        f"{path.as_posix()}: column '{name}' is to hold {NAMES[kind]}, but {wrong} of "
        f"{rows} rows (first: row {first}) hold {shown}; {remedy}"
    )


def _reads(text: str, kind: Kind, absent: frozenset[str], form: Format) -> bool:
    try:
        fields.read(text, kind, absent, form.decimal)
    except ValueError:
        return False
    return True
