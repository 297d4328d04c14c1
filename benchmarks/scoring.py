"""`make bench`, batch scoring: `make predict` beside the bare pipeline on one frame.

A CSV file becomes a Parquet file of scores. The other process reads the whole file with pandas,
lets the bare joblib pipeline predict it and writes the same columns, without a look at any field.
Time and peak memory are those of whole processes, which run in turn. Results are written to
scoring.md beside this file.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet
from ruamel.yaml import YAML

from benchmarks.run import (
    HERE,
    QUICK,
    ROOT,
    Run,
    copy_project,
    in_turn,
    load,
    machine,
    middle,
    python,
    run,
    workspace,
)

RESULTS = HERE / "scoring.md"
ROWS, ROUNDS = 1_000_000, 5
LEAST = 0.8  # of the bare pipeline's rows a second
ENGINES = {"c": "pandas.read_csv", "pyarrow": "with engine pyarrow"}
BARE = """
import sys, joblib, pandas
model = joblib.load("models/model.joblib")
engine, source, target = sys.argv[1:]
frame = pandas.read_csv(source, engine=engine)
shares = model.predict_proba(frame)
scores = {"predicted": model.classes_[shares.argmax(axis=1)]}
for label, share in zip(model.classes_, shares.T):
    scores[f"probability_{label}"] = share
pandas.DataFrame(scores).to_parquet(target, index=False)
"""


@dataclass(frozen=True)
class Scored:
    """What was measured of one model: runs of `make predict` and of the bare pipeline, in turn."""

    estimator: str
    ours: Sequence[Run]
    bare: dict[str, Sequence[Run]]

    @property
    def ratio(self) -> float:
        """Our rows a second divided by those of the faster bare process of the same round."""
        rounds = zip(self.ours, *self.bare.values(), strict=True)
        return median(min(one.seconds for one in bare) / ours.seconds for ours, *bare in rounds)


def measure(folder: Path, rows: Path, train: dict[str, Any], rounds: int) -> Scored:
    """Train a model on the demo's table, and score rows with it."""
    name = str(train["estimator"]).rpartition(".")[2]
    project = copy_project(folder / name)
    YAML().dump(load(project) | {"train": train}, project / "params.yaml")
    run(project, "-m", "dvc", "repro", "train")
    os.environ |= {"INPUT": str(rows), "OUTPUT": "ours.parquet"}
    jobs = [python(project, "-m", "src.predict")]
    jobs += [python(project, "-c", BARE, one, str(rows), f"{one}.parquet") for one in ENGINES]
    ours, *bare = in_turn(f"{name}: make predict and others", jobs, min(rounds - 1, 1), rounds)
    for engine in ENGINES:
        require_same(project / "ours.parquet", project / f"{engine}.parquet")
    return Scored(name, ours, dict(zip(ENGINES, bare, strict=True)))


def require_same(ours: Path, bare: Path) -> None:
    """Stop where two files do not hold the same answers."""
    names = pyarrow.parquet.read_schema(bare).names
    one, other = (
        pyarrow.parquet.read_table(path, columns=names).to_pandas() for path in (ours, bare)
    )
    apart = (one[names[1:]] - other[names[1:]]).abs().max().max()
    if not (one["predicted"] == other["predicted"]).all() or apart > 1e-9:
        sys.exit(f"scoring: {ours.name} and {bare.name} differ")


def report(rows: int, rounds: int, found: Sequence[Scored]) -> str:
    """Lay out what was measured."""
    lines = [
        "# Batch scoring",
        "",
        f"Made by `python -m benchmarks.scoring` on: {machine()}.",
        "",
        f"The data set resampled with noise ([rows.py](rows.py)): {rows:,} rows of 30 numbers,",
        "from CSV to Parquet. Beside `make predict` a process that reads the file with pandas,",
        "predicts with the bare joblib pipeline on one frame and writes the same columns, without",
        f"a look at any field. Medians of {rounds} whole processes in turn, imports included; the",
        "ratio is that to the faster reader, the median of the rounds.",
        "",
        "| estimator | process | rows a second | peak memory | ratio | at least |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in found:
        held = "" if one.ratio >= LEAST else " **missed**"
        ours = f"| {one.estimator} | `make predict` | {cells(rows, one.ours)}"
        lines.append(f"{ours} | {one.ratio:.2f} | {LEAST}{held} |")
        lines += [
            f"| | bare, {ENGINES[engine]} | {cells(rows, runs)} | | |"
            for engine, runs in one.bare.items()
        ]
    return "\n".join(lines) + "\n"


def cells(rows: int, runs: Sequence[Run]) -> str:
    """Write rows a second and peak memory."""
    one = middle(runs)
    return f"{rows / one.seconds:,.0f} | {one.memory / 1e9:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure batch scoring.")
    parser.add_argument("--rows", type=int, default=ROWS, help="bare needs 2 GB for each million")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with workspace() as folder:
        settings, rows = load(ROOT), folder / "rows.csv"
        command = [sys.executable, HERE / "rows.py", ROOT / settings["data"]["raw"]]
        subprocess.run([*command, str(options.rows), rows], check=True)
        trained = (settings["train"], settings["train"] | QUICK)
        found = [measure(folder, rows, one, options.rounds) for one in trained]
    text = report(options.rows, options.rounds, found)
    print(text)
    if (options.rows, options.rounds) == (ROWS, ROUNDS):
        RESULTS.write_text(text, encoding="utf-8", newline="\n")
    else:
        print(f"Other sizes were measured: {RESULTS.name} stays as it is.")


if __name__ == "__main__":
    main()
