"""Small projects for the tests: data, parameters, schema, and where asked for the pipeline."""

import contextlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from sklearn.datasets import load_diabetes, load_wine

from src.schema import infer, to_yaml
from src.shared import params, pipeline, raw, tables

ROOT = Path(__file__).parents[1]
STAGES = tuple(pipeline.declared(ROOT / "dvc.yaml"))


@dataclass(frozen=True)
class Result:
    """How a stage ended and what it printed."""

    status: int
    out: str
    err: str


def fruit(rows: int = 240) -> pd.DataFrame:
    """Make a table with a column of each type, missing values and two classes."""
    random = np.random.default_rng(5)
    size = random.normal(6, 1.5, rows).round(3)
    table = pd.DataFrame(
        {
            "size": np.where(random.random(rows) < 0.1, np.nan, size),
            "seeds": random.integers(0, 20, rows),
            "organic": random.random(rows) < 0.5,
            "colour": random.choice(["red", "green", "yellow", ""], rows, p=[0.4, 0.3, 0.2, 0.1]),
            "picked": pd.Timestamp("2024-03-01") + pd.to_timedelta(np.arange(rows) // 2, unit="D"),
            "ripe": np.where(size + random.normal(0, 0.8, rows) > 5.8, "yes", "no"),
        }
    )
    table["colour"] = table["colour"].where(table["colour"] != "")
    return table


def wine() -> pd.DataFrame:
    """Give scikit-learn's wine: 178 rows, 13 numbers, 3 classes."""
    return load_wine(as_frame=True).frame


def diabetes() -> pd.DataFrame:
    """Give scikit-learn's diabetes: 442 rows, 10 numbers, a number to predict."""
    return load_diabetes(as_frame=True).frame


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "binary": fruit,
    "multiclass": wine,
    "regression": diabetes,
}


def settings_of(task: str = "binary", **sections: dict[str, Any]) -> dict[str, Any]:
    """Give parameters that suit the task's table.

    Args:
        task: binary, multiclass or regression.
        sections: keys to set in each section; `gate` is replaced as a whole.
    """
    estimator, arguments, metric = {
        "binary": ("sklearn.linear_model.LogisticRegression", {"C": 0.5}, "accuracy"),
        "multiclass": ("sklearn.tree.DecisionTreeClassifier", {"max_depth": 4}, "accuracy"),
        "regression": ("sklearn.linear_model.Ridge", {"alpha": 1.0}, "r2"),
    }[task]
    settings: dict[str, Any] = own_sections() | {
        "task": task,
        "data": {
            "raw": "data/raw.csv",
            "target": "ripe" if task == "binary" else "target",
            "positive": "yes" if task == "binary" else None,
            "drop": [],
            "key": None,
            "missing": [],
            "missing_target": "error",
            "drop_rare_classes": None,
            "separator": ",",
            "decimal": ".",
            "encoding": "utf-8",
        },
        "prepare": {
            "split": "random" if task == "regression" else "stratified",
            "column": None,
            "test_size": 0.25,
            "seed": 1,
            "duplicates": None,
        },
        "validate": {
            "min_train_rows": 50,
            "min_test_rows": 20,
            "max_drift": 0.3,
            "max_category_drift": 0.25,
            "accept": [],
        },
        "train": {
            "estimator": estimator,
            "arguments": arguments,
            "folds": 3,
            "seed": 1,
            "leave_out": [],
            "rows": None,
            "distributed": False,
        },
        "evaluate": {
            "resamples": 100,
            "seed": 1,
            "metric": None,
            "slices": [],
            "slice_rows": 30,
            "importance_repeats": 2,
            "importance_rows": 500,
            "gate_rows": 30,
        },
        "gate": {metric: {"min": 0.2}},
        "monitor": {
            "leave_out": [],
            "window": "1d",
            "min_rows": 100,
            "max_drift": 0.1,
            "max_missing": 0.05,
            "max_unseen": 0.01,
            "max_refused": 0.1,
            "max_volume": 10,
            "accept": [],
        },
    }
    for section, keys in sections.items():
        settings[section] = keys if section == "gate" else settings[section] | keys
    return settings


def own_sections() -> dict[str, Any]:
    """Read what params.yaml here says: what stands below replaces all but sections of one's own."""
    return dict(YAML(typ="safe").load((ROOT / "params.yaml").read_text("utf-8")))


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write params.yaml."""
    YAML().dump(settings, folder / "params.yaml")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a raw table, in the format that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)


def as_split(table: pd.DataFrame, name: str = "split") -> tables.Split:
    """Write a table as a split into the current folder, and open it."""
    path = Path(f"{name}.parquet")
    table.to_parquet(path, index=False)
    return tables.Split(path)


def make_project(
    folder: Path,
    task: str = "binary",
    table: pd.DataFrame | None = None,
    *,
    code: bool = False,
    **sections: dict[str, Any],
) -> Path:
    """Make a project: params.yaml, the raw table and the schema inferred from it.

    Args:
        folder: where to make it.
        task: binary, multiclass or regression.
        table: the raw table; without one `TABLES[task]`.
        code: whether to copy the pipeline into it: src/, dvc.yaml and the files that go with them.
        sections: see `settings_of`.
    """
    settings = settings_of(task, **sections)
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, settings)
    write_table(folder / settings["data"]["raw"], TABLES[task]() if table is None else table)
    data = params.parse(params.Data, settings["data"])
    with contextlib.chdir(folder):
        frame = tables.to_frame(raw.read(data))
    columns = (frame[name] for name in frame.columns)
    schema = to_yaml(infer(columns, data.target, data.key or ()))
    (folder / "data/schema.yaml").write_text(schema, encoding="utf-8")
    if code:
        shutil.copytree(ROOT / "src", folder / "src")
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, folder)
    return folder


def run_stage(name: str) -> int:
    """Do in this process what `python -m src.NAME` does, and give its exit status."""
    params.load.cache_clear()
    try:
        with patch.object(sys, "argv", [name]):
            runpy.run_path(str(ROOT / "src" / f"{name}.py"), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("a stage ends its process")


def call(*arguments: str, folder: Path, **environment: str) -> Result:
    """Run a program in a folder; `python` is the one that runs the tests."""
    program = sys.executable if arguments[0] == "python" else arguments[0]
    kept = {key: value for key, value in os.environ.items() if key != "MIN_ACCURACY"}
    # A project without src/ of its own takes this one.
    done = subprocess.run(
        [program, *arguments[1:]],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def tree(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder, so that two moments can be compared."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
