"""data/schema.yaml: reading it, and checking a table against it."""

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from src.shared.columns import kind_of
from src.shared.errors import UserError, plain
from src.shared.paths import SCHEMA
from src.shared.tables import Split

if TYPE_CHECKING:
    from pandera.errors import SchemaError
    from pandera.pandas import DataFrameSchema

# What data/schema.yaml may say of a column, besides its checks.
SETTINGS = (
    *("title", "description", "dtype", "nullable", "checks", "unique", "coerce", "required"),
    *("regex", "default", "metadata", "report_duplicates", "drop_invalid_rows"),
)

# How many of the values that fail a check are told.
SHOWN = 5

# Of how many Pandera makes a table, 200 bytes each; it marks all of them.
CASES = 10_000

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
        found += _violations(unique, table.columns(*together), split)
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
    groups = {
        group
        for one in wanted.values()
        for check in one.checks
        for group in ([check.groupby] if isinstance(check.groupby, str) else check.groupby or ())
    }
    if others := groups - own.keys():
        frame = frame.join(table.columns(*others))
    return _violations(part.update_columns(alike), frame, split)


def _violations(schema: "DataFrameSchema", frame: pd.DataFrame, split: str) -> list[Violation]:
    from pandera.errors import SchemaErrors

    try:
        # In place of a copy of all values, which takes longer than the checks.
        schema.validate(frame.copy(deep=False), lazy=True, inplace=True)
    except SchemaErrors as errors:
        return [_violation(error, frame, split) for error in errors.schema_errors]
    return []


def _violation(error: "SchemaError", frame: pd.DataFrame, split: str) -> Violation:
    """Describe one check that failed; its cases are a table of values, or one value."""
    check = error.check if isinstance(error.check, str) else error.check.error or str(error.check)
    column, cases = str(error.column_name or error.schema.name or ""), error.failure_cases
    if check in WHOLE:
        return Violation(split, str(cases), WHOLE[check], 0, "")
    table = isinstance(cases, pd.DataFrame)
    if check.startswith("dtype("):
        first = str(cases["failure_case"].iloc[0] if table else cases)
        return Violation(split, column, f"type {check[7:-2]}", len(cases) if table else 0, first)
    if not table:
        return Violation(split, column, check, 0, "")
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
    return Violation(split, column, check, rows, listed(list(values.unique())))


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
