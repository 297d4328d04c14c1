"""Labels that arrive later: how they are read and joined, and what is said of the metrics."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom  # type: ignore[import-untyped]

from src.monitoring import labels
from src.monitoring.gather import Asked
from src.monitoring.labels import (
    Evaluated,
    Judged,
    Part,
    _reach,
    _reaches,
    compare,
    join,
    judge,
    measure,
    with_class,
)
from src.shared import sidecar
from src.shared.errors import UserError
from src.shared.intervals import intervals, wilson
from src.shared.measure import Predictions, headline
from src.shared.params import Bound, Evaluate, parse
from src.shared.paths import SIDECAR
from src.shared.sidecar import Sidecar
from src.shared.slices import Estimate, Slice
from tests.projects import settings_of

BOUNDS = {"accuracy": Bound(min=0.5, max_drop=0.02), "roc_auc": Bound(min=0.5, max_drop=0.02)}


def settings(**keys: Any) -> Evaluate:
    return parse(Evaluate, settings_of()["evaluate"] | keys)


def said(random: np.random.Generator, rows: int, inverted: float = 0.0) -> Predictions:
    """Draw rows and what a good model says of them: accuracy .94, ROC AUC .985."""
    actual = random.random(rows) < 0.4
    score = 1 / (1 + np.exp(-3 * (random.normal(size=rows) + 3 * actual - 1.5)))
    actual = np.where(random.random(rows) < inverted, ~actual, actual)
    scores = np.column_stack([1 - score, score])
    actual_names, predicted = (np.where(truth, "yes", "no") for truth in (actual, score > 0.5))
    return Predictions(actual_names, predicted, ["no", "yes"], scores, True, True)


def asked(found: Predictions, **columns: Sequence[Any]) -> Asked:
    rows = len(found.actual)
    ids = pd.DataFrame({"request_id": [f"r{at}" for at in range(rows)], "row": 0})
    times = np.arange(rows).astype("datetime64[us]")
    return Asked(ids, ids[[]], times, pd.DataFrame(columns, index=ids.index), found)


def weighed(random: np.random.Generator, rows: int) -> Predictions:
    """Draw rows and what a good model says of them, which is far off now and then: r2 .9."""
    predicted = 10 + 3 * random.normal(size=rows)
    return Predictions(predicted + random.standard_t(4, rows) / np.sqrt(2), predicted)


def evaluated(found: Predictions) -> Evaluated:
    ends, values = intervals(found, 1000, 0), headline(found)
    metrics = {name: Estimate(values[name], one.low, one.high) for name, one in ends.items()}
    return Evaluated(metrics, rows=len(found.actual))


def wrong(found: Predictions, before: Evaluated, **columns: Sequence[Any]) -> list[Judged]:
    how = settings(slices=list(columns))
    return [one for one in judge(asked(found, **columns), before, BOUNDS, how) if one.wrong]


@pytest.mark.parametrize(
    ("draw", "rows", "bounds"),
    [
        (said, 200, {name: Bound(min=0, max_drop=0) for name in ("accuracy", "roc_auc")}),
        (said, 200, {"log_loss": Bound(max=9, max_drop=0), "f1": Bound(min=0, max_drop=0)}),
        (weighed, 1000, {"r2": Bound(min=0, max_drop=0), "rmse": Bound(max=9, max_drop=0)}),
    ],
    ids=["bounded", "log_loss", "regression"],
)
def test_200_windows_of_a_model_as_good_as_before_have_at_most_one_finding(
    draw: Callable[..., Predictions], rows: int, bounds: dict[str, Bound]
) -> None:
    """Though the test split has few rows: each of 40 windows beside each of 80 test splits."""
    random = np.random.default_rng(0)
    windows = [measure(asked(draw(random, rows)), settings()) for _ in range(40)]
    splits = [evaluated(draw(random, 114)) for _ in range(80)]
    alarms = [
        any(one.wrong for one in compare(window, before, bounds))
        for window in windows
        for before in splits
    ]
    assert np.mean(alarms) <= 1 / 200


@pytest.mark.parametrize("rows", [30, 200, 1000])
@pytest.mark.parametrize("least", [0.7, 0.9, 0.99])
def test_a_share_misses_its_bound_by_chance_as_seldom_as_is_said(rows: int, least: float) -> None:
    z, missed = 3.2, 0.0
    for hits in range(rows + 1):
        near = Estimate(hits / rows, *wilson(hits, rows))
        ends = _reaches(
            "accuracy", Part("", rows, {"accuracy": near}, {"accuracy": (hits, rows)}), z
        )
        assert ends
        missed += binom.pmf(hits, rows, least) * (hits / rows + ends[1] < least)
    assert missed <= NormalDist().cdf(-z)


def test_an_inverted_label_in_one_row_of_ten_is_found_in_1000_rows() -> None:
    random = np.random.default_rng(1)
    for _ in range(10):
        found = wrong(said(random, 1000, inverted=0.1), evaluated(said(random, 300)))
        assert "roc_auc" in {one.metric for one in found}
        assert all("worse than in the test split" in one.wrong for one in found)


def test_a_slice_is_judged_beside_the_same_slice_of_the_test_split() -> None:
    random = np.random.default_rng(2)
    good, bad, before = said(random, 900), said(random, 300, inverted=0.25), said(random, 400)
    parts = ("actual", "predicted", "scores")
    right, answers, scores = (
        np.concatenate([getattr(one, part) for one in (good, bad)]) for part in parts
    )
    both = Predictions(right, answers, ["no", "yes"], scores, True, True)
    whole = evaluated(before)
    slices = [Slice(f"site = {name}", "site", 400, dict(whole.metrics), []) for name in "ab"]
    found = wrong(both, replace(whole, slices=slices), site=["a"] * 900 + ["b"] * 300)
    assert {one.slice for one in found if one.slice} == {"site = b"}


def test_a_bound_is_missed_only_where_that_is_sure() -> None:
    random = np.random.default_rng(3)
    window = asked(said(random, 1000))
    for least, missed in ((0.9, False), (0.945, False), (0.99, True)):
        [one] = judge(window, Evaluated(), {"accuracy": Bound(min=least)}, settings())
        assert (one.wrong == f"below {least:g}") is missed, str(one)
    [one] = judge(window, Evaluated(), {"log_loss": Bound(max=0.01)}, settings())
    assert one.wrong == "above 0.01"


@pytest.fixture
def known(trained: Path) -> Sidecar:
    return sidecar.parse(SIDECAR)


def read(known: Sidecar, text: str) -> labels.Labels:
    Path("labels.csv").write_text(text, encoding="utf-8")
    return labels.read("labels.csv", known)


def test_labels_are_read_by_request(known: Sidecar) -> None:
    found = read(
        known, "ripe,request_id,row\nyes,a,0\n no ,a,1\n,b,0\nyes,a,0\nmaybe,c,0\nNA,d,0\n"
    )
    assert found.values.to_dict() == {("a", "0"): "yes", ("a", "1"): "no", ("c", "0"): None}
    assert found.notes == ["Labels that are no class of the model: maybe."]


def test_a_row_with_two_labels_has_none(known: Sidecar) -> None:
    found = read(known, "request_id,row,ripe\na,0,yes\na,0,no\nb,0,no\n")
    assert found.values.to_dict() == {("b", "0"): "no"}
    assert found.notes == ["Not used: the labels of 1 row, which contradict each other."]


def test_labels_are_joined_by_key_and_the_last_answer_counts(known: Sidecar) -> None:
    keyed = replace(known, key=["id"])
    pd.DataFrame({"id": [1, 2, 4], "ripe": ["yes", "no", "odd"]}).to_parquet("labels.parquet")
    found = said(np.random.default_rng(4), 5)
    rows = asked(found)
    rows = replace(rows, keys=pd.DataFrame({"id": ["1", "2", "1", None, "4"]}))
    labelled = join(rows, labels.read("labels.parquet", keyed))
    assert labelled.ids["request_id"].tolist() == ["r1", "r2", "r4"]
    assert labelled.said.actual.tolist() == ["no", "yes", None]
    assert labelled.said.predicted.tolist() == found.predicted[[1, 2, 4]].tolist()
    assert with_class(labelled).said.actual.tolist() == ["no", "yes"]


def test_numbers_and_truth_values_are_labels_too(known: Sidecar) -> None:
    text = "request_id,row,ripe\na,0,1\nb,0,2.50\nc,0,0\n"
    assert read(replace(known, classes=None), text).values.tolist() == [1.0, 2.5, 0.0]
    assert read(replace(known, classes=[0, 1]), text).values.tolist() == [1, None, 0]
    assert read(replace(known, classes=[False, True]), text).values.tolist() == [True, None, False]
    with pytest.raises(UserError, match="ripe: 'much' must be a number"):
        read(replace(known, classes=None), "request_id,row,ripe\na,0,much\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "request_id,row\na,0\n",
            "needs 'ripe', and request_id with row or the columns of",
        ),
        ("ripe\nyes\n", "it has: ripe"),
        ('"request_id\n', "cannot be read"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(known: Sidecar, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read(known, text)
    with pytest.raises(UserError, match="no such file"):
        labels.read("elsewhere.csv", known)


@pytest.mark.parametrize(
    ("hits", "rows"), [(200, 200), (199, 200), (190, 200), (990, 1000), (60, 99)]
)
def test_a_wider_interval_of_a_share_is_wilsons_or_wider(hits: int, rows: int) -> None:
    value = hits / rows
    for z in (2.5, 3.3):
        ends = wilson(hits, rows, 2 * NormalDist().cdf(z) - 1)
        for end, wider in zip(wilson(hits, rows), ends, strict=True):
            reach = abs(wider - value)
            assert 0.97 * reach <= _reach("accuracy", value, end, z) <= 1.6 * reach


def test_metrics_of_other_ranges_have_wider_intervals_too() -> None:
    z = 2 * NormalDist().inv_cdf(0.975)
    assert _reach("rmse", 1.0, 2.0, z) == pytest.approx(3)  # 1, 2, 4
    assert _reach("r2", 0.0, -1.0, z) == pytest.approx(3)
    assert _reach("own", 3.0, 2.0, z) == pytest.approx(2)  # above 1, so not what lacks to 1
