"""How rows are split: the test rows, and the folds of cross-validation."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from src.prepare import split_hashes
from src.shared.errors import UserError
from src.shared.hashes import hash_rows
from src.shared.params import Params, parse
from src.splits import choose_groups, choose_test, find, folds, lowest
from tests.projects import fruit, settings_of


def chosen(values: list[Any], **prepare: Any) -> np.ndarray:
    """Choose the test rows of a table as prepare does; x is its target, or what decides."""
    target = "y" if "column" in prepare else "x"
    prepare = {"seed": 1, "duplicates": "keep"} | prepare
    asked = params_of(data={"target": target}, prepare=prepare)
    table = pa.table({"x": values, "y": ["only"] * len(values)})
    earlier = np.arange(len(table))  # each row is one of its own
    return choose_test(table, split_hashes(table, hash_rows(table), earlier, asked), asked)


def params_of(task: str = "binary", **sections) -> Params:
    return parse(Params, settings_of(task, **sections))


def test_stratified_split_holds_the_shares():
    test = chosen(["a"] * 80 + ["b"] * 16 + ["c"] * 4)
    assert [test[:80].sum(), test[80:96].sum(), test[96:].sum()] == [20, 4, 1]


@pytest.mark.parametrize("test_size", [0.001, 0.5, 0.999])
def test_stratified_split_has_each_class_on_both_sides(test_size):
    test = chosen(["a"] * 9 + ["b"] * 2 + [None] * 2 + ["once"], test_size=test_size)
    for rows in (slice(0, 9), slice(9, 11), slice(11, 13)):
        assert 0 < test[rows].sum() < len(test[rows])
    assert not test[13]  # a class of one row is there to learn from


def test_stratified_split_of_classes_with_one_row_each_is_refused():
    with pytest.raises(UserError, match=r"prepare\.split: every class has one row"):
        chosen(["a", "b", "c"])


@pytest.mark.parametrize(("test_size", "rows"), [(0.25, 25), (0.001, 1), (0.999, 99)])
def test_random_split_has_its_size(test_size, rows):
    test = chosen(list(range(100)), split="random", test_size=test_size)
    assert test.sum() == rows
    assert list(np.flatnonzero(test)) != list(range(rows)) or rows in (1, 99)


@pytest.mark.parametrize("seed", range(5))
def test_group_split_keeps_groups_whole_and_its_size_near(seed):
    groups = np.random.default_rng(seed).integers(0, 40, 400)
    test = chosen(groups.tolist(), split="group", column="x", seed=seed)
    assert set(groups[test]).isdisjoint(groups[~test])
    largest = np.bincount(groups).max()
    assert abs(test.sum() - 100) <= largest / 2


def test_a_group_that_is_too_large_is_seldom_tested_but_not_barred():
    groups = ["a"] * 900 + ["b"] * 50 + ["c"] * 50
    sizes = [
        chosen(groups, split="group", column="x", seed=seed, test_size=0.1).sum()
        for seed in range(400)
    ]
    assert set(sizes) <= {100, 900, 950}
    assert 1 <= sum(size > 100 for size in sizes) <= 15  # a chance of .1 * .1 / .9


def test_every_group_is_tested_with_some_seed():
    groups = np.repeat(np.arange(12), np.arange(1, 13) * 3)
    tested = {
        group
        for seed in range(60)
        for group in groups[chosen(groups.tolist(), split="group", column="x",
                                   seed=seed)]
    }  # fmt: skip
    assert tested == set(range(12))


@pytest.mark.parametrize("seed", range(20))
def test_group_split_balances_the_classes(seed):
    """Of groups that hold mostly one class or the other."""
    random = np.random.default_rng(seed)
    rare = np.where(np.arange(60) < 15, 0.9, 0.05)
    counts = np.array([[10 - one, one] for one in random.binomial(10, rare)])
    test = choose_groups(counts, random.random(60), 0.25)
    assert np.abs(counts[test].sum(axis=0) / counts.sum(axis=0) - 0.25).max() < 0.05


def test_a_class_of_two_groups_is_on_both_sides():
    counts = np.array([[20, 0]] * 30 + [[10, 10]] * 2)
    for seed in range(20):
        test = choose_groups(counts, np.random.default_rng(seed).random(32), 0.2)
        assert test[-2:].sum() == 1
        assert counts[test].sum() == pytest.approx(0.2 * counts.sum(), abs=20)


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_when_they_grow(seed):
    """By 10 % of the rows; one of 200 groups has half a percent of them."""
    random = np.random.default_rng(seed)
    sizes, shares = random.poisson(20, 200) + 1, random.beta(1, 2, 200)
    counts, more = (
        np.column_stack([ripe, rows - ripe])
        for rows in (sizes, random.multinomial(sizes.sum() // 10, sizes / sizes.sum()))
        for ripe in [random.binomial(rows, shares)]
    )
    at = random.random(200)
    before, after = choose_groups(counts, at, 0.2), choose_groups(counts + more, at, 0.2)
    assert sizes[before != after].sum() <= 0.02 * sizes.sum()
    assert np.abs(counts[before].sum(axis=0) / counts.sum(axis=0) - 0.2).max() < 0.04


@pytest.mark.parametrize("seed", range(5))
def test_group_split_leaves_groups_on_both_sides(seed):
    test = chosen(["a"] + ["b"] * 99, split="group", column="x", seed=seed)
    assert 0 < test.sum() < 100


def test_of_two_cuts_the_nearer_one_is_taken():
    assert lowest(np.array([1, 2, 2, 2, 3]), 0.5).sum() == 1
    assert lowest(np.array([1, 2, 2, 2, 3]), 0.55).sum() == 4
    assert not lowest(np.ones(3), 0.5).any()


@pytest.mark.parametrize(
    ("times", "test_size", "expected"),
    [
        ([3, 1, 4, 2], 0.25, [4]),
        ([3, 1, 4, 2], 0.5, [3, 4]),
        ([1, 2, 3, 3, 3], 0.2, [3, 3, 3]),  # ties stay together
        ([1, 2, 2, 2, 3], 0.4, [3]),  # .2 is nearer than .8
        ([1, 1, 1, 2], 0.75, [2]),  # as nothing would be left to train on
        ([1, 1, 1, 2], 0.001, [2]),
        (["2024-01", "2023-12", "2024-02"], 0.3, ["2024-02"]),
        ([pd.Timestamp(2024, 1, 2), pd.Timestamp(2024, 1, 1)], 0.5, [pd.Timestamp(2024, 1, 2)]),
    ],
)
def test_time_split_tests_on_the_latest_rows(times, test_size, expected):
    test = chosen(times, split="time", column="x", test_size=test_size)
    assert [time for time, late in zip(times, test, strict=True) if late] == expected


@pytest.mark.parametrize(
    ("values", "split", "expected"),
    [
        ([1, 1, 1], "time", "all rows have the same time"),
        (
            ["31/12/2023", "02/06/2024"],
            "time",
            "the times are text whose order is not that of time",
        ),
        (["2024-9", "2024-10"], "time", "text whose order is not that of time"),
        (["a", "a"], "group", "all rows are of one group"),
        (["a", "b", None], "group", "'x' is missing in 1 row; a group split needs it in all"),
        ([1.0, None, None], "time", "'x' is missing in 2 rows; a time split needs it in all"),
    ],
)
def test_table_that_cannot_be_split_so_is_refused(values, split, expected):
    with pytest.raises(UserError, match=expected) as caught:
        chosen(values, split=split, column="x")
    assert str(caught.value).startswith("prepare.column: ")


@pytest.mark.parametrize("split", ["stratified", "random", "group", "time"])
def test_folds_split_as_prepare_does(split):
    frame = fruit(90).sort_values("picked", ignore_index=True)
    column = {"group": "seeds", "time": "picked"}.get(split)
    found = list(folds(frame, params_of(prepare={"split": split, "column": column})))
    assert len(found) == 3
    for fit, held_out in found:
        assert set(fit).isdisjoint(held_out)
        if split == "time":
            assert frame["picked"][fit].max() < frame["picked"][held_out].min()
        else:
            assert len(fit) + len(held_out) == 90
        if split == "group":
            assert set(frame["seeds"][fit]).isdisjoint(frame["seeds"][held_out])
        if split == "stratified":
            shares = [(frame["ripe"][rows] == "yes").mean() for rows in (fit, held_out)]
            assert shares[0] == pytest.approx(shares[1], abs=0.05)


@pytest.mark.parametrize(
    ("split", "rows", "expected"),
    [
        ("stratified", 8, "only 2 rows of class 'no'"),
        ("random", 2, "only 2 rows"),
        ("group", 8, "only 2 groups in 'farm'"),
        ("time", 6, "only 1 times after the first in 'farm'"),
    ],
)
def test_too_few_rows_for_the_folds_are_refused(split, rows, expected):
    column = {"group": "farm", "time": "farm"}.get(split)
    target = ["no", "no", "yes", "yes", "yes", "yes", "yes", "yes"]
    frame = pd.DataFrame({"farm": np.arange(8) % 2, "ripe": target}).head(rows)
    chosen = params_of(prepare={"split": split, "column": column})
    with pytest.raises(UserError) as caught:
        list(folds(frame, chosen))
    assert f"train.folds is 3, but the train split has {expected}; use fewer" in str(caught.value)


def test_too_few_rows_of_a_class_in_a_sample_are_not_said_to_be_the_split_s():
    chosen = params_of(train={"rows": 5})
    with pytest.raises(UserError, match=r"but what train.rows takes of the split has only 1 rows"):
        list(folds(pd.DataFrame({"ripe": ["no", "yes", "yes", "yes", "yes"]}), chosen))


def test_classes_too_small_for_folds_of_groups_are_refused():
    frame = pd.DataFrame({"farm": range(6), "target": ["a", "a", "b", "b", "c", "c"]})
    chosen = params_of("multiclass", prepare={"split": "group", "column": "farm"})
    with pytest.raises(UserError, match=r"only 2 rows of class '.', the largest; use fewer folds"):
        list(folds(frame, chosen))


@pytest.mark.parametrize(
    ("task", "prepare", "expected"),
    [
        (
            "binary",
            {"split": "Stratified"},
            "prepare.split is 'Stratified'; allowed: stratified, random, group or time",
        ),
        (
            "binary",
            {"split": "group"},
            "prepare.column: the split 'group' needs the name of a column",
        ),
        (
            "binary",
            {"split": "time"},
            "prepare.column: the split 'time' needs the name of a column",
        ),
        (
            "binary",
            {"column": "seeds"},
            "prepare.column: the split 'stratified' takes no column: set it to null",
        ),
        (
            "regression",
            {"split": "stratified"},
            "prepare.split: stratified needs classes; use random, group or time",
        ),
    ],
)
def test_split_that_does_not_suit_is_refused(task, prepare, expected):
    with pytest.raises(UserError) as caught:
        find(params_of(task, prepare=prepare))
    assert str(caught.value).startswith(f"params.yaml: {expected}")
