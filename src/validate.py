"""Stage 2: check both splits against the schema, and for what a schema cannot say."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from src import splits
from src.shared import errors, files, findings, params, tables
from src.shared.checks import Violation, listed, read_schema, schema_violations
from src.shared.drift import chance_category_drift, chance_drift, chance_unseen, drift, unseen
from src.shared.errors import UserError
from src.shared.findings import Finding
from src.shared.overlap import near_rows, shared_rows
from src.shared.params import Params
from src.shared.paths import SCHEMA, TEST, TRAIN, VALIDATION
from src.shared.unreadable import in_data

# What is checked, where a remedy is known.
HAS_VALUES, NOT_CONSTANT = "has values", "is not constant"
TARGET_MISSING, EVERY_CLASS = "target is not missing", "every class in both splits"

# The gap that chance makes, from which on drift cannot be seen.
BLIND = 0.5


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
        missing or too many; columns that are constant, all missing or infinite.
    """
    target, limits = settings.data.target, settings.validate
    for split, frame, least in (
        ("train", train, limits.min_train_rows),
        ("test", test, limits.min_test_rows),
    ):
        if len(frame) < least:
            yield Violation(split, "", f"at least {least} rows", len(frame), "")
    yield from _target_violations(train[target], test[target], settings)
    features = feature_names(train, settings)
    for name in features:
        if train[name].isna().all():
            yield Violation("train", name, HAS_VALUES, len(train), "")
        elif train[name].nunique(dropna=False) == 1:
            value = str(train[name].iloc[0])
            yield Violation("train", name, NOT_CONSTANT, len(train), value)
    for split, frame in (("train", train), ("test", test)):
        for name in map(str, frame.select_dtypes("float")):
            infinite = int(np.isinf(frame[name]).sum())
            if infinite:
                yield Violation(split, name, "finite", infinite, "inf")


def overlap(
    train: pd.DataFrame, test: pd.DataFrame, settings: Params
) -> tuple[list[Violation], list[Finding]]:
    """Look for rows of the test split that the train split has too, unless that is as it should be.

    Returns:
        A violation where rows are equal in every column; a finding where only features are.
    """
    if settings.prepare.duplicates == "keep":
        return [], []
    near = near_rows(train, test, feature_names(train, settings))
    equal = shared_rows(train, test, near)
    violations = [Violation("both", "", "no row in both splits", equal, "")] if equal else []
    alike = int(near.sum())
    if not alike or equal:
        return violations, []
    what = f"{alike / len(test):.1%} of the test rows have the features of a train row"
    remedy = (
        "if they are repeats, drop them or split by group; if each is an observation of its own, "
        "set `duplicates: keep` under prepare in params.yaml"
    )
    return [], [Finding("", what, alike, "", remedy)]


def blindness(train: pd.DataFrame, test: pd.DataFrame, settings: Params) -> Iterator[Finding]:
    """Say so where the splits are too small for drift to be seen, in all columns or in some.

    Of text it is seen by either bound: more gaps between shares, or more unseen values.
    """
    bounds = {}
    for name in (features := feature_names(train, settings)):
        rows = independent_rows(train, test, name, settings)
        if pd.api.types.is_string_dtype(train[name]):
            bounds[name] = min(
                chance_category_drift(train[name], test[name], rows, len(features)),
                chance_unseen(train[name], rows, len(features)),
            )
        else:
            bounds[name] = min(chance_drift(*rows, len(features)), 1.0)
    blind = [name for name, bound in bounds.items() if bound >= BLIND]
    what = "too few rows to see drift: chance alone makes gaps up to"
    remedy = "take drift that is not found as not looked for, or get more rows"
    if blind and len(blind) == len(bounds):
        yield Finding("", f"{what} {min(bounds.values()):.2f}", 0, "", remedy)
    elif blind:
        for name in blind:
            if name not in settings.validate.accept:
                yield Finding(name, f"{what} {bounds[name]:.2f}", 0, "", remedy)


def feature_names(frame: pd.DataFrame, settings: Params) -> list[str]:
    """List the columns that are features: neither target nor key nor what groups or dates."""
    roles = (settings.data.target, settings.prepare.column, *(settings.data.key or ()))
    return [name for name in map(str, frame.columns) if name not in roles]


@dataclass(frozen=True)
class Gap:
    """How far a feature lies apart in the splits: `size` and `allowed`, both from 0 to 1."""

    column: str
    what: Literal["drift", "unseen values"]
    size: float
    allowed: float


def gaps(train: pd.DataFrame, test: pd.DataFrame, settings: Params) -> Iterator[Gap]:
    """Measure for each feature how far it lies apart in the splits.

    More is allowed than params.yaml says where chance alone makes more.
    """
    limits, features = settings.validate, feature_names(train, settings)
    for name in features:
        rows = independent_rows(train, test, name, settings)
        if pd.api.types.is_string_dtype(train[name]):
            limit = limits.max_category_drift
            chance = chance_category_drift(train[name], test[name], rows, len(features))
            most = max(limit, chance_unseen(train[name], rows, len(features)))
            yield Gap(name, "unseen values", unseen(train[name], test[name]), most)
        else:
            limit, chance = limits.max_drift, chance_drift(*rows, len(features))
        yield Gap(name, "drift", drift(train[name], test[name]), max(limit, chance))


def drifts(found: Iterable[Gap], rows: int) -> Iterator[Violation]:
    """Return the gaps that are larger than is allowed, of a test split of so many rows."""
    for one in found:
        if one.size > one.allowed:
            split = "both" if one.what == "drift" else "test"
            check = f"{one.what} at most {one.allowed:.2f}"
            yield Violation(split, one.column, check, rows, f"{one.size:.2f}")


def independent_rows(
    train: pd.DataFrame, test: pd.DataFrame, name: str, settings: Params
) -> tuple[int, int]:
    """Count the rows of each split that tell of a column by themselves.

    Rows of a group may all be alike, and missing values tell nothing of the others.
    """
    group = settings.prepare.column if splits.find(settings).grouped else None
    train_rows, test_rows = (
        min(part[name].count() or len(part), part[group].nunique() if group else len(part))
        for part in (train, test)
    )
    return train_rows, test_rows


def _target_violations(train: pd.Series, test: pd.Series, settings: Params) -> Iterator[Violation]:
    name = settings.data.target
    for split, column in (("train", train), ("test", test)):
        missing = int(column.isna().sum())
        if missing:
            yield Violation(split, name, TARGET_MISSING, missing, "")
    numeric = pd.api.types.is_numeric_dtype(train) and not pd.api.types.is_bool_dtype(train)
    if settings.task == "regression":
        if not numeric:
            yield Violation("both", name, "target is a number", len(train), str(train.iloc[0]))
        return
    classes = {"train": set(train.dropna()), "test": set(test.dropna())}
    everything = sorted(classes["train"] | classes["test"], key=str)
    if len(everything) < 2 or (settings.task == "binary" and len(everything) > 2):
        wanted = "2 classes" if settings.task == "binary" else "at least 2 classes"
        yield Violation("both", name, wanted, len(train) + len(test), listed(everything))
        return
    positive = settings.data.positive
    if positive is not None and positive not in everything:
        # With quotes, as the text '1' is not the number 1.
        found = listed([repr(label) for label in everything])
        yield Violation("both", name, f"class {positive!r} occurs", 0, found)
    for split, present in classes.items():
        absent = [label for label in everything if label not in present]
        if absent:
            yield Violation(split, name, EVERY_CLASS, 0, listed(absent))


def remedies(violations: list[Violation], settings: Params) -> Iterator[str]:
    """Yield what can be done about violations, where there is more than mending the data."""
    by_check: dict[str, list[str]] = {}
    for one in violations:
        by_check.setdefault(one.check, []).append(one.column)
    empty = dict.fromkeys([*by_check.get(HAS_VALUES, []), *by_check.get(NOT_CONSTANT, [])])
    if empty:
        drop = in_data("drop", [*settings.data.drop, *empty])
        yield f"columns that say nothing: {drop}"
    if missing := by_check.get(TARGET_MISSING):
        drop = in_data("missing_target", "drop")
        yield f"rows without '{missing[0]}': {drop}, to leave them out"
    if EVERY_CLASS in by_check:
        drop = "`drop_rare_classes: 5`, say, under data in params.yaml"
        yield f"classes with too few rows: more rows, or {drop}, to leave out those with fewer"
    if new := by_check.get("column is not in the schema"):
        names = ", ".join(map(repr, dict.fromkeys(new)))
        yield f"new columns: add {names} to {SCHEMA.as_posix()}, or run `make schema`"


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
    text = errors.plain(" ".join(text.split()))
    return (text if len(text) <= width else text[: width - 3] + "...").ljust(width)


def main() -> int:
    """Check both splits, write metrics/validation.json, print what is wrong and what is odd."""
    settings = params.load()
    needed = filter(None, [settings.data.target, settings.prepare.column])
    train = tables.read_split(TRAIN, *needed, *(settings.data.key or ()))
    test = tables.read_split(TEST, *train.columns)
    schema = read_schema(settings.data.drop)
    repeated, alike = overlap(train, test, settings)
    found = list(gaps(train, test, settings))
    violations = [
        *schema_violations(schema, train, "train"),
        *schema_violations(schema, test, "test"),
        *other_violations(train, test, settings),
        *drifts(found, len(test)),
        *repeated,
    ]
    odd = findings.find(pd.concat([train, test], ignore_index=True), settings)
    named = {one.column for one in odd}
    warnings = [
        *odd,
        *findings.leading_zeros(zeros(), settings),
        *alike,
        *(one for one in blindness(train, test, settings) if one.column not in named),
    ]
    report = {
        "passed": not violations,
        "train_rows": len(train),
        "test_rows": len(test),
        "violations": [asdict(violation) for violation in violations],
        "warnings": [asdict(warning) for warning in warnings],
        "gaps": [rounded(one) for one in found],
    }
    with files.replacing(VALIDATION) as (draft,):
        files.write_json(draft, report)
    if warnings:
        print(findings.told(warnings, settings))
    if violations:
        print(table_of(violations))
        print(*remedies(violations, settings), sep="\n")
        raise UserError(
            f"{len(violations)} checks failed (all in {VALIDATION.as_posix()}); mend the raw data, "
            f"or {SCHEMA.as_posix()} or the settings in params.yaml, then run `dvc repro` again"
        )
    print(f"{len(train)} + {len(test)} rows, {train.shape[1]} columns: no violations")
    return 0


def rounded(gap: Gap) -> dict[str, Any]:
    """Return a gap as JSON has it, with digits that are the same on every machine."""
    return asdict(gap) | {"size": round(gap.size, 4), "allowed": round(gap.allowed, 4)}


def zeros() -> dict[str, int]:
    """Count for each column the numbers that were written with leading zeros."""
    noted = tables.notes(pq.read_schema(TRAIN), tables.ZEROS)
    return {name: int(count) for name, count in noted.items()}


if __name__ == "__main__":
    errors.run(main)
