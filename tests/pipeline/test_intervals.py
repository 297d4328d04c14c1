"""An interval of 95 % holds the true value in about 95 % of all samples: simulated, seeded."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest  # type: ignore[import-untyped]

from src.metrics import METRICS
from src.shared.intervals import block_length, bootstrap, intervals, wilson
from src.shared.measure import Predictions, baseline, heavy_tails
from src.shared.verdicts import Verdict, met_by_baseline

Sample = Callable[[np.random.Generator], tuple[Predictions, dict[str, Any]]]
normal = NormalDist()


def coverage(sample: Sample, runs: int = 300, **truth: float) -> dict[str, float]:
    """Return how often the interval of each metric holds the truth."""
    held = dict.fromkeys(truth, 0)
    for seed in range(runs):
        predictions, units = sample(np.random.default_rng(seed))
        found = intervals(predictions, 200, seed, **units)
        for name, value in truth.items():
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            held[name] += low <= value <= high
    return {name: count / runs for name, count in held.items()}


def labels(right: np.ndarray, random: np.random.Generator) -> Predictions:
    """Make predictions of two classes that are right or wrong as told."""
    actual = random.integers(0, 2, len(right))
    return Predictions(actual, np.where(right, actual, 1 - actual), [0, 1], binary=True)


@pytest.mark.parametrize("rows", [30, 113, 1_000])
@pytest.mark.parametrize("share", [0.9, 0.99])
def test_accuracy(rows: int, share: float):
    """Of 20,000 samples; that intervals() takes Wilson's is tested below."""
    hits = np.random.default_rng(rows).binomial(rows, share, 20_000)
    ends = {count: wilson(count, rows) for count in np.unique(hits)}
    held = [ends[count][0] <= share <= ends[count][1] for count in hits]
    assert 0.92 <= np.mean(held) <= 0.98


def test_shares_of_rows_have_wilsons_interval():
    random = np.random.default_rng(0)
    found = labels(random.random(50) < 0.9, random)
    ends = intervals(found, 100, 1)
    hits, said = found.actual == found.predicted, found.predicted == 1
    for name, rows in (("accuracy", hits), ("precision", hits[said])):
        expected = binomtest(int(rows.sum()), len(rows)).proportion_ci(method="wilson")
        assert ends[name].method == "Wilson"
        assert [ends[name].low, ends[name].high] == pytest.approx(expected, 1e-5)
    classes = Predictions(np.repeat([0, 1, 2], 9), np.repeat([0, 1, 1], 9), [0, 1, 2])
    ends = intervals(classes, 100, 1)
    assert [ends[f"recall_{label}"].method for label in range(3)] == ["Wilson"] * 3
    assert ends["recall_2"].low == 0
    assert (ends["recall_2"].high or 0) > 0.2
    assert ends["recall_macro"].method == "BCa"


def test_roc_auc():
    shift = normal.inv_cdf(0.9) * 2**0.5

    def sample(random):
        actual = random.integers(0, 2, 113)
        score = random.normal(size=113) + shift * actual
        scores = np.column_stack([-score, score])
        said = (score > shift / 2).astype(int)
        return Predictions(actual, said, [0, 1], scores, False, True), {}

    assert 0.92 <= coverage(sample, roc_auc=0.9)["roc_auc"] <= 0.98


def series(random: np.random.Generator, near: float, rows: int = 1_000) -> np.ndarray:
    """Make an AR(1) series of variance 1."""
    values = random.normal(size=rows)
    for at in range(1, rows):
        values[at] = near * values[at - 1] + (1 - near**2) ** 0.5 * values[at]
    return values


def test_errors_that_depend_on_the_one_before():
    def sample(random):
        predicted = random.normal(size=1_000) * 3
        shuffled = random.permutation(1_000)  # the rows need not be in their order
        actual = predicted + series(random, 0.5)
        found = Predictions(actual[shuffled], predicted[shuffled])
        return found, {"order": np.arange(1_000)[shuffled]}

    found = coverage(sample, 200, rmse=1, mae=(2 / np.pi) ** 0.5, r2=0.9)
    assert all(0.92 <= share <= 0.98 for share in found.values()), found


def test_length_of_blocks():
    random = np.random.default_rng(0)
    assert block_length([random.normal(size=1_000)]) == 1
    short, long = (block_length([series(random, near)]) for near in (0.5, 0.9))
    assert 15 < short < 30 < long < 120
    assert block_length([np.ones(50)]) == 1


def test_rows_of_groups():
    limit = normal.inv_cdf(0.8)

    def sample(random):
        groups = np.repeat(np.arange(20), 25)
        hidden = 0.3**0.5 * random.normal(size=20)[groups] + 0.7**0.5 * random.normal(size=500)
        return labels(hidden < limit, random), {"groups": groups}

    found = coverage(sample, accuracy=0.8, f1=0.8)
    assert all(0.9 <= share <= 0.98 for share in found.values()), found


def test_few_groups_or_blocks_are_said():
    random = np.random.default_rng(0)
    found = labels(random.random(100) < 0.9, random)
    few = intervals(found, 100, 1, groups=np.arange(100) % 12)["accuracy"]
    assert "only 12 groups" in few.note
    assert few.method == "BCa"
    assert intervals(found, 100, 1, groups=np.arange(100) % 50)["accuracy"].note == ""
    slow = Predictions(series(random, 0.97, 200), np.zeros(200))
    assert "blocks" in intervals(slow, 100, 1, order=np.arange(200))["rmse"].note
    one = intervals(found, 100, 1, groups=np.zeros(100))["accuracy"]
    assert one.low is None
    assert "only 1 groups" in one.note


def test_bca_equals_scipys():
    from scipy.stats import bootstrap as scipys

    rows = np.random.default_rng(0).lognormal(size=60)
    expected = scipys((rows,), np.std, n_resamples=20_000, rng=1, method="BCa").confidence_interval
    random = np.random.default_rng(2)
    values = np.std(rows[random.integers(60, size=(20_000, 60))], axis=1)
    left = np.array([np.std(np.delete(rows, at)) for at in range(60)])
    # With a million rows the ends are not widened for few rows.
    found = bootstrap(values, float(np.std(rows)), 1_000_000, left)
    assert found == pytest.approx(tuple(expected), rel=0.02)
    narrow, wide = (bootstrap(values, float(np.std(rows)), count) for count in (1_000_000, 10))
    assert (wide[0] or 9) < (narrow[0] or 0) < (narrow[1] or 0) < (wide[1] or 0)


def test_baseline_is_the_best_of_scikit_learns():
    target = np.array(["no"] * 94 + ["yes"] * 6)
    actual = np.array(["no"] * 47 + ["yes"] * 3)
    scores = np.full((50, 2), 0.5)
    found = Predictions(actual, actual, ["no", "yes"], scores, True, True)
    plain = baseline(found, target, "yes")
    assert plain["accuracy"] == 0.94
    assert plain["recall"] == 0
    assert "precision" not in plain
    assert plain["log_loss"] == pytest.approx(-0.94 * np.log(0.94) - 0.06 * np.log(0.06), 1e-5)
    assert plain["average_precision"] == 0.06
    numbers = np.array([0.0, 0.0, 0.0, 10.0])
    plain = baseline(Predictions(numbers, numbers), numbers)
    assert plain["mae"] == 2.5  # of the median; of the mean 3.75
    assert plain["rmse"] == pytest.approx(18.75**0.5, 1e-5)  # of the mean; of the median 5
    assert plain["r2"] == 0
    assert plain.keys() <= {name for name in METRICS if "regression" in METRICS[name].tasks}


def test_bound_that_the_baseline_meets_is_warned_of():
    verdicts = [
        Verdict("accuracy", 0.939, 0.9, None, True, ""),
        Verdict("roc_auc", 0.9, 0.8, None, True, ""),
        Verdict("log_loss", 0.2, None, 0.3, False, ""),
    ]
    said = met_by_baseline(verdicts, {"accuracy": 0.94, "roc_auc": 0.5, "log_loss": 0.25})
    assert [text.split(" is met")[0] for text in said] == [
        "the bound on accuracy",
        "the bound on log_loss",
    ]
    assert "gives 0.94;" in said[0]
    assert met_by_baseline(verdicts, []) == met_by_baseline(verdicts, {"accuracy": None}) == []


def test_few_rows_that_make_up_most_are_said():
    random = np.random.default_rng(0)
    predicted = random.normal(size=200)
    actual = predicted + random.normal(size=200)
    assert heavy_tails(Predictions(actual, predicted)) == {}
    actual[:2] += 30
    said = heavy_tails(Predictions(actual, predicted))
    assert said["rmse"].startswith("2 of 200 rows make up 8")
    assert said["rmse"].endswith("of the squared error")
    assert "of the target's variance" in said["r2"]
    assert said["rmse"] in intervals(Predictions(actual, predicted), 100, 1)["rmse"].note


def test_a_share_of_zero_is_said_to_mean_nothing():
    actual = np.array([0.0, 2.0, 4.0] * 40)
    found = intervals(Predictions(actual, actual + 1), 50, 1)
    assert found["mape"].note.startswith("the target is 0 in 40 of 120 rows")
    assert not any("share of 0" in found[name].note for name in ("rmse", "mae", "r2"))
    assert "share of 0" not in intervals(Predictions(actual + 1, actual), 50, 1)["mape"].note


@pytest.mark.parametrize(("rows", "said"), [(1, "1 row,"), (4, "4 rows,"), (5, "")])
def test_a_class_that_resamples_lack_is_named(rows, said):
    actual = np.array(["goat"] * 40 + ["hen"] * 40 + ["pig"] * rows)
    found = intervals(Predictions(actual, actual[::-1], ["goat", "hen", "pig"]), 50, 1)
    note = f"class 'pig' has {said} and counts as much as the others" if said else ""
    assert found["balanced_accuracy"].note.startswith(note)
    assert "pig" not in found["accuracy"].note
    assert said or "pig" not in found["balanced_accuracy"].note


def many_rows(random: np.random.Generator, rows: int) -> Predictions:
    actual = (random.random(rows) < 0.3).astype(int)
    score = 1 / (1 + np.exp(-random.normal(2 * actual - 1, 1)))
    scores = np.column_stack([1 - score, score])
    return Predictions(actual, (score > 0.5).astype(int), [0, 1], scores, True, True)


@pytest.mark.parametrize("units", ["rows", "groups", "blocks"])
def test_intervals_of_sets_of_many_rows_are_those_of_single_rows(monkeypatch, units):
    """Their ends lie where the bootstrap's do, within what chance moves both."""
    random = np.random.default_rng(3)
    found = many_rows(random, 6_000)
    given: dict[str, Any] = {}
    if units == "groups":
        given["groups"] = np.arange(6_000) // 5
    if units == "blocks":
        shuffled = random.permutation(6_000)
        said, error = random.normal(size=6_000), np.repeat(random.normal(size=600), 10)
        found = Predictions((said + error)[shuffled], said[shuffled])
        given["order"] = shuffled
    single = intervals(found, 1_000, 1, **given)
    monkeypatch.setattr("src.shared.intervals.MANY", 5_000)
    sets = intervals(found, 1_000, 1, **given)
    assert sets.keys() == single.keys()
    for name, one in single.items():
        other = sets[name]
        assert other.method == ("Wilson" if one.method == "Wilson" else "jackknife")
        ends = np.array([[one.low, one.high], [other.low, other.high]], dtype=float)
        width = ends[0, 1] - ends[0, 0]
        assert np.abs(ends[1] - ends[0]).max() < 0.15 * width, (name, ends)


def test_classes_of_few_rows_keep_the_bootstrap(monkeypatch):
    monkeypatch.setattr("src.shared.intervals.MANY", 2_000)
    found = many_rows(np.random.default_rng(0), 3_000)
    assert intervals(found, 100, 1)["roc_auc"].method == "percentile"  # 900 rows of a class
    monkeypatch.setattr("src.shared.intervals.CORRECTED", 800)
    assert intervals(found, 100, 1)["roc_auc"].method == "jackknife"
    assert intervals(found, 100, 1, groups=np.arange(3_000) % 12)["f1"].note.startswith("rough")


def test_sets_hold_the_truth_as_often_as_rows_do(monkeypatch):
    monkeypatch.setattr("src.shared.intervals.MANY", 1_000)

    def sample(random):
        actual = random.normal(size=1_200)
        return Predictions(actual, np.zeros(1_200)), {}

    assert all(0.92 <= share <= 0.98 for share in coverage(sample, rmse=1, mae=0.79788).values())
