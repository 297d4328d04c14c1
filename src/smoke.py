"""A smoke test: the real stages, in a temporary place, on a few hundred rows with a small model.

It finds what breaks in seconds, before the pipeline itself is run. Its verdicts on data and model
count for nothing: a sample may be too small for them.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet

from src import files, findings, params, tables
from src.errors import UserError
from src.params import Params

ROWS = 300
LEAST_OF_A_CLASS = 10  # enough for a split and two folds
SEED = 0

# Arguments that make a model large, and what a small one takes.
SMALL = {"n_estimators": 10, "max_iter": 20, "iterations": 20}

# These may refuse a sample, with exit status 1; train takes validate's word.
MAY_REFUSE = ("validate", "gate")
VALIDATION = "metrics/validation.json"
STAGES = ("prepare", "validate", "train", "evaluate", "gate")


def sample(table: pa.Table, target: str, classes: bool) -> pa.Table:
    """Choose a few hundred rows, some of each class.

    Args:
        table: raw rows.
        target: the column to predict.
        classes: whether it holds classes.
    """
    import numpy as np

    order = np.random.default_rng(SEED).permutation(len(table))
    chosen = order[:ROWS]
    if classes:
        codes = table[target].combine_chunks().dictionary_encode("encode").indices.to_numpy()[order]
        some = [order[codes == code][:LEAST_OF_A_CLASS] for code in np.unique(codes)]
        chosen = np.unique(np.concatenate([chosen, *some]))
    return table.take(np.sort(chosen))


def small(settings: Params) -> dict[str, Any]:
    """Give the same settings for a small model and a table of a few hundred rows."""
    content: dict[str, Any] = msgspec.to_builtins(settings)
    arguments = content["train"]["arguments"]
    for name, most in SMALL.items():
        if isinstance(arguments.get(name), int):
            arguments[name] = min(arguments[name], most)
    content["data"] |= {"raw": "data/raw.parquet", "drop": []}
    content["validate"] |= {"min_train_rows": 1, "min_test_rows": 1, "max_drift": 1.0}
    content["train"]["folds"] = 2
    content["evaluate"]["resamples"] = 100
    return content


def find_table(settings: Params) -> pa.Table | None:
    """Read the raw table, or the train split where only that is here; None where neither is."""
    raw = Path(settings.data.raw)
    if raw.exists():
        return tables.read_raw(raw, settings.data.drop)
    return tables.read_raw(tables.TRAIN) if tables.TRAIN.exists() else None


def main() -> None:
    """Run every stage in a temporary folder."""
    settings = params.load()
    table = find_table(settings)
    if table is None:
        print("smoke: no data is here, as no stage that reads any has changed: nothing to try")
        return
    tables.require_column(
        settings.data.target, table.column_names, Path(settings.data.raw), "data.target"
    )
    rows = sample(table, settings.data.target, settings.task != "regression")
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree("src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "data").mkdir()
        shutil.copy("data/schema.yaml", folder / "data")
        pyarrow.parquet.write_table(rows, folder / "data/raw.parquet")
        write_settings(folder / params.PARAMS, small(settings))
        for stage in STAGES:
            status = subprocess.run([sys.executable, "-m", f"src.{stage}"], cwd=folder, check=False)
            if status.returncode > (stage in MAY_REFUSE):
                raise UserError(f"smoke: {stage} failed on {len(rows)} rows; its message is above")
            if stage == "validate" and status.returncode:
                files.write_json(folder / VALIDATION, {"passed": True})
    print(f"smoke: every stage ran on {len(rows)} rows, {time.monotonic() - since:.1f} s")


def write_settings(path: Path, content: dict[str, Any]) -> None:
    """Write a params.yaml."""
    from ruamel.yaml import YAML

    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


if __name__ == "__main__":
    findings.run(main)
