"""What a run of the workflow costs beyond the pipeline, and what it fetches from the remote.

A pull request's job runs in act, on a data set of 200 MB on an S3 server, for four changes whose
author has not run the pipeline. Lint and unit tests are left out, as they depend on the project,
and so is the installation.
"""

import argparse
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from tests.dvc_runs import call, commit, git
from tests.faulty import Proxy
from tests.projects import ROOT
from tests.s3 import serve_s3
from tests.workflow.runs import OWNER, Hub, Run, edit, repro

RESULTS = Path(__file__).resolve().with_name("workflow.md")
MEGABYTE, MEGABYTES = 1_000_000, 200
MODEL = "sklearn.ensemble.HistGradientBoostingClassifier\n  arguments: {max_iter: 10}"
URL = "s3://bucket/data"
QUICK_TEST = "def test_nothing() -> None:\n    assert True\n"
QUICK_MODEL = f"""train:
  estimator: {MODEL}
  folds: 2
  leave_out: []
  rows: null
  distributed: false
  seed: 42

"""
UNCOUNTED = ("Lint, format and types", "Unit tests", "Set up Python", "Environment")
STEP = re.compile(r"(?:Success|Failure) - Main (.+?) \[([\d.hmsµn]+)\]")


def copy_repository(folder: Path) -> Path:
    """Copy what Git holds here, or would."""
    listed = git(
        ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(
            ("tests/", "benchmarks/", "hooks/", "{{")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def make_quick(folder: Path) -> Path:
    """Give a copy one test, few types to check and a small model; run it and commit all on main."""
    shutil.rmtree(folder / "tests", ignore_errors=True)
    test = folder / "tests/pipeline/test_nothing.py"
    test.parent.mkdir(parents=True)
    test.write_text(QUICK_TEST, encoding="utf-8")
    edit(
        folder / ".github/workflows/ci.yml", "      queue: max\n", ""
    )  # act refuses it where it is called
    edit(folder / "pyproject.toml", 'files = ["."]', 'files = ["src/__init__.py"]')
    edit(folder / "params.yaml", r"(?s)train:\n.*?\n\n", QUICK_MODEL)
    edit(folder / "params.yaml", "resamples: 1000", "resamples: 100")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "remote", "add", "origin", OWNER)
    if not (folder / "data/raw.csv").exists():
        call(folder, "dvc", "pull", "--quiet", "data/raw.csv")
    repro(folder)
    commit(folder)
    return folder


def seconds_of(text: str) -> float:
    """Read a duration as act writes it, such as 1m2.5s or 380.1ms."""
    units = {"m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(ms|µs|m|s)", text))


def overhead(run: Run, hub: Hub) -> tuple[float, float]:
    """Give the seconds of a run's steps without the pipeline's, and the pipeline's own."""
    pipeline = sum(hub.state.seconds.values())
    steps = {name: seconds_of(text) for name, text in STEP.findall(run.log)}
    return sum(value for name, value in steps.items() if name not in UNCOUNTED) - pipeline, pipeline


def grow(path: Path, size: int) -> None:
    """Make a table of that many bytes out of the demo's rows, each a little different."""
    table = pd.read_csv(path)
    random = np.random.default_rng(1)
    count = size // (path.stat().st_size // len(table))
    rows = table.sample(count, replace=True, random_state=1, ignore_index=True)
    numbers = rows.select_dtypes("float").columns
    rows[numbers] *= 1 - 0.01 * random.random((len(rows), len(numbers)))
    rows.round(5).to_csv(path, index=False)


def changed_bound(clone: Path) -> None:
    edit(clone / "params.yaml", "accuracy: {min: 0.90,", "accuracy: {min: 0.89,")


def changed_parameter(clone: Path) -> None:
    edit(clone / "params.yaml", "max_iter: 10}", "max_iter: 12}")


def changed_data(clone: Path) -> None:
    path = clone / "data/raw.csv"
    path.unlink()  # the cache may share its bytes
    call(clone, "dvc", "checkout", "--quiet", "data/raw.csv")
    text = path.read_text("utf-8")
    path.unlink()
    path.write_text(text[: text.rindex("\n", 0, len(text) - 1) + 1], encoding="utf-8")
    call(clone, "dvc", "add", "--quiet", "data/raw.csv")


CASES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda _: None,
    "a bound": changed_bound,
    "a model parameter": changed_parameter,
    "the raw data": changed_data,
}


def measure(folder: Path, size: int) -> Iterator[str]:
    """Run every case on `size` bytes of raw data; give a line of the table for each."""
    clone = copy_repository(folder / "project")
    call(clone, "git", "init", "--quiet", "--initial-branch", "main")
    call(clone, "dvc", "pull", "--quiet", "data/raw.csv")
    grow(clone / "data/raw.csv", size)
    call(clone, "dvc", "add", "--quiet", "data/raw.csv")
    edit(clone / "data/schema.yaml", r"(?s)^(.*)$", loose((clone / "data/schema.yaml").read_text()))
    make_quick(clone)
    (folder / "s3/bucket").mkdir(parents=True)
    with serve_s3(folder / "s3") as server:
        author = server.credentials | {"AWS_ENDPOINT_URL_S3": server.endpoint}
        call(clone, "dvc", "remote", "add", "--local", "--default", "bucket", URL)
        call(clone, "dvc", "push", "--quiet", status=0, **author)
        for name, change in CASES.items():
            branch = Path(shutil.copytree(clone, folder / "branch", symlinks=True))
            git(branch, "switch", "--quiet", "--create", "branch")
            change(branch)
            (branch / "note.txt").write_text(name, encoding="utf-8")
            commit(branch)
            call(branch, "dvc", "push", "--quiet", "data/raw.csv", status=0, **author)
            with Proxy(int(server.endpoint.rpartition(":")[2])) as proxy:
                endpoint = f"http://127.0.0.1:{proxy.port}"
                variables = {"DVC_REMOTE_URL": URL, "AWS_ENDPOINT_URL_S3": endpoint}
                hub = Hub(folder / "store", variables, server.credentials)
                run = hub.pull_request(branch, status=int(name != "nothing"))
                assert run.failed == ([] if name == "nothing" else ["dvc.lock is up to date"]), (
                    run.log
                )
                beyond, pipeline = overhead(run, hub)
                fetched = proxy.sent / MEGABYTE
            shutil.rmtree(branch)
            yield f"| {name} | {beyond:.1f} s | {pipeline:.1f} s | {fetched:.2f} MB |"


def loose(schema: str) -> str:
    """Widen the ranges of a schema: rows that were moved a little may lie outside."""
    wide = re.sub(r"min_value: .*", "min_value: -1000000.0", schema)
    return re.sub(r"max_value: .*", "max_value: 1000000.0", wide)


def report(rows: Sequence[str], megabytes: int) -> str:
    lines = [
        "# What a run of the workflow costs",
        "",
        f"Made by `python -m benchmarks.workflow`: a pull request's job in act, {megabytes} MB of",
        "raw data on an S3 server, for changes whose author has not run the pipeline. The",
        "installation, lint and unit tests are left out. A changed bound may fetch 1 MB at most, a",
        "changed model parameter no raw data.",
        "",
        "| changed | beyond the pipeline | the pipeline | fetched |",
        "|---|" + "--:|" * 3,
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the workflow.")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="size of the raw data")
    megabytes = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        cases = measure(Path(name), megabytes * MEGABYTE)
        rows = list(tqdm(cases, desc="pull requests", total=len(CASES), unit="run"))
    text = report(rows, megabytes)
    print(text)
    if megabytes == MEGABYTES:
        RESULTS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
