"""The smoke test takes a few hundred rows, some of each class, and finds what is broken."""

import pyarrow as pa

from src.workflow import smoke
from tests.dvc_runs import git
from tests.workflow.runs import edit, step


def test_a_sample_has_some_rows_of_each_class():
    table = pa.table({"y": ["rare"] * 12 + ["often"] * 5_000, "x": range(5_012)})
    sample = smoke.sample(table, "y", classes=True)
    assert smoke.ROWS <= len(sample) <= smoke.ROWS + 2 * smoke.LEAST_OF_A_CLASS
    assert sample["y"].to_pylist().count("rare") >= smoke.LEAST_OF_A_CLASS
    assert smoke.sample(table, "y", classes=True) == sample


def test_it_runs_every_stage_and_leaves_nothing(clone):
    said = step(clone, "src.workflow.smoke")
    assert "smoke: every stage ran on 240 rows" in said
    assert git(clone, "status", "--porcelain") == ""


def test_it_finds_a_stage_that_breaks(clone):
    edit(clone / "src/evaluate.py", 'print(f"{name:20}', 'raise KeyError; print(f"{name:20}')
    assert "smoke: evaluate failed on 240 rows" in step(clone, "src.workflow.smoke", status=1)
