"""Stage 2: check both splits against the schema, and for what a schema cannot say."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd

from src.shared import errors, files, params, tables
from src.shared.checks import Violation, listed, read_schema, schema_violations
from src.shared.drift import chance_drift, drift
from src.shared.errors import UserError
from src.shared.params import Params
from src.shared.paths import SCHEMA, TEST, TRAIN, VALIDATION


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
            yield Violation(split, name, "every class in both splits", 0, listed(absent))


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
    """Check both splits, write metrics/validation.json, print what is wrong."""
    settings = params.load()
    train = tables.read_split(TRAIN, settings.data.target)
    test = tables.read_split(TEST, *train.columns)
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
    with files.replacing(VALIDATION) as (draft,):
        files.write_json(draft, report)
    if violations:
        print(table_of(violations))
        raise UserError(
            f"{len(violations)} checks failed (all in {VALIDATION.as_posix()}); mend the raw data, "
            f"or {SCHEMA.as_posix()} or the limits in params.yaml"
        )
    print(f"{len(train)} + {len(test)} rows, {train.shape[1]} columns: no violations")
    return 0


if __name__ == "__main__":
    errors.run(main)
