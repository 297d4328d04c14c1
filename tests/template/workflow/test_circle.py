"""The circle: a service in use for fourteen days, watched, trained anew, and watched again.

Everything is real but GitHub, whose API has a stand-in, and the clock: the service writes its
record now, and each day's files are dated as of that day before they are collected.
"""

import http.client
import json
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from src.monitoring import collect, monitor
from src.shared import params, record, store
from src.shared.paths import MODEL
from src.workflow import issue
from tests.dvc_runs import call, environment, git
from tests.s3 import S3
from tests.workflow.api import GitHub
from tests.workflow.runs import LEFT_OUT, OWNER, make_quick, run_workflow

ROWS = 1_000  # a day
FILE = 250  # rows of a file
FIRST = datetime(2026, 11, 2, tzinfo=UTC)
RECORD, LABELS = "s3://bucket/record", "s3://bucket/labels.csv"
FEATURES = ["size", "seeds", "organic", "colour"]


def harvest(day: int, rows: int = ROWS, *, new_meter: float = 0.0) -> pd.DataFrame:
    """Make the fruit of a day, each with a key.

    Args:
        day: its number; 0 for the data that the first model is trained on.
        rows: how many.
        new_meter: the share that comes from a farm of small fruit, whose meter adds 20.
    """
    random = np.random.default_rng(day)
    new = random.random(rows) < new_meter
    size = np.where(new, random.normal(4.5, 1, rows), random.normal(6, 1.5, rows)).clip(2, 10)
    return pd.DataFrame(
        {
            "fruit": [f"{day:02}-{at:04}" for at in range(rows)],
            "size": (size + 20 * new).round(3),
            "seeds": random.integers(0, 20, rows),
            "organic": random.random(rows) < 0.5,
            "colour": random.choice(["red", "green", "yellow"], rows, p=[0.4, 0.35, 0.25]),
            "ripe": np.where(size + random.normal(0, 0.3, rows) > 5.8, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a key whose pipeline has run, and whose schema leaves room for `size`."""
    return make_quick(
        tmp_path_factory.mktemp("orchard") / "project",
        *LEFT_OUT,
        table=harvest(0, 600),
        schema={"max_value: 10.0": "max_value: 100.0"},
        data={"key": ["fruit"]},
        train={
            "estimator": "sklearn.tree.DecisionTreeClassifier",
            "arguments": {"max_depth": 6, "min_samples_leaf": 5},
        },
        evaluate={"importance_repeats": 0},
    )


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("not within twenty seconds")


class Service:
    """`python -m src.service.server` with a record, and a client of it."""

    def __init__(self, folder: Path, spool: Path) -> None:
        settings = {"PORT": "0", "RECORD": str(spool), "RECORD_ROWS": str(FILE)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src.service.server"],
            cwd=folder,
            env=environment(folder) | settings,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline().split(",")[0].rpartition(":")[2])
        until(self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, rows: pd.DataFrame, at_once: int = 50) -> None:
        """Send rows with their keys."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as client:
            for start in range(0, len(rows), at_once):
                part = rows[start : start + at_once][["fruit", *FEATURES]]
                body = part.to_json(orient="records")
                client.request("POST", "/predict", body, {"Content-Type": "application/json"})
                response = client.getresponse()
                assert response.status == 200, response.read()
                assert len(json.loads(response.read())["predictions"]) == len(part)

    def stop(self, signum: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signum)
            self.process.communicate()


class Circle:
    """The project in its clone, its bucket, and its repository on GitHub."""

    def __init__(self, clone: Path, s3: S3, github: GitHub, folder: Path) -> None:
        self.clone, self.s3, self.github, self.folder = clone, s3, github, folder
        self.spool, self.origin = folder / "spool", folder / "origin.git"
        git(clone, "clone", "--quiet", "--bare", ".", str(self.origin))
        (clone / ".dvc/config.local").write_text(
            "[core]\n    remote = ci\n['remote \"ci\"']\n    url = s3://bucket/data\n"
        )
        self.push()
        self.labels: list[pd.DataFrame] = []
        self.services: list[Service] = []

    def serve(self, folder: Path) -> Service:
        """Serve a folder's model."""
        self.services.append(Service(folder, self.spool))
        return self.services[-1]

    def push(self) -> None:
        """Push all that the pipeline has made, as main's own run does."""
        call(self.clone, "dvc", "push", "--quiet", "--remote", "ci")

    @property
    def written(self) -> int:
        """How many rows the service has written since they were collected."""
        files = self.spool.glob("*.parquet")
        return sum(pa.parquet.read_metadata(path).num_rows for path in files)

    def end_day(self, day: int, rows: int = ROWS, ahead: int = 0) -> None:
        """Wait for the record of a day, date it as of that day, and collect it.

        Args:
            day: its number, from 1.
            rows: how many there are to be.
            ahead: how many files were written by a machine whose clock is a day ahead.
        """
        until(lambda: self.written == rows)
        staged = self.folder / "staged"
        staged.mkdir(exist_ok=True)
        for at, path in enumerate(sorted(self.spool.glob("*.parquet"))):
            begin = FIRST + timedelta(days=day - (at >= ahead))
            table = pa.parquet.read_table(path)
            seconds = np.linspace(60, 86_000, len(table)).astype("timedelta64[s]")
            times = np.datetime64(begin.replace(tzinfo=None), "us") + seconds
            column = pa.array(times, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
            table = table.set_column(table.column_names.index("time"), "time", column)
            end = (begin + timedelta(days=1)).strftime(record.TIME)
            pa.parquet.write_table(table, staged / f"{end}-{path.name.partition('-')[2]}")
            path.unlink()
        collect.collect(str(staged), RECORD)

    def label(self, rows: pd.DataFrame) -> None:
        """Let the laboratory say what fruit was ripe."""
        self.labels.append(rows[["fruit", "ripe"]])
        system, path = store.folder("s3://bucket")
        system.pipe_file(f"{path}/labels.csv", pd.concat(self.labels).to_csv(index=False).encode())

    def night(self, day: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """Do in this process what monitor.yml does; give what the comparison says."""
        values = self.github.environment | {"RECORD": RECORD, "LABELS": LABELS * bool(self.labels)}
        values |= {"RUN_URL": "https://localhost/run", "UNTIL": self.midnight(day)}
        with monkeypatch.context() as patch:
            for name, value in values.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["issue", "report"])
            params.load.cache_clear()
            monitor.main()
            issue.main()
        return dict(json.loads((self.clone / "report/monitor.json").read_text("utf-8")))

    @staticmethod
    def midnight(day: int) -> str:
        return (FIRST + timedelta(days=day)).isoformat()

    def act(self, workflow: str, event: str, day: int, payload: Any, job: str | None = None) -> str:
        """Run a workflow, or one job of it; give its log."""
        owner = {"DVC_REMOTE_URL": "s3://bucket/data", "AWS_ENDPOINT_URL_S3": self.s3.endpoint}
        owner |= {"MONITOR_RECORD": RECORD, "MONITOR_LABELS": LABELS * bool(self.labels)}
        found, log = run_workflow(
            self.clone,
            event,
            payload,
            self.folder / "store",
            workflow=workflow,
            job=job,
            variables=owner,
            secrets=self.s3.credentials | {"GITHUB_TOKEN": "token"},
            environment={"GITHUB_API_URL": self.github.url, "UNTIL": self.midnight(day)}
            | {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{self.origin}.insteadOf"}
            | {"GIT_CONFIG_VALUE_0": OWNER},
        )
        assert found == 0, log
        return log

    def check(self, pull: dict[str, Any]) -> str:
        """Run the checks of a pull request, as once somebody approves of that; give the report."""
        names = ("main", pull["head"]["ref"])
        main, head = (git(self.clone, "rev-parse", one).strip() for one in names)
        payload = {"number": pull["number"], "base": {"sha": main}, "head": {"sha": head}}
        git(self.clone, "switch", "--quiet", "--detach", head)
        self.act("ci.yml", "pull_request", 11, {"pull_request": payload})
        git(self.clone, "switch", "--quiet", "main")
        return (self.folder / "store/report/report.md").read_text("utf-8")

    def accept(self, branch: str) -> None:
        """Merge a branch; main's own run trains and pushes, and the model is fetched."""
        before = git(self.clone, "rev-parse", "HEAD").strip()
        git(self.clone, "merge", "--quiet", "--ff-only", branch)
        self.act("cd.yml", "push", 11, {"before": before, "forced": False}, job="train")
        call(self.clone, "dvc", "pull", "--quiet", "--remote", "ci")
        assert git(self.clone, "status", "--porcelain") == ""


@pytest.fixture
def circle(
    orchard: Path, tmp_path: Path, s3: S3, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Circle]:
    clone = Path(shutil.copytree(orchard, tmp_path / "clone", symlinks=True))
    monkeypatch.chdir(clone)
    for name, value in (s3.credentials | {"AWS_ENDPOINT_URL_S3": s3.endpoint}).items():
        monkeypatch.setenv(name, value)
    found = Circle(clone, s3, github, tmp_path)
    yield found
    for service in found.services:
        service.stop(signal.SIGKILL)


def rows_of(found: dict[str, Any]) -> list[int]:
    return [window["rows"] for window in found["windows"]]


def kinds_of(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["kind"], one["column"]) for one in found["findings"]}


def test_fourteen_days(
    circle: Circle, orchard: Path, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = quiet_days(circle, orchard)
    found = circle.night(10, monkeypatch)
    # Of day 5, 100 rows were in the memory of the process that was killed, and 100 came later; of
    # day 8, one of four files was written by a machine whose clock was a day ahead.
    assert rows_of(found) == [ROWS] * 7 + [ROWS - FILE, ROWS + FILE, ROWS]
    assert found["verdict"] == "nothing found"
    assert github.issues == {}

    # Drift in one feature, then labels that turn bad.
    drifted = harvest(11, new_meter=0.2)
    old.ask(drifted)
    circle.end_day(11)
    circle.night(11, monkeypatch)
    (one,) = github.open_issues
    assert "| `size` | drift | " in one["body"]
    assert github.comments == {}
    circle.label(drifted)
    found = circle.night(11, monkeypatch)
    assert ("metric", "accuracy") in kinds_of(found)
    (told,) = github.comments.values()
    assert told["body"].startswith("New since the last run:\n- accuracy: ")
    assert github.open_issues == [one]

    # A label of the issue, and a pull request, which is checked, and somebody merges.
    labelled = {"action": "labeled", "label": {"name": "retrain"}, "issue": {"user": one["user"]}}
    log = circle.act("retrain.yml", "issues", 11, labelled)
    assert "1,000 labelled rows came in, 1,000 of them are new and added to the data" in log
    (pull,) = github.open_pulls
    branch = pull["head"]["ref"]
    assert "# ✅ Passed" in pull["body"]
    assert git(circle.origin, "rev-parse", "main") == git(circle.clone, "rev-parse", "main")
    git(circle.clone, "fetch", "--quiet", str(circle.origin), f"{branch}:{branch}")
    changed = git(circle.clone, "diff", "--name-only", "main", branch).split()
    assert [name for name in changed if not name.startswith("metrics/")] == [
        "data/raw.csv.dvc",
        "dvc.lock",
    ]
    report = circle.check(pull)
    assert report.startswith("# ✅ Passed")
    champion = git(circle.clone, "rev-parse", "main")[:10]
    assert f"The champion is the model of commit `{champion}`." in report
    assert re.search(r"beside the champion, on \d+ rows that both tested: `accuracy`", report)
    circle.accept(branch)
    before, after = (joblib.load(folder / MODEL) for folder in (orchard, circle.clone))
    rows = harvest(12, new_meter=0.2)
    right = [(model.predict(rows[FEATURES]) == rows["ripe"]).mean() for model in (before, after)]
    assert right[1] > right[0] + 0.1

    # The new model, and on its first day the old one beside it, as after a rollback.
    service = circle.serve(circle.clone)
    for day in (12, 13, 14):
        rows = harvest(day, new_meter=0.2)
        if day == 12:
            old.ask(rows[:FILE])
            until(lambda: circle.written == FILE)
            old.stop()
            rows = rows[FILE:]
        service.ask(rows)
        circle.end_day(day)
        circle.label(rows)
        if day == 13:
            found = circle.night(day, monkeypatch)
            assert found["verdict"] == "nothing found"
            assert rows_of(found)[-2:] == [ROWS - FILE, ROWS]
            assert github.open_issues == [one]
    log = circle.act("monitor.yml", "schedule", 14, {})
    assert "Not compared: 11,250 rows that another model answered" in log
    assert "closed issue" in log
    assert [issue["state"] for issue in github.issues.values()] == ["closed", "open"]

    # Nothing is there twice, nothing is lost that was written.
    tables = list(record.read(RECORD))
    keys = [row["fruit"] for table in tables for row in table["rows"].to_pylist()]
    assert len(keys) == len(set(keys)) == 14 * ROWS


def quiet_days(circle: Circle, orchard: Path) -> Service:
    """Let ten days go by on which all is as it was, but for what machines do; give the service."""
    service = circle.serve(orchard)
    for day in range(1, 11):
        rows = harvest(day, 1_100 if day == 5 else ROWS)
        if day == 5:
            service.ask(rows[:600])
            until(lambda: circle.written == 2 * FILE)
            service.stop(signal.SIGKILL)
            service = circle.serve(orchard)
            rows = rows[600:]
        if day == 6:  # the disk is full
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (100, -1))
        service.ask(rows)
        if day == 6:
            assert circle.written == 0
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
            service.stop()  # which writes what is in memory
            service = circle.serve(orchard)
        circle.end_day(day, ahead=1 if day == 8 else 0)
    return service
