"""The report: verdict first, what it quotes harmless, complete without a network."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from src.report import changes, draw, headline, metric_rows, plot_blocks
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
        {"f1": 0.9, "accuracy": 0.96},
        {"accuracy": 0.95},
        {"f1": {"low": 0.8, "high": 1, "note": "rough"}, "accuracy": {"low": None, "high": None}},
        [PASSED],
        {"accuracy": 0.6},
    )
    assert rows == [
        ("`accuracy`", "0.9600", "-", "0.6000", "0.9500", "+0.0100", "≥ 0.9", "✅"),
        ("`f1`", "0.9000", "0.8000 to 1 (rough)", "-", "-", "-", "", ""),
    ]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"drop": None, "warning": ""}, "✅"),
        (
            {"drop": {"estimate": 0.01, "low": -0.01, "high": 0.03, "rows": 113}, "warning": ""},
            "✅ 0.0100 worse (90 % interval -0.0100 to 0.0300, 113 shared rows)",
        ),
        ({"drop": {"rows": 113}, "warning": "0.03 worse"}, "⚠️ 0.03 worse"),
    ],
)
def test_a_verdict_tells_the_drop_on_the_same_rows(more, word):
    [row] = metric_rows({"accuracy": 0.96}, {}, {}, [PASSED | more], {})
    assert row[-1] == word


def test_what_is_quoted_stays_text():
    blocks: list[Block] = [Table(("a|b", "c"), [("<img src=x>", "x\n| y |")]), "<script>"]
    markdown, page = to_markdown(blocks), to_html(blocks)
    assert "| a\\|b | c |" in markdown
    assert "| &lt;img src=x> | x \\| y \\| |" in markdown
    assert "<img" not in page
    assert "<script" not in page


ROC = {"template": "simple", "title": "ROC", "x": "fpr", "y": "tpr"}


def test_plots_need_nothing_from_elsewhere():
    curve = draw(ROC, [(0, 0), (0, 0.8), (1, 1), (0.5, 0.9)])
    dots = draw(ROC | {"template": "scatter"}, [(1.0, -2.0), (2.0, 2.0), (3.0, 0.0)])
    blocks = [*curve, *dots]
    markdown = to_markdown(blocks)
    assert markdown.count("xychart-beta") == 2
    (line,) = re.findall(r"line (\[.+\])", markdown)
    assert json.loads(line) == pytest.approx(
        [*np.linspace(0.8, 0.9, 21), *np.linspace(0.9, 1, 21)[1:]], abs=1e-3
    )
    (bars,) = re.findall(r"bar (\[.+\])", markdown)
    assert sum(json.loads(bars)) == 3
    assert 'x-axis "tpr" -2 --> 2' in markdown
    page = to_html(blocks)
    assert page.count("<svg") == 2
    assert "40.0,360.0 40.0,88.0 210.0,54.0 380.0,20.0" in page
    assert not re.search(r"(src|href)=|@import|url\(|https?://", page)


def test_plots_of_text_are_tables():
    cells = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "b")]
    said = {"title": "Which", "x": "actual", "y": "predicted"}
    assert list(draw(said | {"template": "confusion"}, cells)) == [
        "**Which**",
        Table(("actual / predicted", "a", "b"), [("a", "1", "1"), ("b", "0", "2")]),
    ]
    bars = {"x": "mean", "y": "metric", "x_label": "Mean"}
    assert list(draw(bars, [(0.5, "f1")])) == [
        "**metric**",
        Table(("metric", "Mean"), [("f1", "0.5000")]),
    ]


def test_every_plot_that_dvc_yaml_names_is_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.json").write_text(json.dumps([{"a": 1, "b": 2}, {"a": 3, "b": None}, {"a": 2}]))
    Path("none.json").write_text("[]")
    how = {"x": "a", "y": "b", "title": "Mine"}
    declared = ["other.json", {"mine.json": how}, {"none.json": how}, {"lost.json": how}]
    declared += [{"by_dvc": {"y": {"mine.json": "a"}}}, {"empty": None}]
    assert list(plot_blocks(declared)) == [Plot("Mine", "a", "b", [(1, 2)])]


def test_a_report_of_what_is_on_the_desk(clone):
    step(clone, "src.report")
    markdown = (clone / "report/report.md").read_text("utf-8")
    assert markdown.startswith("# ✅ Passed")
    for heading in ("## Metrics", "## Plots", "## Validation", "## Parameters", "## Stages"):
        assert heading in markdown
    assert "<svg" in (clone / "report/report.html").read_text("utf-8")
