"""The workflow itself, run by act: what it says, what it pushes, and when it is red."""

import json
import sys
from pathlib import Path

import pytest

from tests.dvc_runs import call, commit, git
from tests.projects import ROOT
from tests.template.conftest import lend_environment, make
from tests.workflow.runs import edit, make_quick, repro

BOUND = "accuracy: {min: 0.90, max_drop: 0.02}"
ORDER = [
    "Where the data comes from",
    "Lint, format and types",
    "Unit tests",
    "dvc pull",
    "Data validation",
    "Smoke model",
    "dvc repro",
    "Metrics check",
    "dvc.lock is up to date",
    "Report",
]


def lines(report: str) -> list[str]:
    return [line for line in report.splitlines() if line]


def cached(clone: Path) -> set[str]:
    return {path.name for path in (clone / ".dvc/cache/files").rglob("*") if path.is_file()}


def with_dvc(clone: Path, *arguments: str, status: int = 0, **variables: str) -> str:
    return call(clone, "dvc", *arguments, status=status, **variables).err


def test_a_fork_without_secrets(clone, hub):
    first = hub.pull_request(clone, fork=True)
    assert [name for name in first.steps if name in ORDER] == ORDER
    assert "data from the embedded" in first.log
    assert hub.state["remade"] == ["prepare", "train"]  # really trained: nobody has the model
    assert lines(first.report)[0] == "# ✅ Passed"
    assert not (hub.store / "cache").exists()  # saved on main only

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
    assert "Confirming 'evaluate' without DVC" in later.log


def test_a_generated_project(tmp_path, hub):
    call(
        tmp_path,
        *(sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input"),
        *("--output-dir", str(tmp_path)),
        HOME=str(tmp_path / "home"),
    )
    project = make_quick(tmp_path / "ml-pipeline")
    lend_environment(project)
    assert "the report: report/report.html" in make(project, "ci")
    assert lines((project / "report/report.md").read_text("utf-8"))[0] == "# ✅ Passed"
    assert git(project, "status", "--porcelain") == ""
    assert "which holds every output" in hub.push(project).report


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

    # A bound of one's own, with the keys: nothing is fetched, and the loosening is said first.
    git(clone, "switch", "--quiet", "--create", "looser")
    edit(clone / "params.yaml", BOUND, "accuracy: {min: 0.80, max_drop: 0.05}")
    repro(clone)
    commit(clone)
    looser = hub.pull_request(clone)
    assert lines(looser.report)[1:3] == [
        "⚠️ A bound is loosened: `gate.accuracy.min` from 0.9 to 0.8",
        "⚠️ A bound is loosened: `gate.accuracy.max_drop` from 0.02 to 0.05",
    ]
    assert "no data is here" in looser.log
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
    edit(clone / "params.yaml", BOUND, "accuracy: {min: 0.999}")
    repro(clone, status=255)
    commit(clone)
    run = getattr(s3_hub, event)(clone, status=1)
    assert run.failed == ["dvc repro" if event == "pull_request" else "dvc repro, from scratch"]
    assert lines(run.report)[0].startswith("# ❌ Rejected")
    assert "`accuracy` is 0.9823: too low" in run.report
    assert not objects()


def test_a_drop_against_the_champion(clone, s3_hub, objects):
    edit(clone / "params.yaml", "max_iter: 1000", "max_iter: 1000, C: 0.0005")
    edit(clone / "params.yaml", "accuracy: {min: 0.90,", "accuracy: {min: 0.80,")
    edit(clone / "params.yaml", "  roc_auc: {min: 0.95, max_drop: 0.02}\n", "")
    repro(clone)
    commit(clone)
    run = s3_hub.push(clone, status=1)
    assert run.failed == ["Metrics check"]
    assert "worse than the champion, allowed 0.02" in run.report
    assert not objects()


def test_invalid_data(clone, s3_hub, s3, objects):
    table = (clone / "data/raw.csv").read_text("utf-8").splitlines()
    table[1:101] = [f"-{line}" for line in table[1:101]]
    (clone / "data/raw.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    with_dvc(clone, "add", "data/raw.csv")
    with_dvc(clone, "remote", "add", "--local", "bucket", s3_hub.variables["DVC_REMOTE_URL"])
    keys = s3.credentials | {"AWS_ENDPOINT_URL_S3": s3.endpoint}
    with_dvc(clone, "push", "--remote", "bucket", "data/raw.csv", **keys)
    commit(clone)
    before = objects()
    run = s3_hub.pull_request(clone, status=1)
    assert run.failed == ["Data validation"]
    assert "checks failed" in lines(run.report)[1]
    assert "| train | " in run.report  # each violation
    assert objects() == before


def test_a_poisoned_lock(clone, hub):
    git(clone, "switch", "--quiet", "--create", "poisoned")
    edit(clone / "params.yaml", BOUND, "accuracy: {min: 0.999, max_drop: 0.02}")
    repro(clone, status=255)
    with_dvc(clone, "commit", "--force")
    repro(clone)  # DVC takes it for unchanged
    commit(clone)
    run = hub.pull_request(clone, status=1)
    assert run.failed == ["Metrics check"]
    assert "`accuracy` is 0.9823: too low" in run.report


def test_edited_metrics(clone, hub):
    git(clone, "switch", "--quiet", "--create", "edited")
    path = clone / "metrics/evaluate/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": 0.9999}, indent=2))
    with_dvc(clone, "commit", "--force")
    repro(clone)
    commit(clone)
    run = hub.pull_request(clone, status=1)
    assert run.failed == ["dvc.lock is up to date"]
    assert "accuracy is 0.9999 in Git, 0.982301 computed" in run.report


def test_a_stale_lock_gives_its_patch(clone, hub, tmp_path):
    git(clone, "switch", "--quiet", "--create", "stale")
    edit(clone / "params.yaml", "max_iter: 1000", "max_iter: 1000, C: 0.5")
    commit(clone)
    run = hub.pull_request(clone, status=1)
    assert run.failed == ["dvc.lock is up to date"]
    assert "⚠️ `train` is stale in dvc.lock: train changed" in run.report
    assert "| `train.arguments.C` | - | 0.5000 |" in run.report
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
