"""Stage 2: check both splits against the schema, and for what a schema cannot say."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from src import errors, files, params, tables
from src.errors import UserError
from src.params import Params

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

SCHEMA = Path("data/schema.yaml")
REPORT = Path("metrics/validation.json")

# What data/schema.yaml may say of a column, besides its checks.
SETTINGS = (
    *("title", "description", "dtype", "nullable", "checks", "unique", "coerce", "required"),
    *("regex", "default", "metadata", "report_duplicates", "drop_invalid_rows"),
)

# How many of the values that fail a check are told.
SHOWN = 5

# Chance of a false alarm over all columns of a data set without drift.
FALSE_ALARM = 0.001


@dataclass(frozen=True)
class Violation:
    """One check that failed: where, which, in how many rows, with the first few values."""

    split: str
    column: str
    check: str
    rows: int
    values: str


def read_schema() -> "DataFrameSchema":
    """Read data/schema.yaml.

    Raises:
        UserError: the schema is missing or is none, or names a check that there is not.
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
    return schema


def schema_violations(
    schema: "DataFrameSchema", frame: pd.DataFrame, split: str
) -> list[Violation]:
    """Check a split against the schema, all checks on all columns."""
    from pandera.errors import SchemaErrors

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
    values = _listed(list(cases["failure_case"].unique())) if rows else ""
    names = {"column_in_schema": "column is not in the schema", "column_in_dataframe": "missing"}
    if check.startswith("dtype("):
        check, values = f"type {check[7:-2]}", str(cases["failure_case"].iloc[0])
    return Violation(split, column, names.get(check, check), rows, values)


def other_violations(
    train: pd.DataFrame, test: pd.DataFrame, settings: Params
) -> Iterator[Violation]:
    """Check what a schema cannot say.

    Args:
        train: the train split.
        test: the test split, with the columns of `train`.
        settings: the sections task, data and validate.

    Yields:
        Too few rows; rows that stand in both splits; target values missing; classes that are
        missing or too many; columns that are constant, all missing or infinite; drift.
    """
    target, limits = settings.data.target, settings.validate
    for split, frame, least in (
        ("train", train, limits.min_train_rows),
        ("test", test, limits.min_test_rows),
    ):
        if len(frame) < least:
            yield Violation(split, "", f"at least {least} rows", len(frame), "")
    hashes = pd.util.hash_pandas_object(train, index=False)
    shared = int(pd.util.hash_pandas_object(test, index=False).isin(hashes).sum())
    if shared:
        yield Violation("both", "", "no row in both splits", shared, "")
    yield from _target_violations(train[target], test[target], settings)
    features = [name for name in train.columns if name not in (target, settings.prepare.column)]
    for name in features:
        if train[name].isna().all():
            yield Violation("train", name, "has values", len(train), "")
        elif train[name].nunique(dropna=False) == 1:
            value = str(train[name].iloc[0])
            yield Violation("train", name, "is not constant", len(train), value)
    for split, frame in (("train", train), ("test", test)):
        for name in map(str, frame.select_dtypes("float")):
            infinite = int(np.isinf(frame[name]).sum())
            if infinite:
                yield Violation(split, name, "finite", infinite, "inf")
    # Rows of a group may all be alike, and missing values tell nothing of the others.
    group = settings.prepare.column if settings.prepare.split == "group" else None
    parts = [(part, part[group].nunique() if group else len(part)) for part in (train, test)]
    for name in features:
        gap = drift(train[name], test[name])
        rows = [min(part[name].count() or len(part), most) for part, most in parts]
        allowed = max(limits.max_drift, chance_drift(rows[0], rows[1], len(features)))
        if gap > allowed:
            yield Violation("both", name, f"drift at most {allowed:.2f}", len(test), f"{gap:.2f}")


def _target_violations(train: pd.Series, test: pd.Series, settings: Params) -> Iterator[Violation]:
    name = settings.data.target
    for split, column in (("train", train), ("test", test)):
        missing = int(column.isna().sum())
        if missing:
            yield Violation(split, name, "target is not missing", missing, "")
    numeric = pd.api.types.is_numeric_dtype(train) and not pd.api.types.is_bool_dtype(train)
    if settings.task == "regression":
        if not numeric:
            yield Violation("both", name, "target is a number", len(train), str(train.iloc[0]))
        return
    classes = {"train": set(train.dropna()), "test": set(test.dropna())}
    everything = sorted(classes["train"] | classes["test"], key=str)
    if len(everything) < 2 or (settings.task == "binary" and len(everything) > 2):
        wanted = "2 classes" if settings.task == "binary" else "at least 2 classes"
        yield Violation("both", name, wanted, len(train) + len(test), _listed(everything))
        return
    positive = settings.data.positive
    if positive is not None and positive not in everything:
        # With quotes, as the text '1' is not the number 1.
        found = _listed([repr(label) for label in everything])
        yield Violation("both", name, f"class {positive!r} occurs", 0, found)
    for split, present in classes.items():
        absent = [label for label in everything if label not in present]
        if absent:
            yield Violation(split, name, "every class in both splits", 0, _listed(absent))


def _listed(values: list[object]) -> str:
    return ", ".join([*map(str, values[:SHOWN]), *(["..."] if len(values) > SHOWN else [])])


def drift(train: pd.Series, test: pd.Series) -> float:
    """Measure how far two samples of one column lie apart.

    Args:
        train: the column in the train split.
        test: the same column in the test split.

    Returns:
        From 0 to 1: for numbers and dates the largest gap between the cumulative distributions
        (the two-sample Kolmogorov-Smirnov statistic), for text the largest gap between the shares
        of a value; in either case at least the gap between the shares of missing values.
    """
    gap = abs(float(train.isna().mean()) - float(test.isna().mean()))
    train, test = train.dropna(), test.dropna()
    if train.empty or test.empty:
        return gap
    if pd.api.types.is_string_dtype(train):
        first, second = (column.value_counts(normalize=True) for column in (train, test))
        return max(gap, float(first.sub(second, fill_value=0).abs().max()))
    ordered = [np.sort(column.to_numpy()) for column in (train, test)]
    values = np.concatenate(ordered)
    below = [np.searchsorted(column, values, side="right") / len(column) for column in ordered]
    return max(gap, float(np.abs(below[0] - below[1]).max()))


def chance_drift(train_rows: int, test_rows: int, columns: int) -> float:
    """Give the drift that chance alone exceeds in one of 1,000 data sets of this size.

    Source: Smirnov's asymptotic bound for the two-sample statistic, sqrt(-ln(a / 2) / 2) times
    sqrt((n + m) / (n m)), with a = 0.001 shared out among the columns (Bonferroni).
    """
    level = FALSE_ALARM / max(columns, 1)
    size = (train_rows + test_rows) / (train_rows * test_rows)
    return float(np.sqrt(-np.log(level / 2) / 2 * size))


def table_of(violations: list[Violation]) -> str:
    """Lay the violations out as a text table at most 80 columns wide."""
    head = ("split", "column", "check", "rows", "first values")
    widths = (5, 22, 25, 7, 17)
    lines = [head, *((v.split, v.column, v.check, str(v.rows), v.values) for v in violations)]
    return "\n".join(
        " ".join(_fit(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _fit(text: str, width: int) -> str:
    text = " ".join(text.split())
    return (text if len(text) <= width else text[: width - 3] + "...").ljust(width)


def main() -> int:
    """Check both splits, write metrics/validation.json, print what is wrong."""
    settings = params.load()
    train = tables.read_split(tables.TRAIN, settings.data.target)
    test = tables.read_split(tables.TEST, *train.columns)
    schema = read_schema()
    violations = [
        *schema_violations(schema, train, "train"),
        *schema_violations(schema, test, "test"),
        *other_violations(train, test, settings),
    ]
    report = {
        "passed": not violations,
        "train_rows": len(train),
        "test_rows": len(test),
        "violations": [asdict(violation) for violation in violations],
    }
    with files.replacing(REPORT) as (draft,):
        files.write_json(draft, report)
    if violations:
        print(table_of(violations))
        raise UserError(
            f"{len(violations)} checks failed (all in {REPORT.as_posix()}); mend the raw data, "
            f"or {SCHEMA.as_posix()} or the limits in params.yaml"
        )
    print(f"{len(train)} + {len(test)} rows, {train.shape[1]} columns: no violations")
    return 0


if __name__ == "__main__":
    errors.run(main)
