"""Training on a sample of the rows, and the warning before a training that does not fit."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.shared import sample
from src.shared.paths import SIDECAR, TRAIN
from src.shared.tables import read_split
from tests.projects import fruit


def test_each_class_has_its_share() -> None:
    hashes = np.random.default_rng(3).integers(0, 2**63, 1000).astype(np.uint64)
    classes = np.repeat([0, 1, 2], [700, 299, 1])
    chosen = sample.first(hashes, classes, 100)
    assert np.bincount(classes[chosen]) == pytest.approx([70, 29, 1], abs=1)
    assert chosen.sum() == 100
    for one in (0, 1):  # the lowest ones
        of_class = classes == one
        assert hashes[chosen & of_class].max() < hashes[~chosen & of_class].min()


def test_smaller_sample_is_part_of_a_larger_one() -> None:
    hashes = np.random.default_rng(3).integers(0, 50, 1000).astype(np.uint64)  # with repeats
    classes = np.random.default_rng(4).integers(0, 3, 1000)
    small, large = (sample.first(hashes, classes, rows) for rows in (50, 400))
    assert (small.sum(), large.sum(), (small & large).sum()) == (50, 400, 50)


def test_groups_stay_whole() -> None:
    groups = np.repeat([5, 7, 9], [10, 20, 30]).astype(np.uint64)
    counts = {rows: sample.whole(groups, rows).sum() for rows in (9, 10, 29, 30, 60, 99)}
    assert counts == {9: 0, 10: 10, 29: 10, 30: 30, 60: 60, 99: 60}


def project_of(project, table: pd.DataFrame, **train: object) -> None:
    project(table=table, train=train, validate={"max_drift": 1.0, "max_category_drift": 1.0})


def test_train_takes_so_many_rows_at_most(project, run, monkeypatch) -> None:
    project_of(project, fruit(), rows=100)
    monkeypatch.setattr(sample, "BATCH", 17)
    done = run("prepare", "validate", "train")
    total = len(read_split(TRAIN))
    assert f"100 of {total} rows to train on, drawn by their hash\n" in done.out
    assert json.loads(SIDECAR.read_text())["rows"] == [100, total]


def test_rows_stay_in_the_sample_when_others_come_in(project, run, monkeypatch) -> None:
    """Half of the rows are drawn: of the old ones hardly any change sides."""
    found, read = [], sample.read

    def noting(*what: Any) -> Any:
        found.append(read(*what))
        return found[-1]

    monkeypatch.setattr(sample, "read", noting)
    for rows in (fruit(400), fruit(400)[10:]):
        project_of(project, rows, rows=150)
        run("prepare", "validate", "train")
    assert len(found[0]) == len(found[1]) == 150
    assert len(found[0].merge(found[1])) > 135


def test_sample_of_groups_that_are_too_large_is_refused(project, run) -> None:
    project_of(project, fruit(), rows=2)
    project(prepare={"split": "group", "column": "seeds"}, train={"rows": 2})
    done = run("prepare", "validate", "train")
    assert done.status == 1
    assert done.err == "error: train.rows is 2, and every group has more; set it higher\n"


def test_training_that_does_not_fit_is_told_beforehand(project, run, monkeypatch) -> None:
    project()
    assert run("prepare", "validate", "train").err == ""
    monkeypatch.setattr(sample, "available", lambda: 50_000)
    done = run("train")
    assert done.status == 0
    assert done.err.startswith("warning: to train on 180 rows of 6 columns takes about 0.0 GB")
    assert "use a sample (train.rows) or a cluster (docs/scale.md)" in done.err


def test_forest_of_many_rows_is_told_to_be_slow_and_the_remedies_work(
    project, run, monkeypatch
) -> None:
    forest = "sklearn.ensemble.ExtraTreesClassifier"
    project(train={"estimator": forest, "arguments": {"n_estimators": 3}})
    assert run("prepare", "validate", "train").err == ""
    monkeypatch.setattr(sample, "MANY", 100)
    said = run("train").err
    assert said.startswith("warning: ExtraTreesClassifier may take an hour on 180 rows.")
    quick = "sklearn.ensemble.HistGradientBoostingClassifier"
    assert said.endswith(f" with\n  `estimator: {quick}`\n")
    assert "`arguments: {}`" in said
    for train in ({"estimator": quick, "arguments": {}}, {"rows": 90}):
        project(train=train)
        done = run("train")
        assert (done.status, done.err) == (0, "")


def test_free_memory_is_what_the_tightest_limit_leaves(tmp_path, monkeypatch) -> None:
    free = sample.available()
    assert free
    assert free > 2**20
    (tmp_path / "most").write_text(f"{2**30}\n")
    (tmp_path / "used").write_text(f"{2**30 - 2**20}\n")
    (tmp_path / "none").write_text("max\n")
    pairs = [(tmp_path / name, tmp_path / "used") for name in ("none", "most", "absent")]
    monkeypatch.setattr(sample, "_groups", lambda: pairs)
    assert sample.available() == 2**20
