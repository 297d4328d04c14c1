"""What is left, and what comes next, when the pipeline stops half-way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.dvc_runs import environment, repro
from tests.projects import settings_of, tree, write_settings

STOPPED = 255

# Estimators that say when they are at work, and then do not end.
BLOCKING = """
from threading import Event
from sklearn.linear_model import LogisticRegression

def block():
    print("blocked", flush=True)
    Event().wait()

class WhenFitted(LogisticRegression):
    def fit(self, X, y):
        block()

class WhenSaved(LogisticRegression):
    def __getstate__(self):
        block()
"""


def results(folder: Path) -> dict[str, bytes]:
    """Read all that the stages have made, without what a killed one was writing."""
    return {
        f"{name}/{path}": content
        for name in ("data/prepared", "models", "metrics")
        for path, content in tree(folder / name).items()
        if ".tmp" not in path
    }


def drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*.tmp")]


def passed(folder: Path, report: str) -> bool:
    return json.loads((folder / "metrics" / report).read_text(encoding="utf-8"))["passed"]


def kill_when_blocked(folder: Path, *command: str) -> None:
    """Start a command, wait until the estimator blocks, then kill -9 all that was started."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        blocked = any("blocked" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)
    assert blocked
    assert process.returncode == -signal.SIGKILL


def test_gate_stops_again_and_again(pipeline: Path) -> None:
    write_settings(pipeline, settings_of(gate={"accuracy": {"min": 1.01}}))
    for _ in range(2):
        assert repro(pipeline, status=STOPPED) == ["gate"]
        assert not passed(pipeline, "gate.json")

    write_settings(pipeline, settings_of())
    assert repro(pipeline) == ["gate"]
    assert passed(pipeline, "gate.json")


def test_invalid_data_stop_before_training(pipeline: Path) -> None:
    schema, before = pipeline / "data/schema.yaml", results(pipeline)
    right = schema.read_bytes()
    content = YAML(typ="safe").load(schema)
    del content["columns"]["size"]  # so this column should not be in the data
    YAML().dump(content, schema)
    assert repro(pipeline, status=STOPPED) == ["prepare", "validate"]
    assert not passed(pipeline, "validation.json")
    verdict = {"metrics/validation.json": b""}
    assert results(pipeline) | verdict == before | verdict

    # The verdict becomes what it was when the model was trained, so that still holds.
    schema.write_bytes(right)
    assert repro(pipeline) == ["prepare", "validate"]
    assert results(pipeline) == before


def test_arguments_that_fail_leave_earlier_results(pipeline: Path) -> None:
    before = results(pipeline)
    write_settings(pipeline, settings_of(train={"arguments": {"C": -1.0}}))
    assert repro(pipeline, status=STOPPED) == ["train"]
    assert results(pipeline) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_kill_9_leaves_earlier_results(pipeline: Path) -> None:
    before = results(pipeline)
    (pipeline / "blocking.py").write_text(BLOCKING, encoding="utf-8")
    stages = (pipeline / "dvc.yaml").read_text(encoding="utf-8")
    deps = stages.replace("- src/features.py\n", "- src/features.py\n      - blocking.py\n")
    (pipeline / "dvc.yaml").write_text(deps, encoding="utf-8")
    for estimator, command in (("WhenSaved", ["src.train"]), ("WhenFitted", ["dvc", "repro"])):
        train = {"estimator": f"blocking.{estimator}", "arguments": {}}
        write_settings(pipeline, settings_of(train=train))
        kill_when_blocked(pipeline, *command)
        assert results(pipeline) == before
        assert drafts(pipeline) == [".model.joblib.tmp"]  # left by the first

    write_settings(pipeline, settings_of(train={"arguments": {"C": 0.01}}))
    assert repro(pipeline) == ["train", "evaluate", "gate"]
    assert results(pipeline).keys() == before.keys()
    assert results(pipeline)["models/model.joblib"] != before["models/model.joblib"]
    assert drafts(pipeline) == []
