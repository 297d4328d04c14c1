"""This model and one of Git's history on the rows that both tested."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.shared import files, params
from src.shared.errors import UserError
from src.shared.measure import Predictions
from src.shared.paths import METRICS, MODEL, PREDICTIONS, PROVENANCE
from src.shared.predictions import as_frame
from src.workflow import champion, state
from tests.dvc_runs import call, commit, git
from tests.projects import settings_of, write_settings

ROWS = 400
CACHE = Path(".dvc/cache/files/md5")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A Git repository with what the comparison reads of a project, in which the tests work."""
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("/models/\n/.dvc/\n/report/\n")
    (tmp_path / "dvc.yaml").write_text(
        f"stages:\n  evaluate:\n    cmd: x\n    outs: [{PREDICTIONS.as_posix()}]\n"
    )
    bound = {"min": 0.5, "max_drop": 0.02}
    write_settings(tmp_path, settings_of("binary", gate={"accuracy": bound}))
    monkeypatch.delenv("MIN_ACCURACY", raising=False)
    params.load.cache_clear()
    return tmp_path


def model(wrong: range, *, rows: range = range(ROWS), cached: bool = True, size: int = 0) -> None:
    """Write what a model that is wrong on these rows leaves behind, in slices of this size."""
    settings = params.load()
    positive = settings.data.positive
    actual = np.array([positive if row % 2 else "other" for row in rows], dtype=object)
    other = np.array(["other" if row % 2 else positive for row in rows], dtype=object)
    predicted = np.where([row in wrong for row in rows], other, actual)
    said = Predictions(actual, predicted, ["other", positive], binary=True)
    PREDICTIONS.parent.mkdir(exist_ok=True)
    parts = {"part": [f"part = {row // size}" for row in rows]} if size else {}
    as_frame(said, pd.DataFrame({"x": rows}), slices=parts).to_parquet(PREDICTIONS)
    content = PREDICTIONS.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if cached:
        (CACHE / md5[:2]).mkdir(parents=True, exist_ok=True)
        (CACHE / md5[:2] / md5[2:]).write_bytes(content)
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps({"accuracy": float(np.mean(predicted == actual))}))
    hashes = {path.as_posix(): files.md5(path) for path in (PREDICTIONS, METRICS)}
    outs = "".join(f"    - path: {path}\n      md5: {md5}\n" for path, md5 in hashes.items())
    Path("dvc.lock").write_text(f"stages:\n  evaluate:\n    cmd: x\n    outs:\n{outs}")
    MODEL.write_text("a model")
    hashes[MODEL.as_posix()] = files.md5(MODEL)
    PROVENANCE.write_text(json.dumps(hashes))


def check(monkeypatch, capsys) -> tuple[int, dict[str, Any], str]:
    """Run the metrics check; return its status, the verdict on accuracy, and what it printed."""
    monkeypatch.setattr(sys, "argv", ["champion", "main"])
    status = champion.main()
    told, out = json.loads(state.compared().read_text()), capsys.readouterr().out
    assert all(note in out for note in told["notes"])
    (verdict,) = told["verdicts"]
    return status, verdict, out


@pytest.mark.parametrize(
    ("wrong", "status", "word"),
    [
        (range(20, 35), 0, ""),  # .05 to .0375 wrong: better
        (range(16, 46), 0, "it may be chance"),  # 16 rows are right now, 26 wrong
        (range(0, 36), 1, "0.04 worse than the champion, allowed 0.02 (90 % interval"),
    ],
)
def test_a_drop_is_judged_on_the_same_rows(folder, monkeypatch, capsys, wrong, status, word):
    model(range(20))
    commit(folder)
    model(wrong)
    found, verdict, out = check(monkeypatch, capsys)
    assert found == status
    assert f"compared with the champion on {ROWS} rows that both tested" in out
    assert word in verdict["warning"] + verdict["reason"]
    assert verdict["drop"]["estimate"] == pytest.approx((len(wrong) - 20) / ROWS)
    assert verdict["drop"]["low"] < verdict["drop"]["estimate"] < verdict["drop"]["high"]
    assert verdict["drop"]["rows"] == ROWS


@pytest.mark.parametrize(
    ("wrong", "status", "word"),
    [
        # As many as the champion, but 4 in each slice: that may be chance.
        (range(4, ROWS, 20), 0, "; 4 of 5 slices); it may be chance"),
        # 4 more of all 400, which is less than is allowed, but 24 of the 80 rows of a slice.
        (range(20, 44), 1, "; 1 of 5 slices)"),
    ],
)
def test_slices_are_compared_as_well(folder, monkeypatch, capsys, wrong, status, word):
    """The champion's file knows nothing of slices: they are those of this model's."""
    model(range(80, 100))
    commit(folder)
    model(wrong, size=80)
    found, verdict, out = check(monkeypatch, capsys)
    slices = verdict["drop"]["slices"]
    assert list(slices) == [f"part = {at}" for at in range(5)]
    assert slices["part = 1"]["estimate"] == (-0.2 if status == 0 else -0.25)
    assert {one["rows"] for one in slices.values()} == {80}
    told = verdict["reason"] if status else verdict["warning"]
    assert found == status
    worse = "0.3" if status else "0.05"
    assert told.startswith(f"{worse} worse than the champion where part = 0, allowed 0.02 (99.2 %")
    assert told.endswith("80 shared rows" + word)
    assert told in out


def test_other_rows_do_not_count(folder, monkeypatch, capsys):
    """The champion did well on rows that this model has not seen: the tables say 0.1 worse."""
    model(range(0, 40), rows=range(0, ROWS))
    commit(folder)
    model(range(0, 40), rows=range(0, 200))
    status, verdict, out = check(monkeypatch, capsys)
    assert (status, verdict["drop"]["estimate"], verdict["drop"]["rows"]) == (0, 0, 200)
    assert "on 200 rows that both tested" in out


@pytest.mark.parametrize(
    ("champions", "reason"),
    [
        ({"rows": range(375, 700)}, "25 rows were tested by both, fewer than 30"),
        ({"cached": False}, "nobody has its predictions (asked: the cache)"),
    ],
)
def test_what_cannot_be_compared_is_by_the_tables(folder, monkeypatch, capsys, champions, reason):
    call(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    model(range(380, 390), **champions)
    commit(folder)
    model(range(0, 60))
    status, verdict, out = check(monkeypatch, capsys)
    assert status == 1
    assert f"by the tables of metrics: {reason}" in out
    assert "worse than the champion, allowed 0.02" in verdict["reason"]
    assert verdict["drop"] is None


def test_damaged_predictions_are_not_taken(folder, monkeypatch, capsys):
    model(range(20))
    commit(folder)
    [cached] = (path for path in CACHE.rglob("*") if path.is_file())
    cached.write_bytes(b"PAR1")
    model(range(30))
    assert "is damaged" in check(monkeypatch, capsys)[2]


def test_the_champions_predictions_come_from_a_remote(folder, monkeypatch, capsys):
    call(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    call(folder, sys.executable, "-m", "dvc", "remote", "add", "-d", "store", ".dvc/store")
    model(range(20))
    commit(folder)
    (folder / ".dvc/store").mkdir()
    CACHE.parent.rename(folder / ".dvc/store/files")
    model(range(36))
    status, verdict, out = check(monkeypatch, capsys)
    assert (status, verdict["drop"]["rows"]) == (1, ROWS), out


def test_small_drops_do_not_add_up(folder, monkeypatch, capsys):
    """Each is allowed, and the tables call each a champion; the third is surely too much."""
    for count in (10, 17, 24):
        model(range(count))
        commit(folder)
    model(range(31))
    status, verdict, _ = check(monkeypatch, capsys)
    assert status == 1
    assert verdict["drop"]["estimate"] == 0.0175
    assert verdict["drop_from_best"]["estimate"] == 0.0525
    assert verdict["reason"].startswith("0.0525 worse than the best model so far, allowed 0.02")


def forge(value: float) -> None:
    """Write metrics by hand, and let dvc.lock name them."""
    old = files.md5(METRICS)
    METRICS.write_text(json.dumps({"accuracy": value}))
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text(lock.replace(old, files.md5(METRICS)))


@pytest.mark.parametrize("value", [0.99, 0.6])
def test_forged_metrics_on_a_red_commit_are_no_champion(folder, monkeypatch, capsys, value):
    """Neither to shut others out nor to let them in: main's predictions say otherwise."""
    model(range(20))
    commit(folder)
    good = git(folder, "rev-parse", "HEAD").strip()
    model(range(24))
    forge(value)
    commit(folder)
    model(range(24))
    status, verdict, out = check(monkeypatch, capsys)
    assert status == 0
    assert f"the champion's metrics are those of {good}" in out
    assert "whose predictions give other metrics than it holds" in out or value < 0.9
    assert verdict["drop"]["estimate"] == 0.01


def test_a_model_that_main_did_not_push_is_no_champion(folder, monkeypatch, capsys):
    call(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    model(range(20))
    commit(folder)
    good = git(folder, "rev-parse", "HEAD").strip()
    model(range(21), cached=False)
    commit(folder)
    model(range(20))
    out = check(monkeypatch, capsys)[2]
    assert f"the champion's metrics are those of {good}" in out
    assert "nobody has the predictions of " in out


def test_where_nobody_has_predictions_gits_word_is_taken_and_that_is_said(
    folder, monkeypatch, capsys
):
    call(folder, sys.executable, "-m", "dvc", "init", "--quiet")
    model(range(20), cached=False)
    commit(folder)
    model(range(21))
    assert "is taken on Git's word alone" in check(monkeypatch, capsys)[2]


def test_only_forged_models_leave_it_undecided(folder, monkeypatch, capsys):
    model(range(20))
    forge(0.99)
    commit(folder)
    model(range(20))
    monkeypatch.setattr(sys, "argv", ["champion", "main"])
    with pytest.raises(UserError, match="no champion that main confirmed"):
        champion.main()
