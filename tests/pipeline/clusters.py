"""Dask's scheduler and workers, real ones on this machine, for tests and measurements.

They know the packages of .venv/cluster and .venv/estimators besides the installed ones.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

from tests.projects import ROOT

EXTRA = [ROOT / ".venv/cluster", ROOT / ".venv/estimators"]
PACKAGES = os.pathsep.join(map(str, EXTRA))


@contextmanager
def process(
    folder: Path, until: str, *command: str, **environment: str
) -> Iterator[tuple[int, str]]:
    """Start a program of Dask in a folder; yield its number and the line that says it is ready."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DASK")}
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=kept | {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stderr
        rest = Thread(target=started.stderr.read)
        try:
            ready = next((line for line in started.stderr if until in line), "")
            assert ready, f"{command} ended"
            rest.start()
            yield started.pid, ready
        finally:
            started.kill()
            rest.join()


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[int, str]]:
    """Start a scheduler; yield its process and its address."""
    command = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    with process(folder, "Scheduler at:", *command, "--no-dashboard") as (number, line):
        yield number, line.split()[-1]


@contextmanager
def worker(
    folder: Path, address: str, *options: str, nanny: bool = False, **environment: str
) -> Iterator[tuple[int, str]]:
    """Start a worker, where asked for with a nanny, which starts another when it dies."""
    command = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
    options = ("--nanny" if nanny else "--no-nanny", "--local-directory", str(folder), *options)
    with process(folder, "Registered to:", *command, *options, **environment) as started:
        yield started


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[int, str]]:
    """Start a scheduler and workers in empty folders; yield the scheduler's process and address."""
    with ExitStack() as running:
        number, address = running.enter_context(scheduler(folder))
        for _ in range(workers):
            running.enter_context(worker(folder, address))
        yield number, address
