"""Stages take less memory than the table: what is held of it are a few columns, or a batch."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.shared.paths import SCHEMA, TEST, TRAIN
from tests.projects import call

SMALL, LARGE, FEATURES = 2_000, 400_000, 30
BYTES = LARGE * (FEATURES + 1) * 8
MANY, LETTERS = 200_000, 400  # texts, and letters of each

# Runs a stage on a small project, then on a large one; prints by how many bytes its peak grew.
# What is held at once is a twentieth of what it is, as the table is small beside those that matter.
GROWTH = """
import importlib, os, re, sys
from pathlib import Path
from src.shared import intervals, params, raw, tables
tables.ROWS //= 20
raw.BLOCK //= 20
intervals.BLOCK //= 20
stage = importlib.import_module(f"src.{sys.argv[1]}")
if hasattr(stage, "CELLS"):
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
        # With the table held whole it grew by more than three times as much.
        assert growth(stage, tmp_path, large) < BYTES, stage


def growth(stage: str, small: Path, large: Path) -> int:
    """Return by how many bytes the peak of a stage is higher in a large project."""
    done = call("python", "-c", GROWTH, stage, str(small), str(large), folder=small)
    assert done.status == 0, done.err
    return int(done.out.splitlines()[-1])


def notes(count: int) -> pd.DataFrame:
    random = np.random.default_rng(count)
    ripe = random.choice(["yes", "no"], count)
    notes = [f"{at}{'x' * LETTERS}" for at in range(count)]
    return pd.DataFrame({"note": notes, "size": np.arange(count) % 7, "ripe": ripe})


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_texts_that_all_differ_are_not_held(project, run, tmp_path):
    """Neither the texts nor a count for each, though the schema says that each is unique."""
    project(table=notes(SMALL))
    head, name, rest = SCHEMA.read_text().partition("  note:")
    SCHEMA.write_text(head + name + rest.replace("unique: false", "unique: true", 1))
    assert run("prepare", "validate").status == 0
    large = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-large")))
    table, cut = notes(MANY), MANY // 5
    table.to_csv(large / "data/raw.csv", index=False)
    for path, part in ((TRAIN, table.iloc[cut:]), (TEST, table.iloc[:cut])):
        part.to_parquet(large / path, index=False, row_group_size=10_000)
    for stage in ("validate", "schema"):
        # With the texts held it grew by ten and by three times as much.
        assert growth(stage, tmp_path, large) < MANY * LETTERS, stage
