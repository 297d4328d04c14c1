"""One field of CSV as a value: what stands for a missing one, what is a number, a date.

The one place that says so: the pipeline reads whole columns by the same patterns (columns.py), the
service and the template's check of a new project's data read field by field. Only the standard
library.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["text", "whole", "number", "boolean", "date"]
Value = str | int | float | bool | datetime

# Around a field these are no part of it; the last one is the no-break space of spreadsheets.
BLANKS = " \t\r\n\v\f\u00a0"

# Texts that stand for a missing value. `data.missing` in params.yaml adds to them.
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"}
    | {"-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
)

# Patterns for the whole of a field, in the syntax that Python's `re` and Arrow's RE2 share.
NUMBER = r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf|infinity|nan))"
WHOLE = r"[+-]?[0-9]+(\.0*)?"  # 2.0 too: pandas writes whole numbers so where some are missing
BOOLEAN = r"(?i:true|false|1|0)"
ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
DATE = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([ T][0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)?" + ZONE + "?)?"
)
LEADING_ZERO = r"[+-]?0[0-9]+(\.[0-9]*)?"  # 00501: a code, not a number


@dataclass(frozen=True)
class Format:
    """How a CSV file is written, and what stands for a missing value in it or in a Parquet file.

    Attributes:
        separator: the sign between two fields.
        decimal: the sign before a number's fraction, "." or ",".
        encoding: the name of a Python codec.
        missing: texts that stand for a missing value, besides those that always do.
    """

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()

    @property
    def absent(self) -> frozenset[str]:
        """All texts that stand for a missing value in CSV."""
        return MISSING | set(self.missing)


def read(
    text: str, kind: Kind, missing: Collection[str] = MISSING, decimal: str = "."
) -> Value | None:
    """Return the value that a field holds.

    Args:
        text: the field, without quotes around it.
        kind: what its column holds.
        missing: the texts that stand for a missing value.
        decimal: the sign before a number's fraction, "." or ",".

    Returns:
        None for a missing value; a date without a time zone, in UTC where the text has a zone.

    Raises:
        ValueError: the text is no such value. The message says what it must be.
    """
    text = text.strip(BLANKS)
    if text in missing:
        return None
    if kind == "text":
        return text
    if kind == "boolean":
        if not re.fullmatch(BOOLEAN, text):
            raise ValueError("must be true or false")
        return text.lower() in ("true", "1")
    return _date(text) if kind == "date" else _number(text, kind, decimal)


def infer(texts: Collection[str], decimal: str = ".") -> Kind:
    """Return what texts hold: the narrowest kind that takes all of them without a loss.

    Codes with leading zeros, and whole numbers that no type holds exactly, are text.

    Args:
        texts: none with blanks around it, and none that stands for a missing value.
        decimal: the sign before a number's fraction.
    """
    if not texts:
        return "number"
    if _all(texts, BOOLEAN) and not _all(texts, "[01]"):
        return "boolean"
    kind: Kind
    numbers = [_with_point(text, decimal) for text in texts]
    if _all(numbers, NUMBER) and not any(re.fullmatch(LEADING_ZERO, text) for text in texts):
        kind = "whole" if _all(numbers, "[+-]?[0-9]+") else "number"
    else:
        kind = "date" if _all(texts, DATE) else "text"
    try:
        for text in texts:
            read(text, kind, (), decimal)
    except ValueError:
        return "text"
    return kind


def _all(texts: Collection[str], pattern: str) -> bool:
    return all(re.fullmatch(pattern, text) for text in texts)


def _with_point(text: str, decimal: str) -> str:
    # 1.234,5 is no number
    return text if decimal == "." else text.replace(".", "?").replace(decimal, ".")


def _number(text: str, kind: Kind, decimal: str) -> int | float | None:
    text = _with_point(text, decimal)
    if kind == "whole":
        if not re.fullmatch(WHOLE, text):
            raise ValueError("must be a whole number")
        whole = int(text.partition(".")[0])
        if not -(2**63) <= whole < 2**63:
            raise ValueError("must be a whole number of 64 bits")
        return whole
    if not re.fullmatch(NUMBER, text):
        raise ValueError("must be a number")
    number = float(text)
    if re.fullmatch(WHOLE, text) and abs(number) >= 2**53 and int(text.partition(".")[0]) != number:
        raise ValueError("must be a number that a float64 holds exactly")
    return None if math.isnan(number) else number


def _date(text: str) -> datetime:
    if not re.fullmatch(DATE, text):
        raise ValueError("must be a date, such as 2024-03-01 or 2024-03-01T12:00")
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        raise ValueError("must be a date that exists, such as 2024-03-01") from None
