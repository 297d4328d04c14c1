"""Splits: which rows are held back for the test, and how the others are cross-validated.

Yours to change; docs/extend.md has a recipe. `SPLITS` at the end names every split that
`prepare.split` of params.yaml may ask for. Pandas and scikit-learn are imported where they are
needed: `prepare` does without them, which halves the time of a short run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from src.shared.errors import UserError
from src.shared.params import Params, Prepare

if TYPE_CHECKING:
    import pandas as pd

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Folds = Iterator[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Split:
    """A way to split.

    Attributes:
        choose: returns which rows are for the test, one boolean a row. It takes the column that
            decides (a pyarrow.ChunkedArray), test_size (between 0 and 1) and a random generator.
        fold: yields for each fold the numbers of the rows to fit on and of those to score on. It
            takes the train split, the column that decides (both of pandas), the count of folds and
            a seed.
        needs: the column that decides: "target", "column" for the one that prepare.column names,
            or None if the rows' values do not matter.
        ordered: whether training sees the rows in the order of that column.
    """

    choose: Callable[[pa.ChunkedArray, float, np.random.Generator], Mask]
    fold: Callable[["pd.DataFrame", "pd.Series", int, int], Folds]
    needs: str | None = None
    ordered: bool = False


def find(settings: Params) -> Split:
    """Return the split that params.yaml names.

    Raises:
        UserError: there is no such split, or it contradicts other settings.
    """
    name, column = settings.prepare.split, settings.prepare.column
    if name not in SPLITS:
        *others, last = SPLITS
        raise UserError(
            f"params.yaml: prepare.split is '{name}'; allowed: {', '.join(others)} or {last}"
        )
    split = SPLITS[name]
    if (split.needs == "column") != (column is not None):
        rule = "takes no column: set it to null" if column else "needs the name of a column"
        raise UserError(f"params.yaml: prepare.column: the split '{name}' {rule}")
    if split.needs == "target" and settings.task == "regression":
        fitting = [one for one, split in SPLITS.items() if split.needs != "target"]
        raise UserError(
            f"params.yaml: prepare.split: {name} needs classes; "
            f"use {', '.join(fitting[:-1])} or {fitting[-1]}"
        )
    return split


def choose_test(table: pa.Table, target: str, settings: Prepare, split: Split) -> Mask:
    """Choose the rows of the test split.

    Args:
        table: at least two rows.
        target: name of the column to predict.
        settings: the share of the test split, the seed, and the column that decides.
        split: how to split.

    Returns:
        One boolean a row: true for the test split.

    Raises:
        UserError: the table cannot be split in this way.
    """
    if split.needs == "column":
        decides = _complete(table, settings)
    elif split.needs == "target":
        decides = table[target]
    else:
        decides = pa.chunked_array([pa.nulls(len(table))])
    return split.choose(decides, settings.test_size, np.random.default_rng(settings.seed))


def folds(frame: "pd.DataFrame", target: "pd.Series", settings: Params) -> Folds:
    """Split the training rows for cross-validation in the way that prepare split the table.

    Args:
        frame: the train split.
        target: its target.
        settings: the sections task, prepare and train.

    Yields:
        Row numbers to fit on and to score on.

    Raises:
        UserError: there are too few rows, groups or members of a class.
    """
    split, column = find(settings), settings.prepare.column
    decides = frame[column] if split.needs == "column" else target
    return split.fold(frame, decides, settings.train.folds, settings.train.seed)


def require(count: int, least: int, what: str) -> None:
    """Check that there is at least one of something for each fold.

    Raises:
        UserError: there is not.
    """
    if least < count:
        raise UserError(
            f"train.folds is {count}, but the train split has only {least} {what}; use fewer folds "
            "or more rows, or leave out small classes by `drop_rare_classes` under data"
        )


def _complete(table: pa.Table, settings: Prepare) -> pa.ChunkedArray:
    """Return the column that groups or dates the rows, which must have no missing value."""
    column = table[settings.column]
    if column.null_count:
        raise UserError(
            f"prepare.column: '{settings.column}' is missing in {column.null_count} rows; "
            f"a {settings.split} split needs it in all"
        )
    return column


def codes_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number for each row, from 0: the same for equal values, a missing one included."""
    return np.from_dlpack(column.combine_chunks().dictionary_encode("encode").indices)


def random_rows(column: pa.ChunkedArray, test_size: float, random: np.random.Generator) -> Mask:
    """Draw rows, at least one for each side."""
    return _draw(np.zeros(len(column), dtype=int), test_size, random)


def random_folds(frame: "pd.DataFrame", _: "pd.Series", count: int, seed: int) -> Folds:
    """Deal the rows out at random."""
    from sklearn.model_selection import KFold

    require(count, len(frame), "rows")
    return KFold(count, shuffle=True, random_state=seed).split(frame)


def same_shares(column: pa.ChunkedArray, test_size: float, random: np.random.Generator) -> Mask:
    """Draw the same share of every class, at least one row of each class that has two."""
    test = _draw(codes_of(column), test_size, random)
    if not test.any():
        raise UserError(
            "prepare.split: every class has one row, so a stratified split leaves none to test "
            "on; for a target of numbers set `task: regression` and `split: random`"
        )
    return test


def _draw(codes: np.ndarray, test_size: float, random: np.random.Generator) -> Mask:
    test = np.zeros(len(codes), dtype=bool)
    for code in np.unique(codes):
        rows = random.permutation(np.flatnonzero(codes == code))
        count = min(max(round(len(rows) * test_size), 1), len(rows) - 1)
        test[rows[:count]] = True
    return test


def same_shares_folds(frame: "pd.DataFrame", classes: "pd.Series", count: int, seed: int) -> Folds:
    """Deal the rows of each class out at random."""
    from sklearn.model_selection import StratifiedKFold

    rarest = classes.value_counts().tail(1)
    require(count, int(rarest.iloc[0]), f"rows of class '{rarest.index[0]}'")
    return StratifiedKFold(count, shuffle=True, random_state=seed).split(frame, classes)


def whole_groups(column: pa.ChunkedArray, test_size: float, random: np.random.Generator) -> Mask:
    """Draw groups at random, each that brings the test split nearer to its size."""
    codes = codes_of(column)
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise UserError("prepare.column: all rows are of one group; a group split needs two")
    chosen: list[int] = []
    left = test_size * len(codes)
    for group in random.permutation(len(sizes)).tolist():
        if abs(left - sizes[group]) < abs(left) and len(chosen) < len(sizes) - 1:
            chosen.append(group)
            left -= sizes[group]
    # Where each group is too large, the smallest one.
    return np.isin(codes, chosen or [int(np.argmin(sizes))])


def whole_groups_folds(frame: "pd.DataFrame", groups: "pd.Series", count: int, seed: int) -> Folds:
    """Deal whole groups out, so that the folds are of like size."""
    from sklearn.model_selection import GroupKFold

    require(count, groups.nunique(), f"groups in '{groups.name}'")
    return GroupKFold(count).split(frame, groups=groups)


def latest(column: pa.ChunkedArray, test_size: float, random: np.random.Generator) -> Mask:
    """Take the latest rows; rows of the same time stay together."""
    if pa.types.is_string(column.type) and not _sorts_by_time(column):
        raise UserError(
            "prepare.column: the times are text whose order is not that of time; "
            "write times as in 2026-03-31"
        )
    times = column.to_numpy()
    cut = np.sort(times)[-max(round(len(times) * test_size), 1)]
    test: Mask = times >= cut
    if test.all():
        test = times > cut
    if not test.any():
        raise UserError("prepare.column: all rows have the same time; a time split needs two")
    return test


def _sorts_by_time(texts: pa.ChunkedArray) -> bool:
    """Tell whether texts start with the year and are equally long, as 2026-03 and 2026Q1 are."""
    years = pa.compute.match_substring_regex(texts, r"^[0-9]{4}([^0-9]|$)")
    lengths = pa.compute.min_max(pa.compute.utf8_length(texts))
    return bool(pa.compute.all(years).as_py() and lengths["min"] == lengths["max"])


def later_folds(frame: "pd.DataFrame", times: "pd.Series", count: int, seed: int) -> Folds:
    """Fit on the rows before a time, score on those after it; the rows come in order of time."""
    from sklearn.model_selection import TimeSeriesSplit

    require(count, len(frame) - 1, "rows")
    return TimeSeriesSplit(count).split(frame)


SPLITS = {
    "stratified": Split(same_shares, same_shares_folds, needs="target"),
    "random": Split(random_rows, random_folds),
    "group": Split(whole_groups, whole_groups_folds, needs="column"),
    "time": Split(latest, later_folds, needs="column", ordered=True),
}
