"""Training on a Dask cluster: a real scheduler and real workers, on this machine.

The workers start in an empty folder and know the installed packages only. Dask lies in
.venv/cluster, which only these tests put on the path; who installs requirements/cluster.txt has it.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import joblib
import pytest

from src.shared.cluster import require_versions
from src.shared.errors import UserError
from src.shared.paths import MODEL, TRAIN, TRAINING
from src.shared.tables import read_split
from tests.projects import ROOT, Result, call

EXTRA = [ROOT / ".venv/cluster", ROOT / ".venv/estimators"]
HAS_DASK = EXTRA[0].exists() or importlib.util.find_spec("distributed") is not None
PACKAGES = os.pathsep.join(map(str, EXTRA))
needs_dask = pytest.mark.skipif(not HAS_DASK, reason="requirements/cluster.txt is not installed")

FOREST = {"estimator": "sklearn.ensemble.ExtraTreesClassifier", "arguments": {"n_estimators": 12}}
TREE: dict[str, Any] = {"estimator": "sklearn.tree.DecisionTreeClassifier"}
SEARCH = {
    "estimator": "sklearn.model_selection.GridSearchCV",
    "arguments": {"estimator": TREE, "param_grid": {"max_depth": [1, 2, 3]}, "cv": 2},
}

# An estimator of the project's own that does something else first: once for each file.
MINE = """
import os, signal
from pathlib import Path
from sklearn.tree import DecisionTreeClassifier

class Mine(DecisionTreeClassifier):
    def __init__(self, files=(), process=None, max_depth=None, random_state=None):
        super().__init__(max_depth=max_depth, random_state=random_state)
        self.files, self.process = files, process

    def fit(self, X, y):
        kill(self.files, self.process)
        return super().fit(X, y)

def kill(files, process):
    for file in files:
        try:
            Path(file).touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(process or os.getpid(), signal.SIGKILL)
"""


@contextmanager
def process(
    folder: Path, until: str, *command: str, **environment: str
) -> Iterator[tuple[int, str]]:
    """Start a program of Dask in a folder; yield its number and the line that says it is ready."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DASK")}
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=kept | {"PYTHONPATH": PACKAGES} | environment,
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
def worker(folder: Path, address: str, *options: str, **environment: str) -> Iterator[None]:
    command = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
    options = ("--no-nanny", "--local-directory", str(folder), *options)
    with process(folder, "Registered to:", *command, *options, **environment):
        yield


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[int, str]]:
    """Start a scheduler and workers in empty folders; yield the scheduler's process and address."""
    with ExitStack() as running:
        number, address = running.enter_context(scheduler(folder))
        for _ in range(workers):
            running.enter_context(worker(folder, address))
        yield number, address


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("empty"), 2) as (_, address):
        yield address


def train(folder: Path, address: str = "", **environment: str) -> Result:
    path = os.pathsep.join([str(ROOT), PACKAGES])
    environment |= {"PYTHONPATH": path, "DASK_SCHEDULER_ADDRESS": address}
    return call("python", "-m", "src.train", folder=folder, **environment)


def results() -> tuple[bytes, list[Any]]:
    """Read what train has measured, and what its model says of the training rows."""
    rows = read_split(TRAIN)
    return (TRAINING / "metrics.json").read_bytes(), joblib.load(MODEL).predict_proba(rows).tolist()


@pytest.mark.slow
@needs_dask
@pytest.mark.parametrize("estimator", [FOREST, SEARCH], ids=["forest", "search"])
def test_results_are_those_of_one_process(project, run, address: str, estimator) -> None:
    folder = project(train=estimator)
    run("prepare", "validate", "train")
    here = results()
    MODEL.unlink()
    done = train(folder, address)
    assert (done.status, done.err) == (0, "")
    assert results() == here


def own_estimator(
    project: Callable[..., Path], run: Callable[..., Result], **arguments: Any
) -> Path:
    """Make a project whose estimator is its own, ready to be trained."""
    settings = {"estimator": "src.mine.Mine", "arguments": arguments}
    folder = project(code=True, train=settings)
    (folder / "src/mine.py").write_text(MINE)
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    for stage in ("train", "evaluate"):
        text = text.replace(f"- src/{stage}.py\n", f"- src/{stage}.py\n      - src/mine.py\n")
    (folder / "dvc.yaml").write_text(text, encoding="utf-8")
    assert run("prepare", "validate").status == 0
    return folder


@pytest.mark.slow
@needs_dask
def test_worker_that_is_killed_costs_nothing(project, run, tmp_path: Path) -> None:
    """Two of three workers die, and with them the data that they have."""
    (tmp_path / "empty").mkdir()
    files = [str(tmp_path / name) for name in ("first", "second")]
    folder = own_estimator(project, run, files=files, max_depth=3)
    with cluster(tmp_path / "empty", 3) as (_, address):
        done = train(folder, address)
    assert (done.status, done.err) == (0, "")
    assert all(Path(name).exists() for name in files)


@pytest.mark.slow
@needs_dask
def test_scheduler_that_goes_away_is_told(project, run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with cluster(tmp_path / "empty", 1) as (number, address):
        file = str(tmp_path / "killed")
        folder = own_estimator(project, run, files=[file], process=number)
        done = train(folder, address)
        assert Path(file).exists()
    assert done.status == 1
    assert done.err == (
        f"error: DASK_SCHEDULER_ADDRESS: {address}: the scheduler is gone; start it again, then "
        "run this again\n"
    )
    assert not MODEL.exists()


@pytest.mark.slow
@needs_dask
def test_scheduler_that_is_not_there_is_told(project, run) -> None:
    folder = project()
    run("prepare", "validate", "train")
    before = MODEL.read_bytes()
    done = train(folder, "tcp://127.0.0.1:9")
    assert done.status == 1
    assert done.err.startswith("error: DASK_SCHEDULER_ADDRESS: no scheduler at tcp://127.0.0.1:9: ")
    assert done.err.count("\n") == 1
    assert MODEL.read_bytes() == before


@pytest.mark.slow
@needs_dask
def test_other_versions_are_told(project, run, address: str, tmp_path: Path) -> None:
    folder, stub = project(), tmp_path / "stub"
    run("prepare", "validate")
    (stub / "scikit_learn-1.2.dist-info").mkdir(parents=True)
    (stub / "scikit_learn-1.2.dist-info/METADATA").write_text("Name: scikit-learn\nVersion: 1.2\n")
    path = os.pathsep.join([str(stub), PACKAGES])
    with worker(tmp_path, address, PYTHONPATH=path):
        done = train(folder, address)
    assert done.status == 1
    assert " has scikit-learn 1.2 (here: " in done.err
    assert done.err.count("\n") == 1


def test_dask_that_is_not_installed_is_told(project, run, monkeypatch) -> None:
    project()
    run("prepare", "validate")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = run("train")
    assert done.status == 1
    assert "Dask is not installed: install requirements/cluster.txt" in done.err


def test_first_place_with_other_versions_is_named() -> None:
    def place(**versions: str | None) -> dict[str, Any]:
        return {"packages": {"python": "3.11.7.final.0", "dask": "2"} | versions}

    found = {"client": place(), "scheduler": place(python="3.11.9.final.0"), "workers": {}}
    require_versions(found, ["python", "dask"])
    found["workers"] = {
        "tcp://a:1": place(),
        "tcp://b:1": place(python="3.12.1.final.0", dask=None),
    }
    with pytest.raises(UserError) as caught:
        require_versions(found, ["python", "dask"])
    assert "worker tcp://b:1 has python 3.12 (here: 3.11), dask not installed (here: 2);" in str(
        caught.value
    )
