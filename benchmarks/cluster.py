"""`make bench`, the cluster: a search, XGBoost and a small run with Dask's workers and without.

Each figure is the median of whole processes, imports included, in turn. The workers are two
processes of one thread each on this machine; what they need is in .venv/cluster and
.venv/estimators. Results are written to cluster.md beside this file.
"""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from ruamel.yaml import YAML

from benchmarks.run import HERE, ROOT, Job, Run, in_turn, load, machine, middle, python, workspace
from tests.pipeline.clusters import EXTRA, scheduler, worker

RESULTS = HERE / "cluster.md"
ROUNDS = 3
SPEEDUP = 1.6  # of a search on two workers, at least
STAGE = (
    f"import runpy, sys; sys.path[:0] = {[str(ROOT), *map(str, EXTRA)]!r}; sys.argv = ['train']; "
    "runpy.run_module('src.train', run_name='__main__', alter_sys=True)"
)
SEARCH = {
    "estimator": "sklearn.model_selection.GridSearchCV",
    "arguments": {
        "estimator": {
            "estimator": "sklearn.ensemble.RandomForestClassifier",
            "arguments": {"n_estimators": 15},
        },
        "param_grid": {"max_depth": [2, 4, 6, 8, 10], "min_samples_leaf": [1, 2, 4, 8]},
    },
    "folds": 2,
}
XGBOOST = {
    "estimator": "xgboost.XGBClassifier",
    "arguments": {"n_estimators": 50},
    "folds": 2,
}
SMALL = {
    "estimator": "sklearn.ensemble.ExtraTreesClassifier",
    "arguments": {"n_estimators": 200, "min_samples_leaf": 2},
    "folds": 5,
}


def make_project(folder: Path, rows: int, **train: Any) -> Path:
    """Make a project whose train split has so many rows of 30 numbers, and has passed."""
    for name in ("data/prepared", "metrics"):
        (folder / name).mkdir(parents=True)
    (folder / "metrics/validation.json").write_text(json.dumps({"passed": True}))
    settings = load(ROOT)
    settings["train"] |= train
    target, positive = settings["data"]["target"], settings["data"]["positive"]
    YAML().dump(settings, folder / "params.yaml")
    random, writer = np.random.default_rng(42), None
    for start in range(0, rows, 100_000):
        numbers = random.normal(size=(min(100_000, rows - start), 30))
        noise = random.normal(size=len(numbers))
        labels = np.where(numbers[:, :5].sum(axis=1) + noise > 0, positive, "other")
        columns = {f"x{at}": numbers[:, at] for at in range(30)}
        table = pa.table(columns | {target: labels})
        path = folder / "data/prepared/train.parquet"
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    return folder


@contextmanager
def cluster(folder: Path, *options: str) -> Iterator[tuple[str, list[int]]]:
    """Start a scheduler and two workers; yield its address and the workers' processes."""
    with ExitStack() as running:
        _, address = running.enter_context(scheduler(folder))
        workers = [running.enter_context(worker(folder, address, *options))[0] for _ in range(2)]
        yield address, workers


def train(folder: Path, address: str = "") -> Job:
    """Return the job that runs train in a project, on a cluster if there is an address."""

    def job() -> Run:
        os.environ["DASK_SCHEDULER_ADDRESS"] = address
        return python(folder, "-c", STAGE)()

    return job


def measure_search(folder: Path, address: str, rows: int) -> list[str]:
    """Measure a search of 20 candidates on one process, on threads and on two workers."""
    one = make_project(folder / "one", rows, **SEARCH)
    single = SEARCH["arguments"] | {"n_jobs": 1}  # type: ignore[operator]
    alone = make_project(folder / "alone", rows, **SEARCH | {"arguments": single})
    jobs = [train(alone), train(one), train(one, address)]
    process, threads, workers = map(middle, in_turn("search", jobs, warm_up=0, runs=ROUNDS))
    ratio = process.seconds / workers.seconds
    missed = "" if ratio >= SPEEDUP else " **missed**"
    return [
        f"| search of 20 candidates, {rows:,} rows: one process | {process.seconds:.1f} s | | |",
        f"| on threads | {threads.seconds:.1f} s | {process.seconds / threads.seconds:.2f} | |",
        f"| on two workers | {workers.seconds:.1f} s | {ratio:.2f} | {SPEEDUP}{missed} |",
    ]


def measure_xgboost(folder: Path, address: str, workers: list[int], rows: int) -> list[str]:
    """Measure XGBoost in one process and distributed over the workers, on the same rows."""
    alone = make_project(folder / "alone", rows, **XGBOOST)
    spread = make_project(folder / "spread", rows, **XGBOOST, distributed=True)
    jobs = [train(alone), train(spread, address)]
    one, several = map(middle, in_turn("XGBoost", jobs, warm_up=0, runs=ROUNDS))
    peaks = [_peak(number) for number in workers]
    return [
        f"| XGB, {rows:,} rows: one process | {one.seconds:.1f} s | {one.memory / 1e6:.0f} MB |",
        f"| distributed over two workers | {several.seconds:.1f} s | "
        f"{several.memory / 1e6:.0f} MB; each worker {max(peaks) / 1e6:.0f} MB |",
    ]


def _peak(number: int) -> int:
    """Return the peak memory of a process in bytes, where the system says so (Linux)."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def measure_small(folder: Path, address: str) -> list[str]:
    """Measure what a cluster costs a run that takes a moment."""
    project = make_project(folder / "small", 500, **SMALL)
    jobs = [train(project), train(project, address)]
    here, there = map(middle, in_turn("small run", jobs, runs=ROUNDS))
    return [
        f"| train on 500 rows: one process | {here.seconds:.1f} s |",
        f"| on two workers | {there.seconds:.1f} s |",
    ]


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description="Measure training on a cluster.")
    parser.add_argument("--search-rows", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="for XGBoost")
    options = parser.parse_args()
    with workspace() as folder:
        (folder / "empty").mkdir()
        with cluster(folder / "empty") as (address, workers):
            small = measure_small(folder / "s", address)
            search = measure_search(folder / "g", address, options.search_rows)
        with cluster(folder / "empty") as (address, workers):
            xgboost = measure_xgboost(folder / "x", address, workers, options.rows)
    text = "\n".join(
        [
            "# Training on a cluster",
            "",
            f"Measured by `make bench` on: {machine()}.",
            "",
            f"Medians of {ROUNDS} whole runs of train, in turn. The cluster is a Dask scheduler",
            "and two workers of one thread each on the same machine.",
            "",
            "| what | time | times as fast | at least |",
            "|---|--:|--:|--:|",
            *search,
            "",
            "| what | time | peak memory of train |",
            "|---|--:|--:|",
            *xgboost,
            "",
            "| what | time |",
            "|---|--:|",
            *small,
        ]
    )
    print(text)
    RESULTS.write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
