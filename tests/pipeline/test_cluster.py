"""Training on a Dask cluster: a real scheduler and real workers, on this machine.

The workers start in an empty folder and know the installed packages only. Dask lies in
.venv/cluster, which only these tests put on the path; who installs requirements/cluster.txt has it.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from src import splits
from src.shared.cluster import require_versions
from src.shared.distributed import in_blocks
from src.shared.errors import UserError
from src.shared.params import Params, parse
from src.shared.paths import MODEL, TRAIN, TRAINING
from src.shared.tables import read_split
from tests.pipeline.clusters import EXTRA, PACKAGES, cluster, scheduler, worker
from tests.projects import ROOT, Result, call, fruit, settings_of, write_settings

HAS_DASK = EXTRA[0].exists() or importlib.util.find_spec("distributed") is not None
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


WATCH = """
import io, json, runpy, tqdm
from src.shared import search

class Bar(tqdm.tqdm):
    def __init__(self, **options):
        super().__init__(**options | {"disable": False, "file": io.StringIO()})
        bars.append([])

    def update(self, count=1):
        super().update(count)
        bars[-1].append((self.n, self.total))

bars, search.tqdm = [], Bar
try:
    runpy.run_module("src.train", run_name="__main__")
finally:
    print(json.dumps(bars))
"""


@pytest.mark.slow
@needs_dask
def test_bar_of_a_search_grows_with_each_fit(project, run, address: str) -> None:
    """Trees, which are sent too when the best candidate is fitted, are not counted."""
    arguments = {"estimator": FOREST, "param_grid": {"max_depth": [1, 2, 3]}, "cv": 3}
    folder = project(train=SEARCH | {"arguments": arguments, "folds": 2})
    run("prepare", "validate")
    path = os.pathsep.join([str(ROOT), PACKAGES])
    environment = {"PYTHONPATH": path, "DASK_SCHEDULER_ADDRESS": address}
    done = call("python", "-c", WATCH, folder=folder, **environment)
    assert (done.status, done.err) == (0, "")
    counted = [[fit, 9] for fit in range(1, 10)]
    last = [[9, 9]]  # scikit-learn's word that it is over
    assert json.loads(done.out.splitlines()[-1]) == [counted + last] * 3


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


XGBOOST = {
    "estimator": "xgboost.XGBClassifier",
    "arguments": {"n_estimators": 20, "max_depth": 3},
}
LIGHTGBM = {
    "estimator": "lightgbm.LGBMClassifier",
    "arguments": {"n_estimators": 20, "max_depth": 3, "verbose": -1},
}
TIME = {"split": "time", "column": "picked", "duplicates": "keep"}
NO_DASK = """
import sys, joblib
from src.shared.paths import MODEL, TRAIN
from src.shared.tables import read_split
rows = read_split(TRAIN)
print((joblib.load(MODEL).predict(rows) == rows["ripe"]).mean())
assert not {"dask", "distributed"} & set(sys.modules)
"""
DIE = """
import os, signal
import xgboost.training

def train(*arguments, **options):
    started.append(1)
    if len(started) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return ordinary(*arguments, **options)

# Dask loads this more than once.
started, ordinary = [], getattr(xgboost.training.train, "ordinary", xgboost.training.train)
train.ordinary, xgboost.training.train = ordinary, train
"""
DIE_ONCE = """
import os, signal
from pathlib import Path
import lightgbm.engine, lightgbm.sklearn

def train(*arguments, callbacks=None, **options):
    callbacks = [*(callbacks or []), die]
    return lightgbm.engine.train(*arguments, callbacks=callbacks, **options)

def die(state):
    if state.iteration == 5:
        try:
            Path({file!r}).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

lightgbm.sklearn.train = train
"""
needs_trainers = pytest.mark.skipif(
    not (HAS_DASK and (EXTRA[1].exists() or importlib.util.find_spec("xgboost"))),
    reason="Dask, XGBoost or LightGBM is not installed",
)


def accuracies(folder: Path) -> tuple[dict[str, float], float]:
    """Read the metrics of cross-validation, and let a process without Dask try the model."""
    path = os.pathsep.join([str(ROOT), str(EXTRA[1])])
    done = call("python", "-c", NO_DASK, folder=folder, PYTHONPATH=path)
    assert done.status == 0, done.err
    return json.loads((TRAINING / "metrics.json").read_text()), float(done.out)


def distribute(folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("distributed: false", "distributed: true"))


@pytest.mark.slow
@needs_trainers
@pytest.mark.parametrize(
    ("estimator", "split"), [(XGBOOST, {}), (LIGHTGBM, TIME)], ids=["xgboost", "lightgbm-time"]
)
def test_distributed_training_is_as_good(project, run, address: str, estimator, split) -> None:
    wide = {"max_drift": 1.0, "max_category_drift": 1.0}
    folder = project(table=fruit(20_000), train=estimator, prepare=split, validate=wide)
    run("prepare", "validate")
    assert train(folder).status == 0
    scores, share = accuracies(folder)
    distribute(folder)
    done = train(folder, address)
    assert (done.status, done.err) == (0, "")
    there, share_there = accuracies(folder)
    assert share_there == pytest.approx(share, abs=0.002)
    assert there.keys() == scores.keys()
    for name in ("accuracy", "roc_auc", "log_loss"):
        assert there[name] == pytest.approx(scores[name], abs=0.002)


# A worker that may address no more than its libraries do and what its memory limit leaves.
HELD = """
import os, resource
import numpy, pyarrow, sklearn.pipeline, xgboost.dask

pyarrow.table({"x": [1.0]}).to_pandas()
xgboost.XGBClassifier(n_estimators=1).fit(numpy.eye(2), [0, 1])
pages = [int(pages) for pages in open("/proc/self/statm").read().split()]
libraries = (pages[0] - pages[1]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, [libraries + int(os.environ["MOST"])] * 2)
"""
IN_MEMORY = """
import joblib, xgboost
import pyarrow.parquet as pq
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from src.shared.paths import MODEL, TRAIN

rows = pq.read_table(TRAIN).to_pandas(self_destruct=True)
ripe = rows.pop("ripe") == "yes"
numbers = rows.drop(columns="id")
alone = xgboost.XGBClassifier(n_estimators=3, max_depth=3).fit(numbers, ripe)
rows, numbers, ripe = rows[::4], numbers[::4], ripe[::4]
for positive in (joblib.load(MODEL).predict_proba(rows)[:, 1], alone.predict_proba(numbers)[:, 1]):
    for metric in (roc_auc_score, log_loss):
        print(metric(ripe, positive))
    print(accuracy_score(ripe, positive > 0.5))
"""


def wide_split(folder: Path, rows: int, columns: int) -> None:
    """Make a train split of numbers that has passed, a part of its rows at a time."""
    (folder / "data/prepared").mkdir(parents=True)
    (folder / "metrics").mkdir()
    (folder / "metrics/validation.json").write_text('{"passed": true}')
    random, writer = np.random.default_rng(1), None
    for start in range(0, rows, 100_000):
        # Few different ones: they are drawn, written and read quickly.
        numbers = random.integers(0, 200, (min(100_000, rows - start), columns)).astype(float)
        sums = numbers[:, :4].sum(axis=1) + random.normal(0, 60, len(numbers))
        named = {f"x{at}": numbers[:, at] for at in range(columns)}
        keys = np.arange(start, start + len(numbers))
        table = pa.table({"id": keys} | named | {"ripe": np.where(sums > 398, "yes", "no")})
        writer = writer or pq.ParquetWriter(folder / TRAIN, table.schema)
        writer.write_table(table)
    assert writer
    writer.close()


@pytest.mark.slow
@needs_trainers
@pytest.mark.skipif(sys.platform != "linux", reason="a limit of addresses is Linux's")
def test_workers_hold_together_what_none_holds_alone(tmp_path: Path, monkeypatch) -> None:
    """Three workers, each held to less memory than the bare numbers take."""
    rows, columns, most = 1_700_000, 50, 670_000_000
    assert most < rows * columns * 8
    monkeypatch.chdir(tmp_path)
    wide_split(tmp_path, rows, columns)
    few = {"n_estimators": 3, "max_depth": 3}
    settings = settings_of(
        data={"key": ["id"]},
        train=XGBOOST | {"arguments": few, "folds": 2, "distributed": True},
    )
    write_settings(tmp_path, settings)
    (tmp_path / "empty").mkdir()
    (tmp_path / "held.py").write_text(HELD)
    limits = ("--memory-limit", str(most), "--preload", str(tmp_path / "held.py"))
    with ExitStack() as running:
        _, address = running.enter_context(scheduler(tmp_path / "empty"))
        for _ in range(3):
            one = worker(tmp_path / "empty", address, *limits, MOST=str(most), MALLOC_ARENA_MAX="1")
            running.enter_context(one)
        done = train(tmp_path, address)
    assert (done.status, done.err) == (0, "")
    assert "learned from 100,000 rows of 1,700,000" in done.out
    assert "sending the rows again" not in done.out
    path = os.pathsep.join([str(ROOT), str(EXTRA[1])])
    done = call("python", "-c", IN_MEMORY, folder=tmp_path, PYTHONPATH=path)
    assert done.status == 0, done.err
    there, alone = np.array(done.out.split(), dtype=float).reshape(2, 3).tolist()
    assert there == pytest.approx(alone, abs=0.002)


@pytest.mark.slow
@needs_trainers
def test_worker_that_is_killed_while_it_trains(project, run, address: str, tmp_path: Path) -> None:
    folder = project(table=fruit(2_000), train=XGBOOST | {"distributed": True})
    run("prepare", "validate")
    (tmp_path / "die.py").write_text(DIE)
    with worker(tmp_path, address, "--preload", str(tmp_path / "die.py")):
        done = train(folder, address)
    assert (done.status, done.err) == (0, "")
    assert "lost 1 of 3 workers; sending the rows again\n" in done.out


@pytest.mark.slow
@needs_trainers
def test_nannies_replace_workers_that_wait_for_a_dead_one(project, run, tmp_path: Path) -> None:
    """With LightGBM the other worker waits; both are replaced, and the run goes on."""
    folder = project(table=fruit(20_000), train=LIGHTGBM | {"folds": 2})
    run("prepare", "validate")
    assert train(folder).status == 0
    scores = json.loads((TRAINING / "metrics.json").read_text())
    distribute(folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "die.py").write_text(DIE_ONCE.format(file=str(tmp_path / "died")))
    preload = ("--preload", str(tmp_path / "die.py"))
    with ExitStack() as running:
        _, address = running.enter_context(scheduler(tmp_path / "empty"))
        for _ in range(2):
            running.enter_context(worker(tmp_path / "empty", address, *preload, nanny=True))
        done = train(folder, address)
    assert (done.status, done.err) == (0, "")
    assert done.out.count("lost 1 of 2 workers; sending the rows again\n") == 1
    assert (tmp_path / "died").exists()
    there = json.loads((TRAINING / "metrics.json").read_text())
    for name in ("accuracy", "roc_auc", "log_loss"):
        assert there[name] == pytest.approx(scores[name], abs=0.002)


@pytest.mark.slow
@needs_trainers
def test_worker_without_a_nanny_ends_a_training_with_lightgbm(project, run, tmp_path: Path) -> None:
    folder = project(table=fruit(2_000), train=LIGHTGBM | {"distributed": True})
    run("prepare", "validate")
    (tmp_path / "empty").mkdir()
    (tmp_path / "die.py").write_text(DIE_ONCE.format(file=str(tmp_path / "died")))
    with ExitStack() as running:
        _, address = running.enter_context(cluster(tmp_path / "empty", 1))
        preload = ("--preload", str(tmp_path / "die.py"))
        running.enter_context(worker(tmp_path / "empty", address, *preload))
        done = train(folder, address)
    assert done.status == 1
    assert done.err.startswith("error: DASK_SCHEDULER_ADDRESS: lost 1 of 2 workers, and with Light")
    assert done.err.count("\n") == 1
    assert not MODEL.exists()


@pytest.mark.parametrize(
    ("estimator", "address", "expected"),
    [
        ({}, "tcp://127.0.0.1:9", "LogisticRegression cannot be trained on rows that are spread"),
        (
            XGBOOST,
            "",
            "train.distributed: needs a cluster; start one (docs/scale.md) and set ",
        ),
    ],
)
def test_distributed_training_that_cannot_be_is_refused(
    project, run, monkeypatch, estimator, address, expected
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    project(train=estimator | {"distributed": True})
    done = run("prepare", "validate", "train")
    assert done.status == 1
    assert expected in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    "split",
    [
        {"split": "stratified"},
        {"split": "random"},
        {"split": "group", "column": "seeds"},
        {"split": "time", "column": "picked"},
    ],
)
def test_folds_of_blocks_are_those_of_one_process(split) -> None:
    settings, frame = parse(Params, settings_of(prepare=split)), fruit()
    blocks, folds = in_blocks(frame, settings)
    for (fit_on, scored), (learned, held_out) in zip(
        folds, splits.folds(frame, settings), strict=True
    ):
        assert np.flatnonzero(np.isin(blocks, list(fit_on))).tolist() == sorted(learned)
        assert np.flatnonzero(blocks == scored).tolist() == sorted(held_out)


def test_folds_that_share_rows_in_parts_are_refused(monkeypatch) -> None:
    rows = np.arange(240)
    sliding = [(rows[:100], rows[100:150]), (rows[50:150], rows[150:200])]
    monkeypatch.setattr(splits, "folds", lambda frame, settings: iter(sliding))
    with pytest.raises(UserError, match="share rows in parts"):
        in_blocks(fruit(), parse(Params, settings_of()))
