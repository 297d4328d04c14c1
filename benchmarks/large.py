"""`make bench`, large tables: each stage at millions of rows, and others beside prepare.

Time and peak memory are those of whole processes. What is compared runs in turn. Results are
written to large.md beside this file.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.run import (
    BYTES_A_ROW,
    HERE,
    QUICK,
    ROOT,
    STAGES,
    Run,
    copy_project,
    in_turn,
    load,
    machine,
    middle,
    python,
    workspace,
)

RESULTS = HERE / "large.md"
ROWS = (1_000_000, 3_000_000, 10_000_000)
ROUNDS = 3  # of prepare and its peers; one where a round takes minutes
LONG = 5_000_000  # rows from which on it does
PEERS = ("pandas", "polars", "duckdb")
MEMORY = 1.5e9  # bytes that these may take, however many rows there are
BOUNDED = ("schema", "prepare", "validate", "evaluate")
SLOWER = 2.0  # prepare may take so many times the time of the best peer


def install_peers(folder: Path) -> str:
    """Install polars and DuckDB into a folder of their own; return their versions and pandas'."""
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(folder)]
    subprocess.run([*install, "polars", "duckdb"], check=True)
    found = [*distributions(path=[str(folder)]), *distributions(name="pandas")]
    versions = {one.name.lower(): one.version for one in found}
    return ", ".join(f"{name} {versions[name]}" for name in PEERS)


def measure(folder: Path, rows: int, peers: Path) -> dict[str, Run]:
    """Run all stages and the peers of prepare on a table of so many rows."""
    project = copy_project(folder / f"rows-{rows}")
    settings = load(project) | {"train": load(project)["train"] | QUICK}
    YAML().dump(settings, project / "params.yaml")
    raw = settings["data"]["raw"]
    source = ROOT / raw
    command = [sys.executable, HERE / "rows.py", source, str(rows), project / raw]
    subprocess.run(command, check=True)
    target, script = settings["data"]["target"], str(HERE / "peers.py")
    beside = {name: python(project, script, name, str(peers), target) for name in PEERS}
    jobs = {"prepare": python(project, "-m", "src.prepare")} | beside
    rounds = 1 if rows >= LONG else ROUNDS
    title = f"{rows:,} rows: prepare and others"
    found = dict(
        zip(jobs, in_turn(title, [*jobs.values()], min(rounds - 1, 1), rounds), strict=True)
    )
    stages = {name: python(project, "-m", f"src.{name}") for name in STAGES[1:]}
    stages["schema"] = python(project, "-m", "src.schema")  # at the end, as it makes another one
    others = in_turn(f"{rows:,} rows: other stages", [*stages.values()], warm_up=0, runs=1)
    shutil.rmtree(project)
    return {
        name: middle(runs) for name, runs in [*found.items(), *zip(stages, others, strict=True)]
    }


def cells(found: Sequence[dict[str, Run]], name: str) -> str:
    """Return time and memory at each size as cells; what is beyond a bound is marked."""
    parts = []
    for one in found:
        late = name in BOUNDED and one[name].memory > MEMORY
        mark = " **missed**" if late else ""
        parts += [f"{one[name].seconds:.1f} s", f"{one[name].memory / 1e9:.2f} GB{mark}"]
    return " | ".join(parts)


def report(sizes: Sequence[int], found: Sequence[dict[str, Run]], versions: str) -> str:
    """Lay out what was measured at each size."""
    head = ["", *(f"{rows:,} rows | " for rows in sizes)]
    ratios = [one["prepare"].seconds / min(one[name].seconds for name in PEERS) for one in found]
    judged = [f"{one:.2f}{' **missed**' if one > SLOWER else ''}" for one in ratios]
    return (
        "\n".join(
            [
                "# Large tables",
                "",
                f"Measured by `make bench` on: {machine()}; {versions}.",
                "",
                "The data set resampled with noise ([rows.py](rows.py)), a CSV file of 30 columns",
                "of numbers and the target. Time and peak memory of whole processes: in the first",
                f"table the median of {ROUNDS} runs, or one run beyond {LONG:,} rows.",
                "",
                "## Prepare, and others that read, split and write in one process",
                "",
                "[peers.py](peers.py) has what they do; none looks for repeated rows.",
                "",
                f"| {' | '.join(head)} |",
                "|---|" + "--:|" * 2 * len(sizes),
                *(f"| {name} | {cells(found, name)} |" for name in ("prepare", *PEERS)),
                "",
                f"The time of `prepare` divided by that of the fastest: {', '.join(judged)} "
                f"(at most {SLOWER:g}).",
                "",
                "## The stages",
                "",
                f"To train: {QUICK['estimator'].rpartition('.')[2]}, max_iter "
                f"{QUICK['arguments']['max_iter']}, {QUICK['folds']} folds.",
                f"{', '.join(BOUNDED)} may take {MEMORY / 1e9:g} GB, whatever the rows.",
                "",
                f"| {' | '.join(head)} |",
                "|---|" + "--:|" * 2 * len(sizes),
                *(f"| {name} | {cells(found, name)} |" for name in ("schema", *STAGES)),
            ]
        )
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the stages on large tables.")
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, help="sizes")
    sizes = parser.parse_args().rows
    with workspace() as folder:
        need, free = 2 * max(sizes) * BYTES_A_ROW, shutil.disk_usage(folder).free
        if free < need:
            sys.exit(f"large: needs {need / 1e9:.0f} GB in {folder.parent}; set TMPDIR, or --rows")
        versions = install_peers(folder / "peers")
        found = [measure(folder, rows, folder / "peers") for rows in sizes]
    text = report(sizes, found, versions)
    print(text)
    if sizes == ROWS:
        RESULTS.write_text(text, encoding="utf-8", newline="\n")
    else:
        print(f"Other sizes were measured: {RESULTS.name} stays as it is.")


if __name__ == "__main__":
    main()
