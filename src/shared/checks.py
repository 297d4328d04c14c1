"""data/schema.yaml: reading it, and checking a table against it."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from src.shared.columns import kind_of
from src.shared.errors import UserError, plain
from src.shared.hashes import MISSING
from src.shared.paths import SCHEMA
from src.shared.tables import Split
from src.shared.texts import TextColumn, repeats

if TYPE_CHECKING:
    from pandera.errors import SchemaError
    from pandera.pandas import Column, DataFrameSchema

# What data/schema.yaml may say of a column, besides its checks.
SETTINGS = (
    *("title", "description", "dtype", "nullable", "checks", "unique", "coerce", "required"),
    *("regex", "default", "metadata", "report_duplicates", "drop_invalid_rows"),
)

# How many of the values that fail a check are told.
SHOWN = 5

# Of how many Pandera makes a table, 200 bytes each; it marks all of them.
CASES = 10_000

# The checks that look at each text alone.
BY_ROW = (
    *("isin", "notin", "equal_to", "not_equal_to", "str_matches", "str_contains"),
    *("str_startswith", "str_endswith", "str_length"),
)

# The checks of a table's columns, whose case is the column's name.
WHOLE = {"column_in_schema": "column is not in the schema", "column_in_dataframe": "missing"}


@dataclass(frozen=True)
class Violation:
    """One check that failed: where, which, in how many rows, with the first few values."""

    split: str
    column: str
    check: str
    rows: int
    values: str


def read_schema(drop: Iterable[str] = ()) -> "DataFrameSchema":
    """Read data/schema.yaml.

    Args:
        drop: columns that no stage sees, whatever the schema says of them.

    Raises:
        UserError: the schema is missing, is not one, or names a check that does not exist.
    """
    os.environ.setdefault("DISABLE_PANDERA_IMPORT_WARNING", "True")
    from pandera.pandas import DataFrameSchema

    if not SCHEMA.exists():
        raise UserError(f"{SCHEMA.as_posix()}: not found; infer one with `make schema`")
    try:
        schema = DataFrameSchema.from_yaml(SCHEMA)
    except Exception as error:  # whatever YAML, Pandera or a check's constructor raises
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{SCHEMA.as_posix()}: not a Pandera schema: {reason}") from error
    if not schema.columns:
        raise UserError(f"{SCHEMA.as_posix()}: names no column; infer one with `make schema`")
    if unknown := _unknown_keys():
        raise UserError(f"{SCHEMA.as_posix()}: {unknown}")
    for column in schema.columns.values():
        if kind_of(str(column.dtype)) == "text":  # a range of numbers is left of another type
            column.checks = [check for check in column.checks if check.name != "in_range"]
        for check in column.checks:
            check.n_failure_cases = CASES
    return schema.remove_columns([name for name in drop if name in schema.columns])


def table_violations(schema: "DataFrameSchema", table: Split, split: str) -> list[Violation]:
    """Check what a split has as a whole: its columns, and what the schema says of several of them.

    A check of the whole table, which `make schema` never writes, reads all of the split at once.

    Args:
        schema: data/schema.yaml.
        table: the split.
        split: its name.
    """
    from pandera.pandas import Column, DataFrameSchema

    bare = {
        name: Column(required=column.required, regex=column.regex)
        for name, column in schema.columns.items()
    }
    strict = schema.strict is True
    names = DataFrameSchema(bare, strict=strict, ordered=schema.ordered)
    found = _violations(names, table.none(), split)
    if together := [name for name in schema.unique or () if name in table.names]:
        unique = DataFrameSchema(unique=together, report_duplicates=schema.report_duplicates)
        found += _violations(unique, _equal_rows(table, together), split)
    if schema.checks or schema.index:
        whole = DataFrameSchema(checks=schema.checks, index=schema.index)
        found += _violations(whole, table.columns(), split)
    return found


def column_violations(
    schema: "DataFrameSchema", frame: pd.DataFrame, table: Split, split: str
) -> list[Violation]:
    """Check some columns of a split against the schema, all of their checks.

    A type need not be the schema's to the letter: `str` holds for text whatever pandas keeps it in,
    `int64` for whole numbers of which some are missing.

    Args:
        schema: data/schema.yaml.
        frame: the columns, all their rows.
        table: the split, for the columns by which a check groups the rows, if one does.
        split: its name.
    """
    part = _part(schema, frame)
    checks = [check for one in part.columns.values() for check in one.checks]
    groups = {
        group
        for check in checks
        for group in ([check.groupby] if isinstance(check.groupby, str) else check.groupby or ())
    }
    if others := groups - set(frame):
        frame = frame.join(table.columns(*others))
    return _violations(part, frame, split)


def _part(schema: "DataFrameSchema", frame: pd.DataFrame) -> "DataFrameSchema":
    """Return what the schema says of some columns, with their own types where these will do."""
    from pandera.pandas import DataFrameSchema

    own = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
    wanted = {
        key: one
        for key, one in schema.columns.items()
        if (any(re.match(key, name) for name in own) if one.regex else key in own)
    }
    alike = {
        name: {"dtype": own[name]}
        for name, one in wanted.items()
        if name in own and kind_of(own[name]) == kind_of(str(one.dtype)) is not None
    }
    part = DataFrameSchema(wanted, dtype=schema.dtype, coerce=schema.coerce)
    return part.update_columns(alike)


def _equal_rows(table: Split, names: list[str]) -> pd.DataFrame:
    """Return the rows, but for their other columns, that are likely to equal another one."""
    hashes, start = np.empty(len(table), np.uint64), 0
    for batch in table.batches(*names):
        hashes[start : start + len(batch)] = pd.util.hash_pandas_object(batch, index=False)
        start += len(batch)
    wanted = repeats(hashes) | repeats(hashes[::-1])[::-1]
    parts, start = [table.none()[names]], 0
    for batch in table.batches(*names):
        parts.append(batch[wanted[start : start + len(batch)]])
        start += len(batch)
    return pd.concat(parts, ignore_index=True)


def text_violations(
    schema: "DataFrameSchema", table: Split, column: TextColumn, split: str
) -> list[Violation]:
    """Check a text column of a split against the schema, as `column_violations` does.

    It is read in batches, unless a check looks at several rows or columns at once, or is not of a
    text; `make schema` writes none of these.

    Args:
        schema: data/schema.yaml.
        table: the split.
        column: of both splits, whose hashes tell whether a text is unique.
        split: "train" or "test".
    """
    name = column.name
    part = _part(schema, table.none()[[name]])
    if part.coerce or not all(map(_is_by_row, part.columns.values())):
        return column_violations(schema, table.columns(name), table, split)
    unique = [one.report_duplicates for one in part.columns.values() if one.unique]
    if unique:
        part = part.update_column(name, unique=False)
    found: dict[str, _Failure] = {}
    for batch in table.batches(name):
        for one in _failures(part, batch):
            found[one.check] = found[one.check].with_more(one) if one.check in found else one
    for report in unique:
        found |= {one.check: one for one in _repeated(column, split, report)}
    checks = [check.error or str(check) for one in part.columns.values() for check in one.checks]
    order = ["not_nullable", "field_uniqueness", *checks]  # Pandera's
    failures = sorted(found.values(), key=lambda one: order.index(one.check))
    return [one.told(split) for one in failures]


def _is_by_row(column: "Column") -> bool:
    """Tell whether each text can be checked alone, but for whether it is unique."""
    checks = [check for check in column.checks if check.name not in BY_ROW or check.groupby]
    text = column.dtype is None or kind_of(str(column.dtype)) == "text"
    return text and not (column.regex or column.coerce or column.drop_invalid_rows or checks)


def _repeated(column: TextColumn, split: str, report: str) -> Iterator["_Failure"]:
    """Find the texts that are not unique, without those rows that the schema does not report."""
    hashes, start = (column.train, 0) if split == "train" else (column.test, column.train_rows)
    again = np.zeros(len(hashes), bool)
    if report != "exclude_first":
        again |= repeats(hashes[::-1])[::-1]
    if report != "exclude_last":
        again |= repeats(hashes)
    if again.any():
        places = np.flatnonzero(again & (hashes != MISSING))
        _, first = np.unique(hashes[places], return_index=True)
        shown = column.take(places[np.sort(first)[: SHOWN + 1]] + start)
        yield _Failure(column.name, "field_uniqueness", len(places), shown)


@dataclass(frozen=True)
class _Failure:
    """A check that failed: as `Violation`, with the first few values, one more than are told."""

    column: str
    check: str
    rows: int
    values: list[Any]

    def with_more(self, other: "_Failure") -> "_Failure":
        """Return what is known of this check when it has failed in other rows as well."""
        values = list(dict.fromkeys([*self.values, *other.values]))
        return replace(self, rows=self.rows + other.rows, values=values[: SHOWN + 1])

    def told(self, split: str) -> Violation:
        """Return it as a violation of a split."""
        return Violation(split, self.column, self.check, self.rows, listed(self.values))


def _violations(schema: "DataFrameSchema", frame: pd.DataFrame, split: str) -> list[Violation]:
    return [one.told(split) for one in _failures(schema, frame)]


def _failures(schema: "DataFrameSchema", frame: pd.DataFrame) -> list[_Failure]:
    from pandera.errors import SchemaErrors

    try:
        # In place of a copy of all values, which takes longer than the checks.
        schema.validate(frame.copy(deep=False), lazy=True, inplace=True)
    except SchemaErrors as errors:
        return [_failure(error, frame) for error in errors.schema_errors]
    return []


def _failure(error: "SchemaError", frame: pd.DataFrame) -> _Failure:
    """Describe one check that failed; its cases are a table of values, or one value."""
    check = error.check if isinstance(error.check, str) else error.check.error or str(error.check)
    column, cases = str(error.column_name or error.schema.name or ""), error.failure_cases
    if check in WHOLE:
        return _Failure(str(cases), WHOLE[check], 0, [])
    table = isinstance(cases, pd.DataFrame)
    if check.startswith("dtype("):
        first = str(cases["failure_case"].iloc[0] if table else cases)
        return _Failure(column, f"type {check[7:-2]}", len(cases) if table else 0, [first])
    if not table:
        return _Failure(column, check, 0, [])
    values, rows = cases["failure_case"], cases["index"].nunique()
    if rows >= CASES and column and isinstance(passed := error.check_output, pd.Series):
        values = frame.loc[passed.index[~passed.astype(bool)], column]  # all of them
        rows = len(values)
    if not column:
        values = values.map(str)  # what a row holds in several columns
    if values.head(CASES).nunique() > SHOWN:
        values = values.head(CASES)
    if check == "multiple_fields_uniqueness":
        column = ", ".join(dict.fromkeys(cases["column"]))
    return _Failure(column, check, rows, list(values.unique()))


def _unknown_keys() -> str:
    """Name the keys of columns that are neither a setting nor a check: Pandera ignores them."""
    from pandera.pandas import Check
    from ruamel.yaml import YAML

    problems = []
    for column, content in YAML(typ="safe").load(SCHEMA)["columns"].items():
        for key in content:
            if key not in SETTINGS and not hasattr(Check, key):
                near = difflib.get_close_matches(key, [*SETTINGS, *dir(Check)], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                problems.append(f"unknown check {column}.{key}{hint}")
    return ", ".join(problems)


def listed(values: list[object]) -> str:
    """Return the first few values as text."""
    return ", ".join([*map(plain, values[:SHOWN]), *(["..."] if len(values) > SHOWN else [])])
