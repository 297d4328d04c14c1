"""A smoke test: the real stages, in a temporary place, on a few hundred rows with a small model.

It finds what breaks in seconds, before the pipeline itself is run. What it says of data and model
does not count, as a sample may be too small for that.
"""

import contextlib
import importlib
import re
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet

from src.shared import files, params, pipeline, raw, tables
from src.shared.errors import UserError
from src.shared.params import Params
from src.shared.paths import PARAMS, TRAIN, VALIDATION
from src.shared.pipeline import Stage
from src.workflow import state

RAW = Path("data/raw.parquet")
ROWS = 300
LEAST_OF_A_CLASS = 10  # enough for a split and two folds
SEED = 0

# Arguments that make a model large, and what a small one takes.
SMALL = {"n_estimators": 10, "max_iter": 20, "iterations": 20}

# These may refuse a sample, with exit status 1; train takes validate's word.
MAY_REFUSE = ("validate", "gate")


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
    """Return the same settings for a small model and a table of a few hundred rows."""
    content: dict[str, Any] = msgspec.to_builtins(settings)
    arguments = content["train"]["arguments"]
    for name, most in SMALL.items():
        if isinstance(arguments.get(name), int):
            arguments[name] = min(arguments[name], most)
    content["data"] |= {"raw": RAW.as_posix(), "drop": [], "drop_rare_classes": None}
    content["prepare"]["duplicates"] = content["prepare"]["duplicates"] or "keep"
    content["validate"] |= {"min_train_rows": 1, "min_test_rows": 1, "max_drift": 1.0}
    content["train"]["folds"] = 2
    content["evaluate"] |= {"resamples": 100, "importance_repeats": 0}
    return content


def find_table(settings: Params) -> pa.Table | None:
    """Read the raw table, or the train split where only that is here; None where neither is."""
    if Path(settings.data.raw).exists():
        return raw.read(settings.data, raw.read_kinds())
    return raw.read_raw(TRAIN) if TRAIN.exists() else None


def main() -> None:
    """Run every stage in a temporary folder, in the order that what they read and make asks for."""
    settings = params.load()
    table = find_table(settings)
    if table is None:
        print("smoke: nothing to try, as no stage that reads data has changed")
        return
    tables.require_column(
        settings.data.target, table.column_names, Path(settings.data.raw), "data.target"
    )
    rows = sample(table, settings.data.target, settings.task != "regression")
    stages = pipeline.declared()
    modules = {name: module_of(name, stage) for name, stage in stages.items()}
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy_inputs(stages, Path(folder))
        with contextlib.chdir(folder):
            RAW.parent.mkdir(exist_ok=True)
            pyarrow.parquet.write_table(rows, RAW)
            write_settings(PARAMS, small(settings))
            params.load.cache_clear()
            for name, module in modules.items():
                status = run(name, module)
                if status > (name in MAY_REFUSE):
                    raise UserError(
                        f"smoke: {name} failed on {len(rows)} rows; its message is above"
                    )
                if name == "validate" and status:
                    files.write_json(VALIDATION, {"passed": True})
    print(f"smoke: every stage ran on {len(rows)} rows, {time.monotonic() - since:.1f} s")


def module_of(name: str, stage: Stage) -> str:
    """Return the module that a stage's command runs.

    Raises:
        UserError: the command is another one, which a temporary folder might not hold.
    """
    command = re.fullmatch(r"python -m ([\w.]+)", stage.command)
    if not command:
        raise UserError(
            f"dvc.yaml: the command of {name} is '{stage.command}'; the smoke test can run "
            "`python -m MODULE` alone: let it read its arguments from params.yaml"
        )
    return command[1]


def copy_inputs(stages: dict[str, Stage], folder: Path) -> None:
    """Copy the files that stages read and none of them makes; not the raw table, nor the code."""
    made = {path for stage in stages.values() for path in stage.outs}
    for name in {path for stage in stages.values() for path in stage.deps} - made:
        path = Path(name)
        if path.is_file() and path.suffix != ".py":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path)


def run(stage: str, module: str) -> int:
    """Run a stage in this process, which imports what the stages share only once.

    Returns:
        The exit status that it would have ended with.
    """
    try:
        return importlib.import_module(module).main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if stage != "gate" else 2
    except Exception:  # what is wrong with the code is for its author to see
        traceback.print_exc()
        return 2


def write_settings(path: Path, content: dict[str, Any]) -> None:
    """Write a params.yaml."""
    from ruamel.yaml import YAML

    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


if __name__ == "__main__":
    state.run(main)
