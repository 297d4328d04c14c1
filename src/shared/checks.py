"""data/schema.yaml: reading it, and checking a table against it."""

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from src.shared.columns import kind_of
from src.shared.errors import UserError, plain
from src.shared.paths import SCHEMA

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

# What data/schema.yaml may say of a column, besides its checks.
SETTINGS = (
    *("title", "description", "dtype", "nullable", "checks", "unique", "coerce", "required"),
    *("regex", "default", "metadata", "report_duplicates", "drop_invalid_rows"),
)

# How many of the values that fail a check are told.
SHOWN = 5


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
    return schema.remove_columns([name for name in drop if name in schema.columns])


def schema_violations(
    schema: "DataFrameSchema", frame: pd.DataFrame, split: str
) -> list[Violation]:
    """Check a split against the schema, all checks on all columns.

    A type need not be the schema's to the letter: `str` holds for text whatever pandas keeps it in,
    `int64` for whole numbers of which some are missing.
    """
    from pandera.errors import SchemaErrors

    own = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
    alike = {
        name: {"dtype": own[name]}
        for name, column in schema.columns.items()
        if name in own and kind_of(own[name]) == kind_of(str(column.dtype)) is not None
    }
    schema = schema.update_columns(alike)
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
    else:
        return []
    return [_violation(split, *key, group) for key, group in _grouped(cases)]


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


def _grouped(cases: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Group Pandera's failure cases by column and check."""
    # A check of the whole table (a column is missing) has no column: its case names it.
    whole = cases["schema_context"] == "DataFrameSchema"
    cases = cases.assign(column=cases["column"].where(~whole, cases["failure_case"]))
    for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        yield (str(column), str(check)), group


def _violation(split: str, column: str, check: str, cases: pd.DataFrame) -> Violation:
    rows = int(cases["index"].notna().sum())
    values = listed(list(cases["failure_case"].unique())) if rows else ""
    names = {"column_in_schema": "column is not in the schema", "column_in_dataframe": "missing"}
    if check.startswith("dtype("):
        check, values = f"type {check[7:-2]}", str(cases["failure_case"].iloc[0])
    return Violation(split, column, names.get(check, check), rows, values)


def listed(values: list[object]) -> str:
    """Return the first few values as text."""
    return ", ".join([*map(plain, values[:SHOWN]), *(["..."] if len(values) > SHOWN else [])])
