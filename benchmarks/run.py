"""`make bench`: measure the pipeline against plain scripts and write results.md beside this file.

Each figure is the median of five whole processes, start-up included. What is compared runs in
turn (A B A B ...), and a ratio is the median of the ratios of neighbours, so a machine whose speed
drifts does not move it.
"""

import argparse
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter as clock
from typing import Any

from ruamel.yaml import YAML
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results.md"
STAGES = ("prepare", "validate", "train", "evaluate", "gate")
RUNS = 5
ROWS = (10_000, 100_000, 1_000_000, 3_000_000)
BYTES_A_ROW = 600  # of disk: the table, its splits, their drafts, the reference's Parquet file

# The most that each ratio may be. Growth is the power of the rows: 1 is linear.
BOUNDS = {"cold": 2.8, "idle": 1.15, "bound": 1.4, "time": 2.0, "memory": 1.3, "growth": 1.1}

# For growth: an estimator that fits millions of rows in seconds.
QUICK: dict[str, Any] = {
    "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
    "arguments": {"max_iter": 10},
    "folds": 2,
    "leave_out": [],
    "rows": None,
    "distributed": False,
    "seed": 42,
}
SMALL = 100_000  # rows up to which stages that are compared with nothing run five times, not once
TO_PARQUET = "import pandas; pandas.read_csv('data/raw.csv').to_parquet('reference.parquet')"


@dataclass(frozen=True)
class Run:
    """Wall time in seconds and peak memory in bytes of a process and those it waited for."""

    seconds: float
    memory: float


Job = Callable[[], Run]


@dataclass(frozen=True)
class Pair:
    """What was measured, what it is compared with, and the medians of both ratios."""

    ours: Run
    theirs: Run
    time: float
    memory: float


def run(folder: Path, *command: str) -> Run:
    """Run a command in a folder; stop the benchmark with its output if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / ".site")}
    bytecode = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in bytecode}
    with tempfile.TemporaryFile("w+") as output:
        start = clock()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=kept | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:  # interrupted
                os.killpg(process.pid, signal.SIGKILL)
        seconds = clock() - start
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output.read()[-2000:]}")
    return Run(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def in_turn(title: str, jobs: Sequence[Job], warm_up: int = 1, runs: int = RUNS) -> list[list[Run]]:
    """Run jobs in turn, first for warm-up, then for the figures; give each job's runs."""
    rounds = tqdm(range(warm_up + runs), desc=title, unit="round")
    found = [[job() for job in jobs] for _ in rounds][warm_up:]
    return [list(column) for column in zip(*found, strict=True)]


def middle(runs: Sequence[Run]) -> Run:
    return Run(median(r.seconds for r in runs), median(r.memory for r in runs))


def compare(ours: Sequence[Run], theirs: Sequence[Run]) -> Pair:
    pairs = list(zip(ours, theirs, strict=True))
    return Pair(
        middle(ours),
        middle(theirs),
        median(a.seconds / b.seconds for a, b in pairs),
        median(a.memory / b.memory for a, b in pairs),
    )


def copy_project(folder: Path) -> Path:
    """Make a project of this one's pipeline, settings and data."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    names = ["dvc.yaml", "params.yaml", "data/schema.yaml", load(ROOT)["data"]["raw"]]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    start_dvc(folder)
    return folder


def five_true_stages(folder: Path) -> Path:
    """Make a project of five chained stages whose command is `true`."""
    folder.mkdir()
    start_dvc(folder)
    stages = {}
    for at in range(5):
        (folder / str(at)).touch()
        (folder / str(at + 1)).touch()
        outs = [{str(at + 1): {"persist": True}}]
        stages[f"stage{at}"] = {"cmd": "true", "deps": [str(at)], "outs": outs}
    YAML().dump({"stages": stages}, folder / "dvc.yaml")
    return folder


def start_dvc(folder: Path) -> None:
    run(folder, "-c", "import subprocess; subprocess.run(['git', 'init', '-q'], check=True)")
    run(folder, "-m", "dvc", "init", "--quiet")


def load(folder: Path) -> dict[str, Any]:
    return dict(YAML(typ="safe").load(folder / "params.yaml"))


def python(folder: Path, *arguments: str) -> Job:
    return lambda: run(folder, *arguments)


def repro(folder: Path, *options: str) -> Job:
    return python(folder, "-m", "dvc", "repro", *options)


def measure_cold(folder: Path) -> list[str]:
    project = copy_project(folder / "project")
    reference = str(HERE / "reference.py")
    jobs = [repro(project, "--force"), python(project, reference, "model.joblib")]
    ours, theirs = in_turn("cold run against one script", jobs)
    return [row("`dvc repro -f` / one script", compare(ours, theirs), "cold")]


def measure_idle(folder: Path) -> list[str]:
    project, changing = copy_project(folder / "idle"), copy_project(folder / "bound")
    yardstick = five_true_stages(folder / "true")

    def change_bound() -> Run:
        settings = load(changing)
        bound = next(iter(settings["gate"].values()))
        key = next(iter(bound))
        bound[key] += 1e-6 if key == "max" else -1e-6
        YAML().dump(settings, changing / "params.yaml")
        return repro(changing)()

    repro(changing)()
    jobs = [repro(project), change_bound, repro(yardstick)]
    idle, changed, theirs = in_turn("nothing to do, and a changed bound", jobs)
    what = "/ nothing to do on five stages of `true`"
    return [
        row(f"`dvc repro`, nothing to do {what}", compare(idle, theirs), "idle"),
        row(f"`dvc repro`, a changed bound {what}", compare(changed, theirs), "bound"),
    ]


def row(what: str, pair: Pair, bound: str) -> str:
    return (
        f"| {what} | {pair.ours.seconds:.2f} s | {pair.theirs.seconds:.2f} s "
        f"| {judged(pair.time, bound)} |"
    )


def judged(ratio: float, bound: str) -> str:
    """Write a ratio, its bound and whether it holds, as two cells of a table."""
    most = BOUNDS[bound]
    return f"{ratio:.2f} | {most:g} " + ("" if ratio <= most else "**missed**")


def measure_growth(folder: Path, sizes: Sequence[int]) -> list[str]:
    need = max(sizes) * BYTES_A_ROW
    free = shutil.disk_usage(folder).free
    print(f"growth: needs {need / 1e9:.1f} GB in {folder.parent}, free are {free / 1e9:.1f} GB")
    if free < need:
        sys.exit("too little: set TMPDIR to a folder with more, or give smaller --rows")
    pairs, stages = {}, {}
    for rows in sizes:
        project = copy_project(folder / f"rows-{rows}")
        settings = load(project) | {"train": QUICK}
        YAML().dump(settings, project / "params.yaml")
        raw = settings["data"]["raw"]
        subprocess.run(
            [sys.executable, HERE / "rows.py", ROOT / raw, str(rows), project / raw], check=True
        )
        stage = {name: python(project, "-m", f"src.{name}") for name in STAGES}
        jobs = [stage.pop("prepare"), python(project, "-c", TO_PARQUET)]
        prepare, reference = in_turn(f"{rows:,} rows: prepare against read_csv", jobs)
        pairs[rows] = compare(prepare, reference)
        many = RUNS if rows <= SMALL else 1
        others = in_turn(f"{rows:,} rows: other stages", [*stage.values()], warm_up=0, runs=many)
        stages[rows] = dict(zip(STAGES, map(middle, [prepare, *others]), strict=True))
        shutil.rmtree(project)
    return growth_tables(pairs, stages)


def growth_tables(pairs: dict[int, Pair], stages: dict[int, dict[str, Run]]) -> list[str]:
    lines = [
        "| rows | `prepare` | reference | ratio | at most "
        "| `prepare` | reference | ratio | at most |",
        "|" + "--:|" * 9,
        *(
            f"| {rows:,} | {pair.ours.seconds:.2f} s | {pair.theirs.seconds:.2f} s "
            f"| {judged(pair.time, 'time')} | {pair.ours.memory / 1e6:.0f} MB "
            f"| {pair.theirs.memory / 1e6:.0f} MB | {judged(pair.memory, 'memory')} |"
            for rows, pair in pairs.items()
        ),
        "",
        "| stage | rows | time | per million rows | peak memory | per row |",
        "|---|" + "--:|" * 5,
    ]
    for stage in STAGES:
        for rows, found in stages.items():
            one = found[stage]
            lines.append(
                f"| {stage} | {rows:,} | {one.seconds:.2f} s | {one.seconds / rows * 1e6:.2f} s "
                f"| {one.memory / 1e6:.0f} MB | {one.memory / rows:,.0f} B |"
            )
    if len(stages) > 2:
        references = {rows: pair.theirs for rows, pair in pairs.items()}
        lines += ["", *linearity(stages, references)]
    return lines


def linearity(stages: dict[int, dict[str, Run]], references: dict[int, Run]) -> Iterator[str]:
    """Compare the two largest sizes, less what the smallest takes, which is mostly start-up.

    The reference of `prepare` shows what is the machine's own: memory may slow down as it fills.
    """
    least, large, largest = sorted(stages)[0], *sorted(stages)[-2:]
    span = f"{large:,} to {largest:,} rows"
    yield f"| stage, {span} | power of time | at most | of memory | at most |"
    yield "|---|" + "--:|" * 4
    series = [(stage, {rows: found[stage] for rows, found in stages.items()}) for stage in STAGES]
    for name, runs in [*series, ("the reference", references)]:
        first, second, third = (runs[rows] for rows in (least, large, largest))
        step = math.log((largest - least) / (large - least))
        powers = [
            # A stage that hardly grows has no power: its growth is noise.
            math.log((c - a) / (b - a)) / step if b - a > 0.1 * a and c > a else 0.0
            for a, b, c in (
                (first.seconds, second.seconds, third.seconds),
                (first.memory, second.memory, third.memory),
            )
        ]
        yield f"| {name} | " + " | ".join(judged(power, "growth") for power in powers) + " |"


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("dvc", "scikit-learn", "pandas", "numpy", "pyarrow", "pandera")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, {versions}"
    )


def report(ratios: Sequence[str], growth: Sequence[str]) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Measured by `make bench` on: {machine()}.",
        "",
        "Each figure is the median of five whole processes (of one, where a table says so), with",
        "imports and with bytecode compiled. What is compared ran in turn, and a ratio is the",
        "median of the ratios of neighbours. A bound that does not hold is marked **missed**: none",
        "of this is a test.",
    ]
    if ratios:
        lines += [
            "",
            "## Against plain scripts",
            "",
            "The script is [reference.py](reference.py): the same data, estimator, folds and",
            "bounds in one process. It makes no confidence intervals, schema checks or plots.",
            "",
            "| what | time | reference | ratio | at most |",
            "|---|" + "--:|" * 4,
            *ratios,
        ]
    if growth:
        lines += [
            "",
            "## Growth with rows",
            "",
            "The data set resampled with noise ([rows.py](rows.py)): 30 columns of numbers and the",
            f"target. To train: {QUICK['estimator'].rpartition('.')[2]}, "
            f"max_iter {QUICK['arguments']['max_iter']}, {QUICK['folds']} folds. The reference of",
            "`prepare` is `pandas.read_csv` and `to_parquet` of the same file in one process; left",
            "is time, right is peak memory. The other stages ran once where there are more than",
            f"{SMALL:,} rows. A power of 1 is linear; what the fewest rows take is taken off.",
            "",
            *growth,
        ]
    return "\n".join(lines) + "\n"


@contextmanager
def workspace() -> Iterator[Path]:
    """Give a temporary folder that goes away however the benchmark ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the pipeline.")
    parser.add_argument("--only", nargs="+", choices=("cold", "idle", "growth"), metavar="PART")
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, help="sizes for growth")
    options = parser.parse_args()
    parts = options.only or ("cold", "idle", "growth")
    with workspace() as folder:
        ratios = measure_cold(folder) if "cold" in parts else []
        ratios += measure_idle(folder) if "idle" in parts else []
        growth = measure_growth(folder, options.rows) if "growth" in parts else []
    text = report(ratios, growth)
    print(text)
    if options.only or options.rows != ROWS:
        print(f"Not everything was measured: {RESULTS.name} stays as it is.")
    else:
        RESULTS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
