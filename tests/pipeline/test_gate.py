import json
from typing import Any

import pytest

from src.gate import raise_accuracy
from src.metrics import METRICS as METRICS_TABLE
from src.metrics import Metric
from src.shared import files
from src.shared.errors import UserError
from src.shared.params import Bound
from src.shared.paths import METRICS, MODEL, PROVENANCE, VERDICTS
from src.shared.verdicts import Drop, Verdict, judge, table_of
from tests.projects import ROOT, call

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def gate(project, run, monkeypatch):
    """Judge metrics (an object, or a file's bytes, or no file) with bounds, as a process does."""

    def judged(metrics: Any, bounds: Any, least: str | None = None):
        project(gate=bounds)
        METRICS.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(metrics, bytes):
            METRICS.write_bytes(metrics)
        elif metrics is not None:
            METRICS.write_text(json.dumps(metrics))
        MODEL.parent.mkdir(exist_ok=True)
        MODEL.write_text("a model")
        named = [path for path in (MODEL, METRICS) if path.exists()]
        PROVENANCE.write_text(json.dumps({path.as_posix(): files.md5(path) for path in named}))
        if least is not None:
            monkeypatch.setenv("MIN_ACCURACY", least)
        return run("gate")

    return judged


def verdict(value: Any, **bound: Any) -> Verdict:
    (found,) = judge({"m": value}, {"m": Bound(**bound)})
    return found


@pytest.mark.parametrize(
    ("value", "bound", "passed"),
    [
        (0.9, {"min": 0.9}, True),
        (0.9, {"max": 0.9}, True),
        (0.9, {"min": 0.9, "max": 0.9}, True),
        (0.5, {"min": 0.1, "max": 0.9}, True),
        (1, {"min": 0.9}, True),
        (-5, {"max": 0}, True),
        (0.8999999, {"min": 0.9}, False),
        (0.9000001, {"max": 0.9}, False),
        (0.95, {"min": 0.1, "max": 0.9}, False),
        (0.05, {"min": 0.1, "max": 0.9}, False),
    ],
)
def test_bounds_are_inclusive(value, bound, passed):
    found = verdict(value, **bound)
    assert found.passed == passed
    assert found.value == value
    assert (found.min, found.max) == (bound.get("min"), bound.get("max"))
    assert found.reason in ([""] if passed else ["too low", "too high"])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not a number"),
        ("0.99", "not a number"),
        (True, "not a number"),
        ([0.99], "not a number"),
        ({"value": 0.99}, "not a number"),
        (NAN, "not finite"),
        (INF, "not finite"),
        (-INF, "not finite"),
        (10**400, "not finite"),
        (-(10**400), "not finite"),
    ],
)
@pytest.mark.parametrize("bound", [{"min": 0.0}, {"max": 1.0}, {"min": -1e308, "max": 1e308}])
def test_only_a_finite_number_passes(value, reason, bound):
    found = verdict(value, **bound)
    assert not found.passed
    assert found.reason == reason
    assert found.value is None


def test_every_bound_has_its_verdict_in_order():
    bounds = {"b": Bound(min=0), "a": Bound(min=0), "c": Bound(max=1)}
    found = judge({"a": -1, "b": 1, "other": 5}, bounds)
    assert [(one.metric, one.passed, one.reason) for one in found] == [
        ("b", True, ""),
        ("a", False, "too low"),
        ("c", False, "missing"),
    ]


@pytest.mark.parametrize(
    ("bound", "text", "expected"),
    [
        ({"min": 0.8}, None, {"min": 0.8}),
        ({"min": 0.8}, "0.9", {"min": 0.9}),
        ({"min": 0.8}, "0.7", {"min": 0.8}),
        ({"min": 0.8}, "0.8", {"min": 0.8}),
        ({"max": 0.99}, "0.9", {"min": 0.9, "max": 0.99}),
        ({"min": -1}, "0", {"min": 0}),
        (None, "0.9", {"min": 0.9}),
        (None, "0", {"min": 0.0}),
        (None, "1", {"min": 1.0}),
    ],
)
def test_min_accuracy_raises_the_bound_and_never_lowers_it(bound, text, expected):
    bounds = {"f1": Bound(min=0.5)} | ({"accuracy": Bound(**bound)} if bound else {})
    found = raise_accuracy(bounds, text)
    assert found["f1"] == Bound(min=0.5)
    assert found["accuracy"] == Bound(**expected)


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "1.5", "-0.1", "", " ", "90%", "0,9"])
def test_min_accuracy_that_is_no_share_is_refused(text):
    with pytest.raises(UserError, match=r"MIN_ACCURACY is .*; allowed: a number from 0 to 1"):
        raise_accuracy({"accuracy": Bound(min=0.5)}, text)


@pytest.mark.parametrize(
    ("metrics", "bounds", "least", "status"),
    [
        ({"accuracy": 0.9, "f1": 0.8}, {"accuracy": {"min": 0.9}, "f1": {"min": 0.5}}, None, 0),
        ({"accuracy": 0.9, "f1": 0.4}, {"accuracy": {"min": 0.9}, "f1": {"min": 0.5}}, None, 1),
        ({"accuracy": 0.9}, {"accuracy": {"min": 0.8}}, "0.85", 0),
        ({"accuracy": 0.9}, {"accuracy": {"min": 0.8}}, "0.95", 1),
        ({"accuracy": 0.9, "f1": 0.9}, {"f1": {"min": 0.8}}, "0.95", 1),
        ({"rmse": 3}, {"rmse": {"max": 4}}, "0", 1),  # a bound on an accuracy that is not there
        ({}, {"accuracy": {"min": 0}}, None, 1),
        ({"accuracy": NAN}, {"accuracy": {"min": 0}}, None, 1),
        (b'{"accuracy": 1e999}', {"accuracy": {"min": 0}}, None, 1),
        ({"accuracy": 10**400}, {"accuracy": {"min": 0}}, None, 1),
    ],
)
def test_verdicts_are_printed_and_recorded(gate, metrics, bounds, least, status):
    done = gate(metrics, bounds, least)
    assert done.status == status
    assert done.err == ""
    report = json.loads(VERDICTS.read_text())
    assert report["passed"] == (status == 0)
    names = [one["metric"] for one in report["verdicts"]]
    assert names == list(bounds | ({"accuracy": 0} if least else {}))
    head, *lines, last = done.out.splitlines()
    assert head.split() == ["metric", "value", "bound", "verdict"]
    assert [line.split()[0] for line in lines] == names
    for line, one in zip(lines, report["verdicts"], strict=True):
        ending = "passed" if one["passed"] else f"REJECTED: {one['reason']}"
        assert line.endswith("  " + ending)
    assert last == ("gate: REJECTED" if status else "gate: passed")


@pytest.mark.parametrize(
    ("metrics", "bounds", "least", "expected"),
    [
        (None, {"accuracy": {"min": 0}}, None, "metrics.json: not found; run `dvc repro -f eval"),
        (b"", {"accuracy": {"min": 0}}, None, "metrics.json: not valid JSON"),
        (b'{"accuracy": 0.9', {"accuracy": {"min": 0}}, None, "metrics.json: not valid JSON"),
        (b'{"accuracy": "\xff"}', {"accuracy": {"min": 0}}, None, "metrics.json: not valid JSON"),
        (b'{"accuracy": 1' + b"0" * 5000 + b"}", {"accuracy": {"min": 0}}, None, "not valid JSON"),
        ([0.9], {"accuracy": {"min": 0}}, None, "metrics.json: not a JSON object; run `dvc"),
        (b"0.9", {"accuracy": {"min": 0}}, None, "metrics.json: not a JSON object"),
        ({"accuracy": 1}, {"accuracy": {"min": NAN}}, None, "gate.accuracy.min is nan"),
        ({"accuracy": 1}, {"accuracy": {"min": -INF}}, None, "gate.accuracy.min is -inf"),
        ({"accuracy": 1}, {"accuracy": {"min": "0.9"}}, None, "gate.accuracy.min is '0.9'"),
        ({"accuracy": 1}, {"accuracy": {"min": True}}, None, "gate.accuracy.min is True"),
        ({"accuracy": 1}, {"accuracy": {}}, None, "gate.accuracy.min: a bound needs min, max"),
        ({"accuracy": 1}, {}, None, "gate is {}; allowed: at least one metric"),
        ({"accuracy": 1}, {"accuracy": {"min": 0}}, "abc", "MIN_ACCURACY is 'abc'"),
        ({"accuracy": 1}, {"accuracy": {"min": 0}}, "", "MIN_ACCURACY is ''"),
    ],
)
def test_what_cannot_be_judged_ends_with_2_and_an_earlier_report_stays(
    gate, metrics, bounds, least, expected
):
    VERDICTS.parent.mkdir()
    VERDICTS.write_text("of an earlier run")
    done = gate(metrics, bounds, least)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert expected in done.err
    assert done.err.count("\n") == 1
    assert VERDICTS.read_text() == "of an earlier run"


@pytest.mark.parametrize(
    ("value", "champion", "bound", "passed"),
    [
        (0.90, 0.92, {"min": 0.8, "max_drop": 0.02}, True),  # inclusive, in spite of 0.92 - 0.90
        (0.899, 0.92, {"min": 0.8, "max_drop": 0.02}, False),
        (0.99, 0.92, {"min": 0.8, "max_drop": 0.0}, True),
        (0.5, 0.92, {"min": 0.4}, True),  # no max_drop: not compared
        (0.79, 0.80, {"min": 0.8, "max_drop": 0.1}, False),  # the bound still counts
        (5.2, 5.0, {"max": 9, "max_drop": 0.1}, False),  # an error is worse when it rises
        (5.1, 5.0, {"max": 9, "max_drop": 0.1}, True),
        (1.0, 5.0, {"max": 9, "max_drop": 0.1}, True),
        (0.85, 0.92, {"min": 0.8, "max": 1.0, "max_drop": 0.02}, False),
        (0.85, None, {"min": 0.8, "max_drop": 0.02}, True),  # the champion lacks this metric
        (0.85, NAN, {"min": 0.8, "max_drop": 0.02}, True),
    ],
)
def test_a_drop_against_the_champion(value, champion, bound, passed):
    (found,) = judge({"m": value}, {"m": Bound(**bound)}, {"m": champion})
    assert found.passed == passed
    if not passed and value >= bound.get("min", 0):
        assert "worse than the champion" in found.reason


def test_mistake_of_ours_is_no_verdict():
    code = "from src import gate\ngate.errors.run(lambda: gate.nothing, status=2)"
    done = call("python", "-c", code, folder=ROOT)
    assert done.status == 2
    assert "AttributeError" in done.err


@pytest.mark.parametrize(
    ("metric", "value", "champion", "bound", "passed"),
    [
        ("rmse", 119, 100, {"min": 0, "max": 120, "max_drop": 5}, False),
        ("rmse", 50, 100, {"min": 0, "max": 120, "max_drop": 5}, True),
        ("accuracy", 0.5, 0.95, {"max": 0.999, "max_drop": 0.02}, False),
        ("recall_b", 0.5, 0.95, {"min": 0.1, "max_drop": 0.02}, False),
    ],
)
def test_which_way_is_worse_does_not_depend_on_the_bounds(metric, value, champion, bound, passed):
    (found,) = judge({metric: value}, {metric: Bound(**bound)}, {metric: champion})
    assert found.passed == passed


@pytest.mark.parametrize("way", ["higher", "lower"])
def test_which_way_an_own_metric_is_worse_is_what_metrics_says(monkeypatch, way):
    monkeypatch.setitem(METRICS_TABLE, "mine", Metric(way, ("binary",), lambda *_: 0.0))
    for bound in (Bound(min=0, max_drop=0.02), Bound(max=1, max_drop=0.02)):
        (found,) = judge({"mine": 0.6}, {"mine": bound}, {"mine": 0.5})
        assert found.passed == (way == "higher")


CHANCE = Drop(0.03, -0.01, 0.07, 113)
REAL = Drop(0.03, 0.01, 0.05, 1000)
SURE = Drop(0.05, 0.03, 0.07, 1000)
NONE = Drop(-0.001, -0.02, 0.02, 1000)


@pytest.mark.parametrize(
    ("drop", "best", "undecided", "passed", "told"),
    [
        (NONE, None, "pass", True, ""),  # though the table of metrics says 0.1
        (CHANCE, None, "pass", True, "it may be chance"),
        (CHANCE, None, "reject", False, "it may be chance"),
        (REAL, None, "pass", False, "0.03 worse than the champion, allowed 0.02"),
        (None, None, "pass", False, "0.1 worse than the champion, allowed 0.02"),
        (NONE, REAL, "pass", True, ""),
        (NONE, SURE, "pass", False, "0.05 worse than the best model so far, allowed 0.02"),
        (CHANCE, SURE, "pass", False, "worse than the best model so far"),
    ],
)
def test_a_drop_on_the_same_rows_goes_before_the_tables(drop, best, undecided, passed, told):
    bound = Bound(min=0.5, max_drop=0.02, undecided=undecided)
    drops, from_best = ({"accuracy": one} if one else {} for one in (drop, best))
    (found,) = judge({"accuracy": 0.8}, {"accuracy": bound}, {"accuracy": 0.9}, drops, from_best)
    assert (found.passed, found.drop, found.drop_from_best) == (passed, drop, best)
    assert told in (found.warning if passed else found.reason)
    assert bool(found.warning or found.reason) == bool(told)
    if drop is REAL:
        assert "(90 % interval 0.01 to 0.05, 1000 shared rows)" in table_of([found])
