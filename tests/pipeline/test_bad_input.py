"""A user's mistake ends with one line on stderr and leaves earlier outputs as they were."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.projects import (
    STAGES,
    call,
    fruit,
    run_stage,
    settings_of,
    tree,
    write_settings,
    write_table,
)

Break = Callable[[Path], object]
FOREST = "sklearn.ensemble.RandomForestClassifier"
RAW = "data/raw.csv"
FAILED = "failed (all in metrics/validation.json)"


def setting(**sections: Any) -> Break:
    """Set parameters."""
    return lambda folder: write_settings(folder, settings_of(**sections))


def text(path: str, change: Callable[[bytes], bytes]) -> Break:
    """Change a file's bytes."""
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes()))


def remove(path: str) -> Break:
    return lambda folder: (folder / path).unlink()


def raw(**columns: Any) -> Break:
    """Set columns of the raw table."""
    return lambda folder: write_table(folder / RAW, fruit().assign(**columns))


def prepared(**columns: Any) -> Break:
    """Set columns of the raw table and split it anew."""

    def change(folder: Path) -> None:
        raw(**columns)(folder)
        assert run_stage("prepare") == 0

    return change


def misspelt(whole: bytes) -> bytes:
    return whole.replace(b"folds:", b"fold:")


def parquet_cut_short(folder: Path) -> None:
    path = folder / "data/raw.parquet"
    write_table(path, fruit())
    path.write_bytes(path.read_bytes()[:-9])
    setting(data={"raw": "data/raw.parquet"})(folder)


def first(values: list[Any], rest: Any) -> list[Any]:
    return values + [rest] * (240 - len(values))


# What is broken, the stage that stops, and what its message must say.
CASES: dict[str, tuple[Break, str, list[str]]] = {
    "raw file missing": (remove(RAW), "prepare", [RAW, "not found", "dvc pull"]),
    "raw file empty": (text(RAW, lambda whole: b""), "prepare", [RAW, "is empty"]),
    "header only": (
        text(RAW, lambda whole: whole.splitlines(keepends=True)[0]),
        "prepare",
        [RAW, "has a header but no rows"],
    ),
    "header not UTF-8": (
        text(RAW, lambda whole: whole.replace(b"colour", b"col\xf6ur")),
        "prepare",
        [RAW, "header is not UTF-8 text", "save it as UTF-8"],
    ),
    "body not UTF-8": (
        text(RAW, lambda whole: whole.replace(b"green", b"gr\xfcn")),
        "prepare",
        [RAW, "'colour' is not UTF-8 text", "save it as UTF-8"],
    ),
    "ragged rows": (
        text(RAW, lambda whole: whole + b"1,2\n"),
        "prepare",
        [RAW, "line 242 has 2 fields, the header has 6"],
    ),
    "Parquet cut short": (parquet_cut_short, "prepare", ["data/raw.parquet", "cannot be read"]),
    "column names twice": (
        text(RAW, lambda whole: whole.replace(b"seeds", b"size")),
        "prepare",
        [RAW, "stand twice: size"],
    ),
    "target absent": (
        setting(data={"target": "rpie"}),
        "prepare",
        [RAW, "no column 'rpie'", "data.target", "did you mean 'ripe'?"],
    ),
    "target all missing": (raw(ripe=None), "prepare", [RAW, "'ripe' is missing in every row"]),
    "target missing in rows": (
        prepared(ripe=first([None, None, "no"] * 20, "yes")),
        "validate",
        [FAILED, "metrics/validation.json"],
    ),
    "one class": (prepared(ripe="yes"), "validate", [FAILED, "raw data"]),
    "positive label absent": (
        setting(data={"positive": "Yes"}),
        "validate",
        [FAILED, "params.yaml"],
    ),
    "feature all missing": (prepared(size=np.nan), "validate", [FAILED, "raw data"]),
    "infinite values": (prepared(size=first([np.inf] * 9, 1.5)), "validate", [FAILED]),
    "data that did not pass": (
        text("metrics/validation.json", lambda whole: whole.replace(b"true", b"false")),
        "train",
        ["metrics/validation.json", "did not pass"],
    ),
    "class smaller than folds": (
        prepared(ripe=first(["no"] * 3, "yes")),
        "train",
        ["train.folds is 3", "only 2 rows of class 'no'"],
    ),
    "estimator missing": (
        setting(train={"estimator": "sklearn.svm.Nothing"}),
        "train",
        ["train.estimator", "sklearn.svm.Nothing"],
    ),
    "estimator refuses a keyword": (
        setting(train={"estimator": FOREST, "arguments": {"trees": 5}}),
        "train",
        ["train.arguments", FOREST, "trees"],
    ),
    "estimator refuses a value": (
        setting(train={"estimator": FOREST, "arguments": {"n_estimators": -5}}),
        "train",
        ["train", FOREST, "n_estimators", "-5"],
    ),
    "train split missing": (
        remove("data/prepared/train.parquet"),
        "train",
        ["data/prepared/train.parquet", "run `dvc repro`"],
    ),
    "target not in the split": (
        setting(data={"target": "sweet"}),
        "train",
        ["data/prepared/train.parquet", "sweet", "run `dvc repro`"],
    ),
    "model cut short": (
        text("models/model.joblib", lambda whole: whole[:-100]),
        "evaluate",
        ["models/model.joblib", "not the file", "run `dvc repro -f train`"],
    ),
    "metrics absent": (
        remove("metrics/evaluate/metrics.json"),
        "gate",
        ["metrics/evaluate/metrics.json", "not found", "run `dvc repro -f evaluate`"],
    ),
    "metrics corrupt": (
        text("metrics/evaluate/metrics.json", lambda whole: whole[:-3]),
        "gate",
        ["metrics/evaluate/metrics.json", "not valid JSON", "run `dvc repro -f evaluate`"],
    ),
    **{
        f"params.yaml {name} for {stage}": (change, stage, ["params.yaml", *said])
        for stage in (*STAGES, "schema")
        for name, change, said in (
            ("absent", remove("params.yaml"), ["not found", "root folder"]),
            (
                "cut short",
                text("params.yaml", lambda whole: whole + b"a: ["),
                ["not valid YAML"],
            ),
            (
                "misspelt",
                text("params.yaml", misspelt),
                ["train.fold", "did you mean train.folds?"],
            ),
            ("mistyped", setting(evaluate={"seed": "x"}), ["evaluate.seed is 'x'", "whole number"]),
        )
    },
}


@pytest.mark.parametrize(("damage", "stage", "said"), CASES.values(), ids=CASES)
def test_mistake_ends_with_one_line_and_earlier_outputs_stay(trained, capsys, damage, stage, said):
    damage(trained)
    before = tree(trained)
    capsys.readouterr()
    assert run_stage(stage) == (2 if stage == "gate" else 1)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert all(part in error for part in said), error
    after = tree(trained)
    if stage == "validate" and said[0] == FAILED:  # its report is what it is there for
        assert b'"passed": false' in after.pop("metrics/validation.json")
        before.pop("metrics/validation.json")
    assert after == before


@pytest.mark.parametrize("name", ["ragged rows", "one class", "model cut short", "metrics corrupt"])
def test_mistake_ends_a_real_process_in_the_same_way(trained, name):
    damage, stage, said = CASES[name]
    damage(trained)
    done = call("python", "-m", f"src.{stage}", folder=trained)
    assert done.status == (2 if stage == "gate" else 1)
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert all(part in done.err for part in said)


def private_mount() -> str:
    """Say why a file system of its own cannot be mounted here, if so."""
    if not shutil.which("unshare"):
        return "needs unshare (util-linux)"
    mount = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    return f"cannot mount: {done.stderr}" if done.returncode else ""


@pytest.mark.parametrize(
    ("stage", "full", "table"),
    [
        ("prepare", "data/prepared", fruit(4000)),
        ("train", "models", fruit()),
        ("train", "metrics", fruit()),
    ],
)
def test_disk_that_is_full_ends_with_one_line_and_earlier_outputs_stay(
    trained: Path, stage: str, full: str, table: pd.DataFrame
) -> None:
    if reason := private_mount():
        pytest.skip(reason)
    write_table(trained / RAW, table)
    # On a disk of 128 kB stand the earlier outputs, then what fills it all but for a few pages.
    script = f"""
        set -e
        cp -r {full} saved
        mount -t tmpfs -o size=128k tmpfs {full}
        cp -r saved/. {full}
        head -c 200000 /dev/zero > {full}/filling 2>/dev/null || truncate -s -4096 {full}/filling
        status=0
        "$0" -m src.{stage} || status=$?
        rm {full}/filling
        diff -r saved {full} >&2
        exit $status
    """
    done = call(
        "unshare", "--map-root-user", "--mount", "sh", "-c", script, sys.executable, folder=trained
    )
    assert done.status == 1, done
    assert done.err.startswith("error: ")
    assert "No space left on device" in done.err
    assert full in done.err
    assert done.err.count("\n") == 1
