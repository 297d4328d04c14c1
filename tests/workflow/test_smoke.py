"""The smoke test takes a few hundred rows, some of each class, and finds what is broken."""

from pathlib import Path

import pyarrow as pa
import pytest

from src.shared import pipeline
from src.shared.errors import UserError
from src.shared.pipeline import Stage
from src.workflow import smoke
from tests.dvc_runs import git
from tests.workflow.runs import step


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
    with (clone / "src/evaluate.py").open("a", encoding="utf-8") as module:
        module.write("\n\ndef main() -> None:\n    raise KeyError\n")
    assert "smoke: evaluate failed on 240 rows" in step(clone, "src.workflow.smoke", status=1)


def test_the_order_is_what_stages_read_and_make(tmp_path: Path):
    path = tmp_path / "dvc.yaml"
    path.write_text(
        "stages:\n"
        "  last: {cmd: python -m src.last, deps: [b, c]}\n"
        "  second: {cmd: python -m src.mine.second, deps: [a], metrics: [b: {cache: false}]}\n"
        "  first: {cmd: python -m src.first, deps: [raw], outs: [a, c]}\n"
    )
    stages = pipeline.declared(path)
    assert [smoke.module_of(name, stage) for name, stage in stages.items()] == [
        "src.first",
        "src.mine.second",
        "src.last",
    ]
    path.write_text(
        "stages: {a: {cmd: x, deps: [b], outs: [c]}, b: {cmd: x, deps: [c], outs: [b]}}"
    )
    with pytest.raises(UserError, match="a, b depend on one another"):
        pipeline.declared(path)


@pytest.mark.parametrize("command", ["papermill a.ipynb", "python -m src.a --fast", "python a.py"])
def test_a_command_that_it_cannot_run_is_named(command):
    with pytest.raises(UserError, match=f"the command of mine is '{command}'; .* MODULE"):
        smoke.module_of("mine", Stage({}, {}, command))
