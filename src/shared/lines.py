"""A CSV file as lines of fields, and why it is none: for messages, and for the template's check.

The pipeline reads whole columns with Arrow (raw.py), thousands of times as fast. Only the standard
library.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path

from src.shared.fields import BLANKS, Format

BLOCK = 1 << 23  # bytes of CSV that are read at once: no field may be longer


class RefusedError(ValueError):
    """A CSV file that is not what its format says. The message says why, without the file's name.

    Attributes:
        settings: of the format, that the file seems to want; nothing where it must be mended.
    """

    def __init__(self, why: str, **settings: str) -> None:
        super().__init__(why)
        self.settings = settings


def rows_of(path: Path, form: Format) -> Iterator[list[str]]:
    """Yield the header and the rows of a CSV file; a row is a list of texts.

    Raises:
        RefusedError: it is not in this encoding, or has one column in which another separator
            stands, or a line with more or fewer fields than the header.
    """
    csv.field_size_limit(BLOCK)
    check_quotes(path, form)
    try:
        utf8 = codecs.lookup(form.encoding).name == "utf-8"
        with path.open(encoding="utf-8-sig" if utf8 else form.encoding, newline="") as file:
            lines = csv.reader(file, delimiter=form.separator)
            header = next(filter(None, lines), [])
            if len(header) == 1:
                check_separator(path, header[0].strip(BLANKS), form)
            yield header
            for row in filter(None, lines):
                if len(row) != len(header):
                    raise RefusedError(_ragged(header, row, lines.line_num, form.separator))
                yield row
    except UnicodeError:
        raise other_encoding(path, form) from None
    except csv.Error as error:
        raise RefusedError(f"cannot be read: {error}") from None


def _ragged(header: list[str], row: list[str], line: int, sign: str) -> str:
    """Describe a line that has more or fewer fields than the header."""
    if not header[-1] and len(row) == len(header) - 1:
        why = f"the header ends with a '{sign}' and the line does not; take it away there"
    elif header[-1] and not row[-1]:
        why = f"the line ends with a '{sign}'; take it away"
    else:
        why = sign.join(row).strip()[:80]
    return f"line {line} has {len(row)} fields, the header has {len(header)}: {why}"


def check_quotes(path: Path, form: Format) -> int:
    """Count the quotes in a CSV file.

    Raises:
        RefusedError: one is not closed, or the file is in UTF-16 and the format says otherwise.
    """
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff") and "16" not in form.encoding:
            raise other_encoding(path, form)
        file.seek(0)
        quotes = sum(part.count(b'"') for part in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2:  # else the rest of the file would be taken for one field
        raise RefusedError(f"a quoted field is not closed: {quotes} quotes in all")
    return quotes


def check_separator(path: Path, name: str, form: Format) -> None:
    """Refuse a file whose only column holds what seems to be the separator.

    Raises:
        RefusedError: its name does. The settings name the separator, and a decimal comma.
    """
    found = next((sign for sign in ";\t|," if sign in name and sign != form.separator), None)
    if found is None:
        return
    with path.open(encoding=form.encoding, errors="replace") as file:
        lines = [line for line in (file.readline() for _ in range(9)) if line.strip()]
    comma = found != "," and form.decimal == "." and re.search(r"\d,\d", "".join(lines[1:]))
    raise RefusedError(
        f"has one column, '{name[:80]}', so its separator seems to be another",
        separator=found,
        **({"decimal": ","} if comma else {}),
    )


def other_encoding(path: Path, form: Format, where: str = "the file") -> RefusedError:
    """Describe a file that is not in its encoding; the settings name the one it seems to be in."""
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            guess, seen = "utf-16", ""
        else:
            file.seek(0)
            line, at = next(((line, at) for line in file if (at := _not_utf8(line)) >= 0), (b"", 0))
            part = line[max(at - 20, 0) : at + 20]
            guess = "latin-1" if set(part) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252"
            seen = f", where it holds '{part.decode(guess).strip()}'" if part else ""
            guess = guess if part else "utf-8"
    return RefusedError(
        f"{where} is not {form.encoding.upper()} text; it seems to be {guess}{seen}", encoding=guess
    )


def _not_utf8(line: bytes) -> int:
    """Return where a line stops being UTF-8, or -1."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1
