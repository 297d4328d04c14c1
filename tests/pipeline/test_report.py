"""The report: verdict first, both models side by side, complete whatever is there."""

import json
from dataclasses import replace

import pytest

from src import card
from src.report import Run, headline, metric_blocks, mood
from src.shared import loosened
from src.shared.loosened import Loosened
from src.shared.page import Picture, to_markdown
from src.shared.paths import INTERVALS, SIDECAR
from src.shared.plots import BOUND, COLOURS
from src.shared.sections import (
    Measured,
    changes,
    drift_blocks,
    loosened_blocks,
    metric_pictures,
    metric_rows,
    search_blocks,
    slice_blocks,
    stage_blocks,
    validation_blocks,
)
from src.shared.slices import Estimate, Slice
from src.shared.verdicts import Drop, Verdict, Worst

PASSED = Verdict("accuracy", 0.96, 0.9, None, True, "")
FAILED = replace(PASSED, value=0.8, passed=False, reason="too low")
WORSE = replace(PASSED, drop=Drop(0.01, -0.01, 0.03, 113))
UNDECIDED = replace(WORSE, warning="0.03 worse than the champion, allowed 0.02; it may be chance")


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
        (
            {"a": {"min": 1, "undecided": "reject"}},
            {"a": {"min": 1}},
            ["`gate.a.undecided` from reject to none"],
        ),
        ({}, {"a": {"min": 0.9}}, []),
        # What is no bound: the pipeline refuses it, and the report says so.
        ({"a": 0.9}, {"a": {"min": 0.9}}, ["`gate.a` from 0.9 to none"]),
        ({"a": {"min": 0.9}}, {"a": 0.9}, ["`gate.a.min` from 0.9 to none"]),
        (None, None, []),
    ],
)
def test_looser_bounds(old, new, said):
    found = loosened.settings({"gate": old}, {"gate": new})
    assert [f"`{one.what}` from {one.was} to {one.now}" for one in found] == said


def test_what_loosens_the_judgement_is_told_with_its_reason():
    found = [
        Loosened("gate.a|b.min", "0.9", "0.8", needs_reason=True),
        Loosened("prepare.seed", "1", "2", needs_reason=True, reason="<b>because</b>"),
        Loosened("src/gate.py", role="the gate's code"),
    ]
    assert to_markdown(loosened_blocks(found)).splitlines()[4:] == [
        "| gate.a\\|b.min | 0.9 → 0.8 | ❌ needs a reason |",
        "| `prepare.seed` | 1 → 2 | \\<b>because\\</b> |",
        "| `src/gate.py` | the gate's code |  |",
    ]
    assert list(loosened_blocks([])) == []


@pytest.mark.parametrize(
    ("run", "verdicts", "said", "how"),
    [
        (
            Run(),
            [PASSED, replace(PASSED, metric="f1", value=0.5)],
            "# ✅ Passed\n\nThe model meets all 2 bounds: `accuracy` (0.9600), `f1` (0.5000).\n",
            "good",
        ),
        (
            Run(),
            [WORSE],
            "# ✅ Passed\n\nThe model meets its bound: `accuracy` (0.9600); beside the champion, "
            "on 113 rows that both tested: `accuracy` 0.0100 worse.\n",
            "good",
        ),
        (
            Run(),
            [UNDECIDED],
            "# ✅ Passed\n\nThe model meets its bound: `accuracy` (0.9600); `accuracy` needs a "
            f"look: {UNDECIDED.warning}.\n",
            "open",
        ),
        (
            Run(where="metrics check"),
            [FAILED],
            "# ❌ Rejected at: metrics check\n\n`accuracy` is 0.8000 (≥ 0.9): too low\n",
            "bad",
        ),
        (
            Run(failed=("no data",), where="dvc pull", trained=False),
            [],
            "# ❌ Stopped at: dvc pull\n\nno data\n\n**The model was not trained** in this run.\n",
            "bad",
        ),
        (Run(), [], "# ❔ Not judged\n\nThe gate has not judged this model.\n", "open"),
    ],
)
def test_the_verdict_comes_first(run, verdicts, said, how):
    assert to_markdown(headline(run, verdicts)) == said
    assert mood(run, verdicts) == how


def test_changes_are_listed_by_their_whole_name():
    old, new = {"train": {"a": 1, "b": {"c": None}}}, {"train": {"a": 2, "b": {"c": [1]}}, "d": 0.5}
    assert list(changes(old, new)) == [
        ("`train.a`", "1", "2"),
        ("`train.b.c`", "-", "[1]"),
        ("`d`", "-", "0.5000"),
    ]


@pytest.mark.parametrize(
    ("rows", "method", "told"),
    [
        ([80, 80], "BCa", []),
        ([], "BCa", []),  # a model from before its rows were noted
        ([40, 80], "BCa", ["Trained on a sample: 40 of the train split's 80 rows."]),
        ([80, 80], "jackknife", ["width is known to 7 %"]),
        ([1_000, 80_000], "jackknife", ["width is known to 7 %", "1,000 of the train"]),
    ],
)
def test_a_sample_and_intervals_of_sets_are_told(trained, rows, method, told):
    """In the report, and in the model's card; neither is said where it does not hold."""
    SIDECAR.write_text(json.dumps(json.loads(SIDECAR.read_text()) | {"rows": rows}))
    ends = json.loads(INTERVALS.read_text())
    INTERVALS.write_text(json.dumps({name: one | {"method": method} for name, one in ends.items()}))
    for text in (to_markdown(metric_blocks(None, "", [])), card.compose()):
        assert all(one in text for one in told)
        assert text.count("7 %") + text.count("Trained on a sample") == len(told)


def test_metrics_stand_beside_the_champions():
    known = Measured(
        {"f1": 0.9, "accuracy": 0.96},
        {"accuracy": 0.95},
        {"f1": {"low": 0.8, "high": 1, "note": "rough"}, "accuracy": {"low": None, "high": None}},
        {"accuracy": 0.6},
        [PASSED],
    )
    assert metric_rows(known) == [
        ("`accuracy`", "0.9600", "-", "0.6000", "0.9500", "+0.0100", "≥ 0.9", "✅"),
        ("`f1`", "0.9000", "0.8000 to 1 (rough)", "-", "-", "-", "", ""),
    ]


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (PASSED, "✅"),
        (WORSE, "✅ 0.0100 worse (-0.0300 to 0.0100)"),
        (replace(WORSE, drop=Drop(0.0, 0.0, 0.0, 113)), "✅ the same (0.0000 to 0.0000)"),
        (UNDECIDED, f"⚠️ {UNDECIDED.warning}"),
        (
            replace(PASSED, worst=Worst("sex = f", 41, 0.85, 0.7, 0.93)),
            "✅, worst slice: 0.85 where sex = f (41 rows, 95 % interval 0.7 to 0.93)",
        ),
        (FAILED, "❌ too low"),
    ],
)
def test_a_verdict_tells_the_drop_on_the_same_rows(verdict, word):
    [row] = metric_rows(Measured({"accuracy": 0.96}, verdicts=[verdict]))
    assert row[-1] == word


def test_both_models_and_the_paired_interval_are_drawn():
    known = Measured({"accuracy": 0.96}, {"accuracy": 0.95}, verdicts=[PASSED])
    [both] = metric_pictures(known)
    assert isinstance(both, Picture)
    for text in ("this run", "champion", "bound", "accuracy"):
        assert f">{text}<" in both.svg
    assert ">baseline<" not in both.svg
    allowed = {("accuracy", "max_drop"): 0.02}
    *_, paired = metric_pictures(replace(known, verdicts=[WORSE], allowed=allowed))
    assert isinstance(paired, Picture)
    assert "worse ← champion → better" in paired.svg
    assert 'stroke-width="3"' in paired.svg
    assert list(metric_pictures(Measured({"accuracy": 0.96}))) == []


def test_slices_are_drawn_and_told():
    part = Slice("sex = <f>", "sex", 41, {"accuracy": Estimate(0.85, 0.7, 0.93)}, ["f1"])
    other = Slice("sex = m", "sex", 9, {"f1": Estimate(1.0, None, None)}, ["accuracy"])
    slices = {"sex = <f>": Drop(-0.02, -0.05, 0.01, 38)}
    verdict = replace(PASSED, slice_min=0.8, drop=Drop(0.01, -0.01, 0.03, 113, slices=slices))
    _, picture, table, note = slice_blocks([part, other], [verdict])
    assert isinstance(picture, Picture)
    assert ">sex = &lt;f&gt; (41)<" in picture.svg
    assert f'"{COLOURS[BOUND]}"' in picture.svg
    assert to_markdown([table]).splitlines()[2:] == [
        "| sex = \\<f> | 41 | 0.8500 (0.7000 to 0.9300), 0.0200 better |",
        "| sex = m | 9 | not defined |",
    ]
    assert "champion" in str(note)
    _, picture, table = slice_blocks([other], [])
    assert "| sex = m | 9 | 1.0000 |" in to_markdown([table])
    assert list(slice_blocks([], [verdict])) == []


def test_what_validate_found_odd_is_told():
    odd = {"column": "id", "what": "a name", "rows": 9, "values": "'a|b'", "remedy": "drop it"}
    wrong = {"split": "test", "column": "x", "check": "finite", "rows": 1, "values": "inf"}
    report = {"train_rows": 8, "test_rows": 2, "violations": [wrong], "warnings": [odd]}
    text = to_markdown(validation_blocks(report))
    assert "8 + 2 rows (train + test): 1 violation, 1 warning" in text
    assert "| test | x | finite | 1 | inf |" in text
    assert "| id | a name | 9 | 'a\\|b' | drop it |" in text


def test_drift_of_each_column_is_drawn_with_its_limit():
    gaps = [
        {"column": "a", "what": "drift", "size": 0.1, "allowed": 0.3},
        {"column": "b<", "what": "drift", "size": 0.25, "allowed": 0.3},
        {"column": "b<", "what": "unseen values", "size": 0.9, "allowed": 1.0},
    ]
    [picture] = drift_blocks(gaps)
    assert isinstance(picture, Picture)
    assert to_markdown([picture]) == "Drift, closest to its limit: `b<` 0.25 of 0.30\n"
    assert picture.svg.index(">b&lt;<") < picture.svg.index(">a<")
    assert picture.svg.count(f'fill="{COLOURS[BOUND]}"') == 2
    assert list(drift_blocks([])) == []


def test_seconds_of_each_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = to_markdown(stage_blocks({"train": 1.25, "mine": 0.5}))
    assert "| train | ran | 1.2 |" in text
    assert "| mine | ran | 0.5 |" in text


def test_a_search_says_of_how_many_it_chose_and_that_its_score_is_too_good():
    best = {"rank": "1", "chosen": "True", "mean": "0.97", "param_C": "0.5", "param_l1": ""}
    other = best | {"rank": "2", "chosen": "False", "mean": "0.9", "failed": ""}
    failed = other | {"rank": "3", "mean": "", "failed": "ValueError: <C>"}
    said = to_markdown(search_blocks([best | {"failed": ""}, other, failed]))
    assert (
        "picked `C=0.5` as the best of 3 candidates by their mean score (0.97) on training" in said
    )
    assert "The best of many is partly luck, so that score is too good" in said
    assert "1 of them failed, the first: ValueError: \\<C>" in said
    assert list(search_blocks([])) == []
