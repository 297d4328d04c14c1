"""The workflow itself, run by act: what it says, what it pushes, and when it is red."""

import json
from pathlib import Path

import pandas as pd
import pytest

from src.shared.paths import METRICS
from tests.dvc_runs import call, commit, git
from tests.workflow.runs import change, repro

UNREACHABLE = {"gate": {"accuracy": {"min": 0.999, "max_drop": 0.05}}}


def lines(report: str) -> list[str]:
    return [line for line in report.splitlines() if line]


def cached(clone: Path) -> set[str]:
    return {path.name for path in (clone / ".dvc/cache/files").rglob("*") if path.is_file()}


def explain(clone: Path, *settings: str) -> None:
    """Give a reason why each setting is less strict."""
    lines = "".join(f"{setting}: somebody has looked at it\n" for setting in settings)
    (clone / ".github/loosened.yaml").write_text(lines)


def with_dvc(clone: Path, *arguments: str, status: int = 0, **variables: str) -> str:
    return call(clone, "dvc", *arguments, status=status, **variables).err


def accuracy_of(clone: Path) -> float:
    return float(json.loads((clone / METRICS).read_text("utf-8"))["accuracy"])


def too_low(clone: Path) -> str:
    return f"`accuracy` is {accuracy_of(clone):.4f} (≥ 0.999): too low"


def test_what_main_leaves_is_there_for_forks(clone, hub):
    pushed = hub.push(clone)
    assert "no champion: this is the first model" in pushed.log
    assert "nothing to restore" in pushed.log
    assert "which holds every output" in pushed.report
    (entry,) = (hub.store / "cache").iterdir()
    kept = {path.relative_to(entry).as_posix() for path in entry.rglob("*") if path.is_file()}
    assert any(name.startswith("data/remote/files/md5/") for name in kept)
    assert not any("runs" in name for name in kept)

    again = hub.push(clone)
    assert f"restored {entry.name}" in again.log
    assert list((hub.store / "cache").iterdir()) == [entry]

    later = hub.pull_request(clone, fork=True)
    assert "run again because" not in later.log
    assert "Running stage 'evaluate'" in later.log


def test_a_bucket(clone, s3_hub, s3, objects, tmp_path):
    hub = s3_hub
    pushed = hub.push(clone)
    assert "data from the remote: s3://bucket/data" in pushed.log
    assert objects() == cached(clone)  # the raw data, and all that DVC keeps of the pipeline
    assert s3.secret not in pushed.log

    reader = tmp_path / "reader"
    git(tmp_path, "clone", "--quiet", str(clone), str(reader))
    endpoint = {"AWS_ENDPOINT_URL_S3": s3.endpoint}
    with_dvc(reader, "remote", "add", "--local", "--default", "bucket", "s3://bucket/data")
    nobody = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
    assert "credentials" in with_dvc(reader, "pull", status=1, **endpoint, **nobody)
    assert not (reader / "models/model.joblib").exists()
    with_dvc(reader, "pull", **endpoint, **s3.credentials)
    assert (reader / "models/model.joblib").read_bytes() == (
        clone / "models/model.joblib"
    ).read_bytes()

    before = objects()
    fork = hub.pull_request(clone, fork=True)
    assert "data from the embedded remote: this run knows no other" in fork.log
    assert "run again because" not in fork.log
    assert not any(value in fork.log for value in s3.credentials.values())

    # A bound of one's own, with the keys: the loosening is said first, and needs a reason.
    git(clone, "switch", "--quiet", "--create", "looser")
    change(clone, gate={"accuracy": {"min": 0.5, "max_drop": 0.1}})
    repro(clone)
    commit(clone)
    red = hub.pull_request(clone, status=1)
    assert red.failed == ["Metrics check"]
    assert "less strict without a reason: gate.accuracy.min: 0.6 → 0.5" in red.report
    explain(clone, "gate.accuracy.min", "gate.accuracy.max_drop")
    commit(clone)
    looser = hub.pull_request(clone)
    assert [line for line in lines(looser.report) if "somebody has looked" in line] == [
        "| `gate.accuracy.min` | 0.6 → 0.5 | somebody has looked at it |",
        "| `gate.accuracy.max_drop` | 0.05 → 0.1 | somebody has looked at it |",
    ]
    assert "stages that run again" not in looser.log
    assert objects() == before  # a pull request pushes nothing


def test_a_fork_where_nobody_has_the_data(clone, s3_hub):
    git(clone, "rm", "--quiet", "-r", "data/remote")
    git(clone, "commit", "--quiet", "--message", "The data is in the bucket")
    run = s3_hub.pull_request(clone, fork=True, status=1)
    assert run.failed == ["dvc pull"]
    assert "data/raw.csv: neither in the cache nor on a remote" in run.report
    assert "so nothing was trained" in run.report
    assert "**The model was not trained** in this run." in run.report


@pytest.mark.parametrize("event", ["pull_request", "push"])
def test_a_model_under_the_bound(clone, s3_hub, objects, event):
    change(clone, **UNREACHABLE)
    repro(clone, status=255)
    commit(clone)
    run = getattr(s3_hub, event)(clone, status=1)
    assert run.failed == ["dvc repro" if event == "pull_request" else "dvc repro, from scratch"]
    assert lines(run.report)[0].startswith("# ❌ Rejected")
    assert too_low(clone) in run.report
    assert not objects()


def test_a_drop_against_the_champion(clone, s3_hub, objects):
    worse = {"estimator": "sklearn.dummy.DummyClassifier", "arguments": {}}
    change(clone, train=worse, gate={"accuracy": {"min": 0.2, "max_drop": 0.05}})
    explain(clone, "gate.accuracy.min")
    repro(clone)
    commit(clone)
    run = s3_hub.push(clone, status=1)
    assert run.failed == ["Metrics check"]
    assert "worse than the champion, allowed 0.05" in run.report
    assert not objects()


def test_invalid_data(clone, s3_hub, s3, objects):
    table = pd.read_csv(clone / "data/raw.csv")
    table.loc[:100, "seeds"] -= 1000
    table.to_csv(clone / "data/raw.csv", index=False)
    with_dvc(clone, "add", "data/raw.csv")
    with_dvc(clone, "remote", "add", "--local", "bucket", s3_hub.variables["DVC_REMOTE_URL"])
    keys = s3.credentials | {"AWS_ENDPOINT_URL_S3": s3.endpoint}
    with_dvc(clone, "push", "--remote", "bucket", "data/raw.csv", **keys)
    commit(clone)
    before = objects()
    run = s3_hub.pull_request(clone, status=1)
    assert run.failed == ["Data validation"]
    assert "failed (all in" in lines(run.report)[1]
    assert "| train | " in run.report  # each violation
    assert objects() == before


def test_a_poisoned_lock(clone, hub):
    git(clone, "switch", "--quiet", "--create", "poisoned")
    change(clone, **UNREACHABLE)
    repro(clone, status=255)
    with_dvc(clone, "commit", "--force")
    repro(clone)  # DVC takes it for unchanged
    commit(clone)
    run = hub.pull_request(clone, status=1)
    assert run.failed == ["dvc repro"]
    assert too_low(clone) in run.report


def test_edited_metrics(clone, hub):
    git(clone, "switch", "--quiet", "--create", "edited")
    path, true = clone / METRICS, accuracy_of(clone)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": 0.9999}, indent=2))
    with_dvc(clone, "commit", "--force")
    repro(clone)
    commit(clone)
    run = hub.pull_request(clone, status=1)
    assert run.failed == ["dvc.lock is up to date"]
    assert f"accuracy is 0.9999 in Git, {true} computed" in run.report


def test_a_stale_lock_gives_its_patch(clone, hub):
    git(clone, "switch", "--quiet", "--create", "stale")
    change(clone, train={"arguments": {"C": 0.25}})
    commit(clone)
    run = hub.pull_request(clone, status=1)
    assert run.failed == ["dvc.lock is up to date"]
    assert "⚠️ `train` is stale in dvc.lock: train changed" in run.report
    assert "| `train.arguments.C` | 0.5000 | 0.2500 |" in run.report
    git(clone, "reset", "--quiet", "--hard")
    git(clone, "apply", str(hub.store / "report/update.patch"))
    changed = git(clone, "diff", "--name-only").split()
    assert "dvc.lock" in changed
    assert all(name == "dvc.lock" or name.startswith("metrics/") for name in changed)
    commit(clone)
    merged = hub.merge_request(clone, "stale")
    assert lines(merged.report)[0] == "# ✅ Passed"
    champion = git(clone, "rev-parse", "main").strip()
    assert f"the champion's metrics are those of {champion}" in merged.log
