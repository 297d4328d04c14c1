"""Challenger and champion on the same rows: what the verdicts are worth, by simulation.

The models of a simulation share most of what makes a row hard, as models of one data set do: two
of accuracy .95 disagree on about 6 % of the rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from src.shared import params
from src.shared.intervals import draw_rows, weights_of
from src.shared.measure import Array, Predictions
from src.shared.params import Evaluate
from src.shared.verdicts import Drop, Finding, judge_best, judge_champion
from src.workflow.comparison import CHANCE, CHANCE_OF_SLICES, compare, compare_slices, draw
from tests.projects import settings_of

CLASSES = [0, 1]
SETTINGS = settings_of(evaluate={"resamples": 400})["evaluate"]
HARD = 0.7  # the share of a row's difficulty that all models have in common


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the many small products of a simulation on one thread, which is faster for them."""
    with threadpool_limits(1):
        yield


@cache
def weights(rows: int, resamples: int = 400) -> list[Array]:
    return list(weights_of(draw_rows(rows), resamples, rows, 1))


def labels(rows: int, accuracies: Sequence[float], random: np.random.Generator):
    """Draw a test split and what models of these accuracies say of it."""
    actual = random.integers(0, 2, rows)
    common = random.standard_normal(rows)
    for accuracy in accuracies:
        own = random.standard_normal(rows)
        right = np.sqrt(HARD) * common + np.sqrt(1 - HARD) * own < NormalDist().inv_cdf(accuracy)
        yield Predictions(actual, np.where(right, actual, 1 - actual), CLASSES, binary=True)


def drop_of(rival: Predictions, challenger: Predictions, metric: str = "accuracy") -> Drop:
    return compare(rival, challenger, [metric], weights(len(challenger.actual)))[metric]


def share_rejected(rows: int, drop: float, max_drop: float, runs: int) -> float:
    random = np.random.default_rng(7)
    rejected = 0
    for _ in range(runs):
        found = drop_of(*labels(rows, [0.95, 0.95 - drop], random))
        rejected += judge_champion(found, max_drop) is Finding.REJECTED
    return rejected / runs


@pytest.mark.parametrize(("rows", "max_drop"), [(30, 0.0), (113, 0.0), (113, 0.02), (1000, 0.0)])
def test_equal_models_are_rejected_by_chance_alone(rows, max_drop):
    assert share_rejected(rows, 0.0, max_drop, 300) <= 0.06


def test_the_drop_that_is_allowed_is_no_more_than_chance_at_few_rows():
    assert 0.05 <= share_rejected(113, 0.02, 0.02, 300) <= 0.25  # nobody can see .02 there


def test_a_real_drop_is_rejected():
    assert share_rejected(1000, 0.04, 0.02, 200) >= 0.85


def stopped(accuracies: Sequence[float], random: np.random.Generator) -> list[int]:
    """Judge models one after another, as main does; return which are rejected."""
    champion, *challengers = labels(1000, accuracies, random)
    best, found = champion, []
    for at, challenger in enumerate(challengers, 1):
        against = drop_of(best, challenger)
        findings = (
            judge_champion(drop_of(champion, challenger), 0.02),
            judge_best(against, 0.02),
        )
        if Finding.REJECTED in findings:
            found.append(at)
            continue
        champion = challenger
        best = challenger if against.estimate < 0 else best
    return found


def test_a_chain_of_small_drops_is_stopped_at_the_third():
    random = np.random.default_rng(3)
    firsts = [stopped([0.95 - 0.02 * n for n in range(24)], random)[0] for _ in range(6)]
    assert max(firsts) <= 3


def test_equal_models_in_a_row_go_through():
    random = np.random.default_rng(4)
    assert sum(len(stopped([0.95] * 21, random)) <= 1 for _ in range(6)) >= 5


def rejected_in_all(rows: int, slices: int, accuracy: float, runs: int, lost: float = 0) -> float:
    """Return how often a model is rejected, on all rows or on a slice.

    Args:
        rows: of the test split.
        slices: of equal size.
        accuracy: of both models.
        runs: how many pairs of models to compare.
        lost: the share of the first slice's rows on which the challenger has become wrong.
    """
    random, settings = np.random.default_rng(12), params.parse(Evaluate, SETTINGS)
    parts = {str(at): part for at, part in enumerate(np.array_split(np.arange(rows), slices))}
    rejected = 0
    for _ in range(runs):
        champion, challenger = labels(rows, [accuracy] * 2, random)
        bad = (np.arange(rows) < rows // slices) & (random.random(rows) < lost)
        predicted = np.where(bad, 1 - challenger.actual, challenger.predicted)
        challenger = replace(challenger, predicted=predicted)
        chance = CHANCE - CHANCE_OF_SLICES
        whole = compare(champion, challenger, ["accuracy"], weights(rows), chance)["accuracy"]
        drops = compare_slices(champion, challenger, ["accuracy"], parts, settings)["accuracy"]
        assert drops.keys() == parts.keys()
        rejected += Finding.REJECTED in {judge_champion(one, 0) for one in (whole, *drops.values())}
    return rejected / runs


@pytest.mark.parametrize(
    ("rows", "slices", "accuracy", "runs"),
    [(111, 3, 0.8, 300), (300, 4, 0.8, 200), (150, 5, 0.95, 100)],
)
def test_equal_models_are_rejected_by_chance_alone_over_all_slices(rows, slices, accuracy, runs):
    assert rejected_in_all(rows, slices, accuracy, runs) <= 0.06


def test_a_slice_that_is_worse_is_rejected():
    """A quarter of the rows, of which 15 % have become wrong: 4 % of all rows."""
    assert rejected_in_all(1000, 4, 0.95, 30, lost=0.15) >= 0.85


def test_the_interval_of_a_slice_is_wider_the_more_there_are():
    random, settings = np.random.default_rng(13), params.parse(Evaluate, SETTINGS)
    champion, challenger = labels(400, [0.9, 0.8], random)
    found = {}
    for count in (1, 8):
        parts = {str(at): np.arange(50) for at in range(count)}
        drops = compare_slices(champion, challenger, ["accuracy", "mae"], parts, settings)
        assert drops["mae"] == {}  # which classes do not have
        found[count] = drops["accuracy"]["0"]
    assert (found[1].level, found[8].level) == (96, 99.5)
    assert found[1].rows == found[8].rows == 50
    assert found[1].estimate == found[8].estimate
    assert found[8].low < found[1].low < found[1].high < found[8].high


def test_groups_of_a_slice_stay_together_and_a_single_one_tells_nothing():
    champion, challenger = labels(400, [0.9, 0.8], np.random.default_rng(14))
    parts = {"one": np.arange(40), "many": np.arange(40, 400)}
    groups = np.where(np.arange(400) < 40, 0, np.arange(400) // 20)
    settings = params.parse(Evaluate, SETTINGS)
    drops = compare_slices(champion, challenger, ["accuracy"], parts, settings, unit=groups)
    assert drops["accuracy"].keys() == {"many"}


def test_scores_are_compared_on_the_same_rows():
    """An equal model is as good in ROC AUC, and one with twice the noise is surely worse."""
    random = np.random.default_rng(5)
    wrong, seen = 0, 0
    for _ in range(40):
        actual = random.integers(0, 2, 200)
        common = 2 * actual + random.standard_normal(200)
        old, equal, worse = (common + noise * random.standard_normal(200) for noise in (1, 1, 3))
        first, second, third = (
            Predictions(actual, actual, CLASSES, np.column_stack([-score, score]), binary=True)
            for score in (old, equal, worse)
        )
        wrong += judge_champion(drop_of(first, second, "roc_auc"), 0.0) is Finding.REJECTED
        seen += judge_champion(drop_of(first, third, "roc_auc"), 0.02) is Finding.REJECTED
    assert wrong <= 5  # 2 are expected
    assert seen >= 36


def test_a_drop_is_positive_where_the_challenger_is_worse():
    """Whichever way a metric is better; the interval is that of the rows, told by hand."""
    actual = np.arange(40.0)
    rival, challenger = Predictions(actual, actual + 1), Predictions(actual, actual + 3)
    drops = compare(rival, challenger, ["mae", "rmse", "r2", "accuracy"], weights(40))
    assert drops["mae"] == Drop(2, 2, 2, 40)  # 2 on every row, so on every resample
    assert drops["rmse"].estimate == 2
    assert drops["r2"].low > 0
    assert "accuracy" not in drops  # regression has none
    back = compare(challenger, rival, ["mae"], weights(40))["mae"]
    assert back == Drop(-2, -2, -2, 40)


def test_a_metric_that_one_model_lacks_is_not_compared():
    actual = np.array([0, 1] * 20)
    scores = np.column_stack([1 - actual, actual]).astype(float)
    bare, full = (Predictions(actual, actual, CLASSES, one, binary=True) for one in (None, scores))
    assert compare(bare, full, ["roc_auc", "f1"], weights(40)).keys() == {"f1"}


def test_a_metric_that_is_not_defined_is_not_compared():
    """On rows of one class there is no ROC AUC, and a resample of one class does not count."""
    scores = np.column_stack([np.linspace(1, 0, 40), np.linspace(0, 1, 40)])
    none, one = np.zeros(40, int), np.eye(1, 40, 39, dtype=int)[0]
    metrics = ["roc_auc"]
    for actual, names in ((none, set()), (one, {"roc_auc"})):
        model = Predictions(actual, actual, CLASSES, scores, binary=True)
        drops = compare(model, model, metrics, weights(40))
        assert drops.keys() == names
        assert all(drop == Drop(0, 0, 0, 40) for drop in drops.values())


@pytest.mark.parametrize(
    ("drop", "champion", "best"),
    [
        (Drop(0.95 - 0.93, 0.01, 0.03, 1000), Finding.PASSED, Finding.PASSED),
        (Drop(0.03, 0.0, 0.06, 113), Finding.UNDECIDED, Finding.PASSED),
        (Drop(0.03, 0.01, 0.05, 1000), Finding.REJECTED, Finding.PASSED),
        (Drop(0.05, 0.03, 0.07, 1000), Finding.REJECTED, Finding.REJECTED),
        (Drop(-0.03, -0.05, -0.01, 1000), Finding.PASSED, Finding.PASSED),
    ],
)
def test_what_a_drop_means(drop, champion, best):
    assert judge_champion(drop, 0.02) is champion
    assert judge_best(drop, 0.02) is best


def wrong_by(noise: Callable[[np.random.Generator], Array], **how: Any) -> float:
    """Return how often an equal model is rejected whose errors depend on one another."""
    random = np.random.default_rng(8)
    rows = 600
    rejected = 0
    for _ in range(200):
        actual = random.standard_normal(rows)
        one, other = (Predictions(actual, actual + noise(random)) for _ in "ab")
        drop = compare(one, other, ["mae"], draw(one, other, 300, 1, **how))["mae"]
        rejected += judge_champion(drop, 0.0) is Finding.REJECTED
    return rejected / 200


def test_rows_of_a_group_are_drawn_together():
    groups = np.repeat(np.arange(30), 20)

    def noise(random: np.random.Generator) -> Array:
        return 1 + np.repeat(random.standard_normal(30), 20) + random.standard_normal(600)

    assert wrong_by(noise, unit=groups) <= 0.09
    assert wrong_by(noise) >= 0.25


def test_rows_next_to_one_another_in_time_are_drawn_together():
    times = np.random.default_rng(2).permutation(600)

    def noise(random: np.random.Generator) -> Array:
        steps = random.standard_normal(600)
        for at in range(1, 600):
            steps[at] += 0.8 * steps[at - 1]
        return steps[times] + 5

    assert wrong_by(noise, unit=times, ordered=True) <= 0.11
    assert wrong_by(noise) >= 0.2
