"""Stages take less memory than the table: what is held of it are a few columns, or a batch."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.shared.paths import TEST, TRAIN
from tests.projects import call

SMALL, LARGE, FEATURES = 2_000, 400_000, 30
BYTES = LARGE * (FEATURES + 1) * 8

# Runs a stage on a small project, then on a large one; prints by how many bytes its peak grew.
# What is held at once is a twentieth of what it is, as the table is small beside those that matter.
GROWTH = """
import importlib, os, re, sys
from pathlib import Path
from src.shared import intervals, params, tables
tables.ROWS //= 20
intervals.BLOCK //= 20
stage = importlib.import_module(f"src.{sys.argv[1]}")
stage.CELLS //= 20
peaks = []
for folder in sys.argv[2:]:
    os.chdir(folder)
    params.load.cache_clear()
    assert not stage.main()
    status = Path("/proc/self/status").read_text()
    peaks.append(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]))
print(peaks[1] - peaks[0])
"""


def rows(count: int) -> pd.DataFrame:
    random = np.random.default_rng(count)
    table = pd.DataFrame(random.random((count, FEATURES)), columns=[f"x{at}" for at in range(30)])
    table.iloc[:2] = np.array([[0.0], [1.0]])  # the ends of what the schema allows
    table["ripe"] = np.where(table["x0"] + random.normal(0, 0.3, count) > 0.5, "yes", "no")
    return table


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_the_peak_grows_by_less_than_the_table(project, run, tmp_path):
    project(table=rows(SMALL), evaluate={"importance_repeats": 0, "resamples": 100})
    assert run("prepare", "validate", "train", "evaluate").status == 0
    large = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-large")))
    table = rows(LARGE)
    for path, part in ((TRAIN, table.iloc[LARGE // 5 :]), (TEST, table.iloc[: LARGE // 5])):
        part.to_parquet(large / path, index=False, row_group_size=10_000, compression=None)
    for stage in ("validate", "evaluate"):
        command = ["python", "-c", GROWTH, stage, str(tmp_path), str(large)]
        done = call(*command, folder=tmp_path)
        assert done.status == 0, done.err
        # With the table held whole it grew by more than three times as much.
        assert int(done.out.splitlines()[-1]) < BYTES, stage
