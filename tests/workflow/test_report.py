"""The report: verdict first, what it quotes harmless, complete without a network."""

import json
import re

import pytest

from src.report import changes, headline, loosened, metric_rows
from src.shared.page import Block, Plot, Table, to_html, to_markdown
from src.workflow.report import describe
from src.workflow.state import State
from tests.workflow.runs import step

PASSED = {
    "metric": "accuracy",
    "value": 0.96,
    "min": 0.9,
    "max": None,
    "passed": True,
    "reason": "",
}
FAILED = PASSED | {"value": 0.8, "passed": False, "reason": "too low"}
TRAINED = {"repro": {"outcome": "success"}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": {"min": 0.9}}, {"a": {"min": 0.9}}, []),
        ({"a": {"min": 0.9}}, {"a": {"min": 0.95}, "b": {"min": 1}}, []),
        ({"a": {"min": 0.9}}, {"a": {"min": 0.8}}, ["`gate.a.min` from 0.9 to 0.8"]),
        ({"a": {"max": 5}}, {"a": {"max": 6}}, ["`gate.a.max` from 5 to 6"]),
        ({"a": {"max": 5}}, {"a": {"max": 4}}, []),
        ({"a": {"min": 0.9}}, {"b": {"min": 0.9}}, ["`gate.a.min` from 0.9 to none"]),
        (
            {"a": {"min": 1, "max_drop": 0.1}},
            {"a": {"min": 1, "max_drop": 0.2}},
            ["`gate.a.max_drop` from 0.1 to 0.2"],
        ),
        ({}, {"a": {"min": 0.9}}, []),
        # What is no bound: the pipeline refuses it, and the report says so.
        ({"a": 0.9, "b": {"min": "x"}}, {"a": {"min": 0.9}}, []),
        ({"a": {"min": 0.9}}, {"a": 0.9}, ["`gate.a.min` from 0.9 to none"]),
        (None, None, []),
    ],
)
def test_loosened_bounds(old, new, said):
    assert loosened(old, new) == said


def test_the_verdict_comes_first():
    assert next(headline(describe(State(), TRAINED, ""), [PASSED])) == "# ✅ Passed"
    steps = {"gate": {"outcome": "failure"}, "lock": {"outcome": "skipped"}} | TRAINED
    assert list(headline(describe(State(), steps, "failure"), [FAILED])) == [
        "# ❌ Rejected at: metrics check",
        "`accuracy` is 0.8000: too low",
    ]
    steps = {"pull": {"outcome": "failure"}, "repro": {"outcome": "skipped"}}
    assert list(headline(describe(State(problem="no data"), steps, "failure"), [])) == [
        "# ❌ Stopped at: dvc pull",
        "no data",
        "**The model was not trained** in this run.",
    ]


def test_changes_are_listed_by_their_whole_name():
    old, new = {"train": {"a": 1, "b": {"c": None}}}, {"train": {"a": 2, "b": {"c": [1]}}, "d": 0.5}
    assert list(changes(old, new)) == [
        ("`train.a`", "1", "2"),
        ("`train.b.c`", "-", "[1]"),
        ("`d`", "-", "0.5000"),
    ]


def test_metrics_stand_beside_the_champions():
    rows = metric_rows(
        {"f1": 0.9, "accuracy": 0.96}, {"accuracy": 0.95}, {"f1": {"low": 0.8, "high": 1}}, [PASSED]
    )
    assert rows == [
        ("`accuracy`", "0.9600", "-", "0.9500", "+0.0100", "≥ 0.9", "✅"),
        ("`f1`", "0.9000", "0.8000 to 1", "-", "-", "", ""),
    ]


def test_what_is_quoted_stays_text():
    blocks: list[Block] = [Table(("a|b", "c"), [("<img src=x>", "x\n| y |")]), "<script>"]
    markdown, page = to_markdown(blocks), to_html(blocks)
    assert "| a\\|b | c |" in markdown
    assert "| &lt;img src=x> | x \\| y \\| |" in markdown
    assert "<img" not in page
    assert "<script" not in page


def test_plots_need_nothing_from_elsewhere():
    roc = Plot("ROC", "x", "y", [(0, 0), (0, 0.8), (0.5, 0.9), (1, 1)])
    residuals = Plot("Residuals", "x", "y", [(1.0, -2.0), (2.0, 2.0), (3.0, 0.0)], counts=True)
    markdown = to_markdown([roc, residuals])
    assert markdown.count("xychart-beta") == 2
    (curve,) = re.findall(r"line (\[0\.8.+\])", markdown)
    assert json.loads(curve)[0] == 0.8
    (bars,) = re.findall(r"bar (\[.+\])", markdown)
    assert sum(json.loads(bars)) == 3
    page = to_html([roc, residuals])
    assert page.count("<svg") == 2
    assert not re.search(r"(src|href)=|@import|url\(|https?://", page)


def test_a_report_of_what_is_on_the_desk(clone):
    step(clone, "src.report")
    markdown = (clone / "report/report.md").read_text("utf-8")
    assert markdown.startswith("# ✅ Passed")
    for heading in ("## Metrics", "## Validation", "## Parameters", "## Stages"):
        assert heading in markdown
    assert "<svg" in (clone / "report/report.html").read_text("utf-8")
