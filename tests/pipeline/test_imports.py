"""Imports are most of a stage's time, so the stages that can do without heavy packages must."""

import re
from pathlib import Path

import pytest

from tests.projects import call

HEAVY = {"numpy", "pandas", "pandera", "pyarrow", "scipy", "sklearn", "joblib", "dvclive", "dvc"}
HEAVY |= {"vl_convert", "markdown_it"}  # only the report draws
NEEDED = {
    "prepare": {"numpy", "pyarrow"},
    "validate": {"numpy", "pyarrow", "pandas", "pandera"},
    "gate": set(),
}


@pytest.mark.parametrize("stage", NEEDED)
def test_stage_imports_no_heavy_package_that_it_does_not_need(trained: Path, stage: str):
    done = call("python", "-X", "importtime", "-m", f"src.{stage}", folder=trained)
    assert done.status == 0, done.err
    imported = set(re.findall(r"\| +(\w+)$", done.err, re.MULTILINE))
    assert imported & HEAVY == NEEDED[stage]
