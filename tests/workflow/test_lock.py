"""What is stale, what must be fetched for it, and which metrics agree."""

from pathlib import Path

import pytest

from src.shared import pipeline
from src.shared.errors import UserError
from src.shared.pipeline import Stage
from src.workflow import lock, stale

# As dvc.lock may have them: in the order of their names.
LOCK = {
    "stages": {
        "evaluate": {
            "deps": [{"path": "test", "md5": "t1"}, {"path": "model", "md5": "m1"}],
            "outs": [{"path": "metrics", "md5": "s1"}],
        },
        "gate": {"deps": [{"path": "metrics", "md5": "s1"}], "outs": []},
        "prepare": {
            "deps": [{"path": "raw", "md5": "r1"}, {"path": "code", "md5": "c1"}],
            "outs": [{"path": "train", "md5": "n1"}, {"path": "test", "md5": "t1"}],
        },
        "train": {
            "deps": [{"path": "train", "md5": "n1"}],
            "outs": [{"path": "model", "md5": "m1"}],
        },
    }
}
STAGES = pipeline.stages_of(LOCK)
TRACKED = {"raw", "train", "test", "model"}
RAW = {"raw": "r1"}


def test_stages_come_in_the_pipelines_order():
    assert list(STAGES) == ["prepare", "train", "evaluate", "gate"]


def test_stages_that_depend_on_one_another_end_in_one_line():
    entries = [{"deps": [{"path": a}], "outs": [{"path": b}]} for a, b in ("xy", "yx")]
    with pytest.raises(UserError, match="a, b depend on one another"):
        pipeline.stages_of({"stages": dict(zip("ab", entries, strict=True))})


def test_a_stage_that_is_no_more_is_not_stale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text("stages: {old: {deps: []}, new@1: {deps: []}}")
    Path("dvc.yaml").write_text("stages: {new: {matrix: {}}}")
    assert list(pipeline.read_lock()["stages"]) == ["new@1"]


@pytest.mark.parametrize(
    ("status", "pointers", "expected"),
    [
        ({}, RAW, {}),
        # Data that is not here is no change.
        ({"prepare": [{"changed deps": {"raw": "deleted"}}]}, RAW, {}),
        ({"train": [{"changed outs": {"model": "not in cache"}}]}, RAW, {}),
        ({"train": [{"changed outs": {"model": "deleted"}}]}, RAW, {}),
        ({"raw.dvc": [{"changed outs": {"raw": "deleted"}}]}, RAW, {}),
        # Code, parameters, the command, data.
        ({"prepare": [{"changed deps": {"code": "modified"}}]}, RAW, {"prepare": "code"}),
        ({"prepare": [{"changed deps": {"code": "deleted"}}]}, RAW, {"prepare": "code"}),
        (
            {"gate": [{"changed deps": {"params.yaml": {"gate": "modified"}}}]},
            RAW,
            {"gate": "gate"},
        ),
        ({"train": ["changed command"]}, RAW, {"train": "command"}),
        ({}, {"raw": "r2"}, {"prepare": "raw"}),
        # Edited results; a stage that was never run.
        ({"evaluate": [{"changed outs": {"metrics": "modified"}}]}, RAW, {"evaluate": "metrics"}),
        ({"more": [{"changed deps": {"new": "new"}}]}, RAW, {"more": "new"}),
    ],
)
def test_stale_stages(status, pointers, expected):
    assert stale.stale_stages(status, STAGES, pointers) == expected


def test_a_stage_that_read_what_another_no_longer_makes_is_stale():
    stages = STAGES | {"train": Stage({"train": "n0"}, {"model": "m1"})}
    assert stale.stale_stages({}, stages, RAW) == {"train": "train"}


@pytest.mark.parametrize(
    ("changed", "run", "read"),
    [
        ([], [], set()),
        (["gate"], ["gate"], set()),
        (["evaluate"], ["evaluate", "gate"], {"test", "model"}),
        (["train"], ["train", "evaluate", "gate"], {"train", "test"}),
        (["prepare"], ["prepare", "train", "evaluate", "gate"], {"raw"}),
    ],
)
def test_no_more_is_fetched_than_is_read(changed, run, read):
    assert pipeline.followers(STAGES, changed) == run
    assert pipeline.inputs(STAGES, run, TRACKED) == read


@pytest.mark.parametrize(
    ("committed", "computed", "agree"),
    [
        ({"a": 0.95}, {"a": 0.95}, True),
        ({"a": 0.9646}, {"a": 0.9558}, True),  # one row of 113
        ({"a": 0.95}, {"a": 0.93}, False),
        ({"rmse": 1000.0}, {"rmse": 1005.0}, True),
        ({"rmse": 1000.0}, {"rmse": 1020.0}, False),
        ({"a": 0.95}, {}, False),
        ({}, {"a": 0.95}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": "0.95"}, {"a": 0.95}, False),
    ],
)
def test_metrics_agree_within_a_tolerance(committed, computed, agree):
    assert bool(lock.disagreements(committed, computed)) != agree
