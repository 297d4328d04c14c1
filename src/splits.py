"""Splits: which rows are held back for the test, and how the others are cross-validated.

Yours to change; docs/extend.md has a recipe. `SPLITS` at the end names every split that
`prepare.split` of params.yaml may ask for. Pandas and scikit-learn are imported where they are
needed: `prepare` does without them, which halves the time of a short run.

A row comes with a hash, a number as if drawn at random, which it keeps wherever it stands and
whatever rows are added. So a split that takes the rows of the lowest hashes stays as it is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from src.shared.errors import UserError
from src.shared.hashes import Hashes, codes_of
from src.shared.params import Params, Train
from src.shared.wording import counted

if TYPE_CHECKING:
    import pandas as pd

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Folds = Iterator[tuple[np.ndarray, np.ndarray]]

# Groups times classes up to which a group split balances the classes: they fill 400 MB.
MOST = 50_000_000
FEW = 100  # groups of which one has more than 1 % of the rows


@dataclass(frozen=True)
class Split:
    """A way to split.

    Attributes:
        choose: returns which rows are for the test, one boolean a row. It takes the table (all
            rows, but only the columns of data.target, prepare.column and data.key), a hash for
            each of its rows, and params.yaml.
        fold: yields for each fold the numbers of the rows to fit on and of those to score on. It
            takes the train split and params.yaml.
        needs: what decides: "target" (its classes), "column" for the column that prepare.column
            names, or None if the rows' values do not matter.
        ordered: whether that column is a time, in whose order training sees the rows.
    """

    choose: Callable[[pa.Table, Hashes, Params], Mask]
    fold: Callable[["pd.DataFrame", Params], Folds]
    needs: str | None = None
    ordered: bool = False

    @property
    def grouped(self) -> bool:
        """Whether rows of the same value of that column belong together, and share one hash."""
        return self.needs == "column" and not self.ordered


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


def choose_test(table: pa.Table, hashes: Hashes, settings: Params) -> Mask:
    """Choose the rows of the test split.

    Args:
        table: at least two rows; the target, prepare.column and the key.
        hashes: a number for each row; in a split by groups the same for all rows of a group.
        settings: the sections task, data and prepare.

    Returns:
        One boolean a row: true for the test split.

    Raises:
        UserError: the table cannot be split in this way.
    """
    split, column = find(settings), settings.prepare.column
    if missing := table[column].null_count if column else 0:
        raise UserError(
            f"prepare.column: '{column}' is missing in {counted(missing, 'row')}; "
            f"a {settings.prepare.split} split needs it in all"
        )
    return split.choose(table, hashes, settings)


def folds(frame: "pd.DataFrame", settings: Params) -> Folds:
    """Split the training rows for cross-validation in the way that prepare split the table.

    Args:
        frame: the train split.
        settings: the sections task, data, prepare and train.

    Yields:
        Row numbers to fit on and to score on.

    Raises:
        UserError: there are too few rows, groups or members of a class.
    """
    return find(settings).fold(frame, settings)


def require(train: Train, least: int, what: str) -> None:
    """Check that there is at least one of something for each fold.

    Args:
        train: the section train.
        least: how many there are.
        what: of what.

    Raises:
        UserError: there are too few.
    """
    count = train.folds
    if least < count:
        # A sample may lack what the split has enough of.
        where = "the train split" if train.rows is None else "what train.rows takes of the split"
        raise UserError(
            f"train.folds is {count}, but {where} has only {least} {what}; use "
            f"{'fewer folds or ' if count > 2 else ''}more rows, or leave out small classes by "
            "`drop_rare_classes` under data"
        )


def lowest(values: np.ndarray, share: float) -> Mask:
    """Mark a share of the rows, those of the lowest values.

    Rows of equal values stay together, so it is the possible share that is nearest. At least one
    value is marked and one is not; where all are equal, none is.
    """
    ordered = np.sort(values)
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if not cuts.size:
        return np.zeros(len(values), dtype=bool)
    cut = cuts[np.abs(cuts - share * len(values)).argmin()]
    return np.asarray(values < ordered[cut])


def random_rows(table: pa.Table, hashes: Hashes, settings: Params) -> Mask:
    """Take the rows of the lowest hashes, at least one for each side."""
    return lowest(hashes, settings.prepare.test_size)


def random_folds(frame: "pd.DataFrame", settings: Params) -> Folds:
    """Deal the rows out at random."""
    from sklearn.model_selection import KFold

    count, seed = settings.train.folds, settings.train.seed
    require(settings.train, len(frame), "rows")
    return KFold(count, shuffle=True, random_state=seed).split(frame)


def same_shares(table: pa.Table, hashes: Hashes, settings: Params) -> Mask:
    """Take the lowest hashes of every class, at least one row of each class that has two."""
    classes = codes_of(table[settings.data.target])
    test = np.zeros(len(table), dtype=bool)
    for one in np.unique(classes):
        rows = classes == one
        test[rows] = lowest(hashes[rows], settings.prepare.test_size)
    if not test.any():
        raise UserError(
            "prepare.split: every class has one row, so a stratified split leaves none to test "
            "on; for a target of numbers set `task: regression` and `split: random`"
        )
    return test


def same_shares_folds(frame: "pd.DataFrame", settings: Params) -> Folds:
    """Deal the rows of each class out at random."""
    from sklearn.model_selection import StratifiedKFold

    classes, count = frame[settings.data.target], settings.train.folds
    rarest = classes.value_counts().tail(1)
    require(settings.train, int(rarest.iloc[0]), f"rows of class '{rarest.index[0]}'")
    shuffled = StratifiedKFold(count, shuffle=True, random_state=settings.train.seed)
    return shuffled.split(frame, classes)


def whole_groups(table: pa.Table, hashes: Hashes, settings: Params) -> Mask:
    """Take whole groups, so that each class has about the same share in the test split."""
    values, group = np.unique(hashes, return_inverse=True)
    if len(values) < 2:
        raise UserError("prepare.column: all rows are of one group; a group split needs two")
    classes = np.zeros(len(group), dtype=np.int64)
    if settings.task != "regression":
        classes += codes_of(table[settings.data.target])
    if len(values) * (classes.max() + 1) > MOST:
        classes[:] = 0
    shape = len(values), classes.max() + 1
    counts = np.bincount(np.ravel_multi_index((group, classes), shape), minlength=np.prod(shape))
    return choose_groups(counts.reshape(shape), values / 2.0**64, settings.prepare.test_size)[group]


def choose_groups(counts: np.ndarray, at: np.ndarray, share: float) -> Mask:
    """Choose groups whose rows make up about a share of all rows and of each class.

    In an order that is theirs, each group is taken that brings the shares nearer. So it is mostly
    the groups at the start that are taken, which stays so when others are added.

    Args:
        counts: rows of each group (rows of the array) and class (columns).
        at: the place of each group in the order, from 0 to 1.
        share: how many of the rows to take, between 0 and 1.

    Returns:
        One boolean a group. On both sides is at least one group, and where two groups have rows of
        a class, that class.
    """
    size = counts.sum(axis=1) / counts.sum()
    # A group that is too large comes last, but with a small chance first: none is barred.
    late = np.where(at < share * share / size, at - 1, at * size + 1)
    order = np.where(size <= share, at, late).argsort(kind="stable")
    holds = counts[order] > 0
    taken, kept = np.zeros((2, len(order)), dtype=bool)
    taken[0] = kept[-1] = True
    common = np.flatnonzero(holds.sum(axis=0) > 1)
    kept[len(order) - 1 - holds[::-1, common].argmax(axis=0)] = True
    for one in common[holds[:, common].sum(axis=0).argsort(kind="stable")]:
        if not holds[taken, one].any():
            taken[np.flatnonzero(holds[:, one] & ~kept)[:1]] = True
    # The distance to be made small: of the share of all rows, and in the mean of the classes.
    classes = counts / counts.sum(axis=0) / np.sqrt(counts.shape[1])
    parts = np.column_stack([size, classes])[order]
    left = share * parts.sum(axis=0) - parts[taken].sum(axis=0)
    squares = (parts**2).sum(axis=1)
    # Among few groups one alone may be more than should change sides when others are added: there
    # balance goes first, and in a second round some that were taken give way to others.
    for one in np.tile(np.flatnonzero(~taken & ~kept), 2 if len(order) < FEW else 1):
        sign = -1 if taken[one] else 1
        if squares[one] < 2 * sign * (parts[one] @ left):  # it brings the shares nearer
            taken[one] = not taken[one]
            left -= sign * parts[one]
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = taken
    return chosen


def whole_groups_folds(frame: "pd.DataFrame", settings: Params) -> Folds:
    """Deal whole groups out, so that the folds are of like size and have like shares of classes."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups, count = frame[settings.prepare.column], settings.train.folds
    require(settings.train, groups.nunique(), f"groups in '{groups.name}'")
    # In a regression all rows are of one class, which leaves the size.
    classes = groups.notna() if settings.task == "regression" else frame[settings.data.target]
    largest = classes.value_counts()
    name = largest.index[0]
    require(settings.train, int(largest.iloc[0]), f"rows of class '{name}', the largest")
    shuffled = StratifiedGroupKFold(count, shuffle=True, random_state=settings.train.seed)
    return shuffled.split(frame, classes, groups)


def latest(table: pa.Table, hashes: Hashes, settings: Params) -> Mask:
    """Take the latest rows; rows of the same time stay together."""
    times = table[settings.prepare.column]
    if pa.types.is_string(times.type) and not _sorts_by_time(times):
        raise UserError(
            "prepare.column: the times are text whose order is not that of time; "
            "write times as in 2026-03-31"
        )
    order = np.from_dlpack(pa.compute.rank(times, tiebreaker="dense"))
    early = lowest(order, 1 - settings.prepare.test_size)
    if not early.any():
        raise UserError("prepare.column: all rows have the same time; a time split needs two")
    return ~early


def _sorts_by_time(texts: pa.ChunkedArray) -> bool:
    """Tell whether texts start with the year and are equally long, as 2026-03 and 2026Q1 are."""
    years = pa.compute.match_substring_regex(texts, r"^[0-9]{4}([^0-9]|$)")
    lengths = pa.compute.min_max(pa.compute.utf8_length(texts))
    return bool(pa.compute.all(years).as_py() and lengths["min"] == lengths["max"])


def later_folds(frame: "pd.DataFrame", settings: Params) -> Folds:
    """Fit on the rows before a time, score on those after it; rows of a time stay together."""
    from sklearn.model_selection import TimeSeriesSplit

    times, count = frame[settings.prepare.column], settings.train.folds
    moments = times.rank(method="dense").to_numpy()
    require(settings.train, times.nunique() - 1, f"times after the first in '{times.name}'")
    for fit, held_out in TimeSeriesSplit(count).split(np.unique(moments)):
        yield np.flatnonzero(moments <= fit[-1] + 1), np.flatnonzero(np.isin(moments, held_out + 1))


SPLITS = {
    "stratified": Split(same_shares, same_shares_folds, needs="target"),
    "random": Split(random_rows, random_folds),
    "group": Split(whole_groups, whole_groups_folds, needs="column"),
    "time": Split(latest, later_folds, needs="column", ordered=True),
}
