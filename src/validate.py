"""Stage 2: check both splits against the schema, and for what a schema cannot say.

The splits may be larger than memory: a few columns of both are read at a time.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from src import splits
from src.shared import drift, errors, files, findings, params, tables
from src.shared.checks import (
    Violation,
    column_violations,
    listed,
    read_schema,
    table_violations,
    text_violations,
)
from src.shared.errors import UserError
from src.shared.findings import Finding
from src.shared.hashes import MISSING
from src.shared.overlap import FeatureHashes, shared_rows
from src.shared.params import Params
from src.shared.paths import SCHEMA, TEST, TRAIN, VALIDATION
from src.shared.tables import Split
from src.shared.texts import TextColumn
from src.shared.unreadable import in_data
from src.shared.wording import counted

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

# What is checked, where a remedy is known.
HAS_VALUES, NOT_CONSTANT = "has values", "is not constant"
SIZE, DRIFT = r"at least \d+ rows", r"(drift|unseen values) at most [\d.]+"
TARGET_MISSING, EVERY_CLASS = "target is not missing", "every class in both splits"

# Rows times columns that are read at once: 80 MB of float64.
CELLS = 10_000_000

# The gap that chance makes, from which on drift cannot be seen.
BLIND = 0.5


@dataclass(frozen=True)
class Gap:
    """How far a feature lies apart in the splits.

    Attributes:
        column: the feature.
        what: what was measured.
        size: how far, from 0 to 1.
        allowed: how far it may be.
        chance: how far chance alone may make it.
    """

    column: str
    what: Literal["drift", "unseen values"]
    size: float
    allowed: float
    chance: float


@dataclass
class Found:
    """What was found in the splits, column by column."""

    violations: list[Violation] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)


def check_sizes(train_rows: int, test_rows: int, settings: Params) -> Iterator[Violation]:
    """Check that both splits have enough rows."""
    limits = settings.validate
    for split, rows, least in (
        ("train", train_rows, limits.min_train_rows),
        ("test", test_rows, limits.min_test_rows),
    ):
        if rows < least:
            yield Violation(split, "", f"at least {least} rows", rows, "")


def check_text(column: TextColumn) -> Iterator[Violation]:
    """Check that a text feature says something, as `check_feature` does."""
    rows = len(column.train)
    if (column.train == MISSING).all():
        yield Violation("train", column.name, HAS_VALUES, rows, "")
    elif (column.train == column.train[0]).all():
        [value] = column.take(np.array([0]))
        yield Violation("train", column.name, NOT_CONSTANT, rows, value)


def check_feature(train: pd.Series) -> Iterator[Violation]:
    """Check that a feature says something: that the train split's values are there and differ."""
    name, rows = str(train.name), len(train)
    if train.isna().all():
        yield Violation("train", name, HAS_VALUES, rows, "")
    # The first rows nearly always tell; looking at all takes long.
    elif all(part.nunique(dropna=False) == 1 for part in (train.head(1000), train)):
        yield Violation("train", name, NOT_CONSTANT, rows, str(train.iloc[0]))


def check_finite(column: pd.Series, split: str) -> Iterator[Violation]:
    """Check that numbers are finite."""
    infinite = int(np.isinf(column).sum()) if pd.api.types.is_float_dtype(column) else 0
    if infinite:
        yield Violation(split, str(column.name), "finite", infinite, "inf")


def check_target(train: pd.Series, test: pd.Series, settings: Params) -> Iterator[Violation]:
    """Check that the target is there and suits the task, and that both splits have all classes."""
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
    classes = {"train": set(train.dropna().unique()), "test": set(test.dropna().unique())}
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


def measure_gaps(
    train: pd.Series, test: pd.Series, rows: tuple[int, int], features: int, settings: Params
) -> Iterator[Gap]:
    """Measure how far a feature that is no text lies apart in the splits.

    More is allowed than params.yaml says where chance alone makes more.

    Args:
        train: the feature in the train split.
        test: the same in the test split.
        rows: how many independent rows each split has: groups, where the split goes by them.
        features: how many features there are.
        settings: the sections task, data, prepare and validate.
    """
    # Rows of a group may all be alike, and missing values tell nothing of the others.
    alone = min(train.count() or len(train), rows[0]), min(test.count() or len(test), rows[1])
    chance = drift.chance_drift(*alone, features)
    most = max(settings.validate.max_drift, chance)
    yield Gap(str(train.name), "drift", drift.drift(train, test), most, chance)


def text_gaps(
    column: TextColumn, rows: tuple[int, int], features: int, settings: Params
) -> Iterator[Gap]:
    """Measure how far a text feature lies apart in the splits, as `measure_gaps` does.

    Args:
        column: the feature in both splits.
        rows: as there.
        features: as there.
        settings: as there.
    """
    counts, sizes = (column.counts.train, column.counts.test), (len(column.train), len(column.test))
    alone = (
        min(int(counts[0].sum()) or sizes[0], rows[0]),
        min(int(counts[1].sum()) or sizes[1], rows[1]),
    )
    limit = settings.validate.max_category_drift
    chance = drift.chance_unseen(counts[0], alone, features)
    size = drift.unseen(*counts)
    yield Gap(column.name, "unseen values", size, max(limit, chance), chance)
    chance = drift.chance_category_drift(*counts, alone, features)
    size = drift.text_drift(*counts, sizes)
    yield Gap(column.name, "drift", size, max(limit, chance), chance)


def drifts(found: Iterable[Gap], rows: int) -> Iterator[Violation]:
    """Return the gaps that are larger than is allowed, of a test split of so many rows."""
    for one in found:
        if one.size > one.allowed:
            split = "both" if one.what == "drift" else "test"
            check = f"{one.what} at most {one.allowed:.2f}"
            yield Violation(split, one.column, check, rows, f"{one.size:.2f}")


def blindness(found: Sequence[Gap], settings: Params) -> Iterator[Finding]:
    """Say so where the splits are too small for drift to be seen, in all columns or in some.

    Of text it is seen by either bound: more gaps between shares, or more unseen values.
    """
    bounds: dict[str, float] = {}
    for gap in found:
        bounds[gap.column] = min(gap.chance, bounds.get(gap.column, 1.0))
    blind = [name for name, bound in bounds.items() if bound >= BLIND]
    what = "too few rows to see drift: chance alone makes gaps up to"
    remedy = "take drift that is not found as not looked for, or get more rows"
    if blind and len(blind) == len(bounds):
        yield Finding("", f"{what} {min(bounds.values()):.2f}", 0, "", remedy)
    elif blind:
        for name in blind:
            if name not in settings.validate.accept:
                yield Finding(name, f"{what} {bounds[name]:.2f}", 0, "", remedy)


def overlap(
    train: Split, test: Split, hashes: FeatureHashes
) -> tuple[list[Violation], list[Finding]]:
    """Look for rows of the test split that the train split has too.

    Args:
        train: the train split.
        test: the test split.
        hashes: of their features.

    Returns:
        A violation where rows are equal in every column; a finding where only features are.
    """
    near = hashes.near()
    if equal := shared_rows(train, test, hashes, near):
        return [Violation("both", "", "no row in both splits", equal, "")], []
    alike = int(near.sum())
    what = f"{alike / len(test):.1%} of the test rows have the features of a train row"
    remedy = (
        "if they are repeats, drop them or split by group; if each is an observation of its own, "
        "set `duplicates: keep` under prepare in params.yaml"
    )
    return [], [Finding("", what, alike, "", remedy)] if alike else []


def feature_names(names: Iterable[str], settings: Params) -> list[str]:
    """List the columns that are features: neither target nor key nor what groups or dates."""
    roles = (settings.data.target, settings.prepare.column, *(settings.data.key or ()))
    return [name for name in names if name not in roles]


def together(train: Split, test: Split) -> Iterator[list[str]]:
    """Yield the columns that are read at a time: as many as `CELLS` allows, a text one alone."""
    size = max(1, CELLS // (len(train) + len(test) + 1))
    with tqdm(train.names, "validate", unit=" columns", delay=1, disable=None) as bar:
        for text, group in groupby(train.names, lambda name: name in train.texts):
            names = list(group)
            for start in range(0, len(names), step := 1 if text else size):
                yield names[start : start + step]
                bar.update(len(names[start : start + step]))


def read_text(name: str, *splits: Split) -> TextColumn:
    """Read a text column of both splits."""
    return TextColumn(name, *(partial(split.parts, name) for split in splits))


def independent(train: Split, test: Split, settings: Params) -> tuple[int, int]:
    """Count the independent rows of each split: groups, where the split goes by them."""
    group = settings.prepare.column if splits.find(settings).grouped else None
    if group is None:
        return len(train), len(test)
    if group not in train.texts:
        return train[group].nunique(), test[group].nunique()
    counts = read_text(group, train, test).counts
    return int((counts.train > 0).sum()), int((counts.test > 0).sum())


def check(train: Split, test: Split, schema: "DataFrameSchema", settings: Params) -> Found:
    """Check both splits, a few columns at a time.

    Args:
        train: the train split.
        test: the test split, with the columns of `train`.
        schema: data/schema.yaml.
        settings: the sections task, data, prepare and validate, and train.leave_out.

    Returns:
        All that was found. Every figure is of all rows, but for `findings.sample_rows`.
    """
    features, target = feature_names(train.names, settings), settings.data.target
    rows = independent(train, test, settings)
    sample = findings.sample_rows(pd.concat([train[target], test[target]]), settings)
    hashes, found = FeatureHashes(len(train), len(test)), Found()
    of_train = table_violations(schema, train, "train")
    of_test = table_violations(schema, test, "test")
    found.violations += check_sizes(len(train), len(test), settings)
    for names in together(train, test):
        if names[0] in train.texts:
            column = read_text(names[0], train, test)
            of_train += text_violations(schema, train, column, "train")
            of_test += text_violations(schema, test, column, "test")
            found.warnings += findings.find_in(column, sample, settings)
            if column.name == target:
                found.violations += check_target(train[target], test[target], settings)
            if column.name in features:
                found.violations += check_text(column)
                found.gaps += text_gaps(column, rows, len(features), settings)
                hashes.add(column)
            continue
        one, other = train.columns(*names), test.columns(*names)
        of_train += column_violations(schema, one, train, "train")
        of_test += column_violations(schema, other, test, "test")
        for name in names:
            pair = one[name], other[name]
            both = pd.concat(pair, ignore_index=True)
            found.warnings += findings.find_in(both, sample, settings)
            found.violations += [*check_finite(pair[0], "train"), *check_finite(pair[1], "test")]
            if name == target:
                found.violations += check_target(*pair, settings)
            if name in features:
                found.violations += check_feature(pair[0])
                found.gaps += measure_gaps(*pair, rows, len(features), settings)
                hashes.add(both)
    found.violations += drifts(found.gaps, len(test))
    if settings.prepare.duplicates != "keep":  # else repeats are as they should be
        repeated, alike = overlap(train, test, hashes)
        found.violations += repeated
        found.warnings += alike
    found.violations[:0] = [*of_train, *of_test]
    return found


def remedies(violations: list[Violation], settings: Params) -> Iterator[str]:
    """Yield what can be done about violations, where there is more than mending the data."""
    by_check: dict[str, list[str]] = {}
    for one in violations:
        by_check.setdefault(one.check, []).append(one.column)
    empty = dict.fromkeys([*by_check.get(HAS_VALUES, []), *by_check.get(NOT_CONSTANT, [])])
    if empty:
        drop = in_data("drop", [*settings.data.drop, *empty])
        yield f"columns that say nothing: {drop}"
    if few := [one for one in violations if re.fullmatch(SIZE, one.check)]:
        lower = " and ".join(f"`min_{one.split}_rows: {one.rows}`" for one in few)
        yield f"splits of few rows: more rows, or set {lower} under validate in params.yaml"
    if any(re.fullmatch(DRIFT, one.check) for one in violations):
        allow = "raise `max_drift` (of text `max_category_drift`) under validate in params.yaml"
        early = ", as what grows always does with `split: time`" * splits.find(settings).ordered
        yield f"columns that lie apart: if they may{early}, {allow}, or drop them"
    if missing := by_check.get(TARGET_MISSING):
        drop = in_data("missing_target", "drop")
        yield f"rows without '{missing[0]}': {drop}, to leave them out"
    if EVERY_CLASS in by_check:
        # One row to test on, and one in each of five folds.
        drop = "`drop_rare_classes: 6`, say, under data in params.yaml"
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
    train = Split(TRAIN, *needed, *(settings.data.key or ()))
    test = Split(TEST, *train.names)
    found = check(train, test, read_schema(settings.data.drop), settings)
    violations = found.violations
    named = {one.column for one in found.warnings if one.column}
    warnings = [
        *found.warnings,
        *findings.leading_zeros(zeros(), settings),
        *(one for one in blindness(found.gaps, settings) if one.column not in named),
    ]
    report = {
        "passed": not violations,
        "train_rows": len(train),
        "test_rows": len(test),
        "violations": [asdict(violation) for violation in violations],
        "warnings": [asdict(warning) for warning in warnings],
        "gaps": [rounded(one) for one in found.gaps],
    }
    with files.replacing(VALIDATION) as (draft,):
        files.write_json(draft, report)
    if warnings:
        print(findings.told(warnings, settings))
    if violations:
        print(table_of(violations))
        print(*remedies(violations, settings), sep="\n")
        raise UserError(
            f"{counted(len(violations), 'check')} failed (all in {VALIDATION.as_posix()}); mend "
            f"the raw data, or {SCHEMA.as_posix()} or the settings in params.yaml, then run "
            "`dvc repro` again"
        )
    print(f"{len(train)} + {len(test)} rows, {len(train.names)} columns: no violations")
    return 0


def rounded(gap: Gap) -> dict[str, Any]:
    """Return a gap as JSON has it, with digits that are the same on every machine."""
    ends = {"size": round(gap.size, 4), "allowed": round(gap.allowed, 4)}
    return {"column": gap.column, "what": gap.what} | ends


def zeros() -> dict[str, int]:
    """Count for each column the numbers that were written with leading zeros."""
    noted = tables.notes(pq.read_schema(TRAIN), tables.ZEROS)
    return {name: int(count) for name, count in noted.items()}


if __name__ == "__main__":
    errors.run(main)
