"""Nothing is unpickled or trained on that is not what Git, by DVC's records, names."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from src.shared.errors import UserError
from src.shared.files import md5, recorded, require_recorded
from src.shared.paths import DVC_LOCK, MODEL, SIDECAR, TEST, TRAIN
from tests.dvc_runs import call, dvc, repro

# A model that says so when somebody unpickles it.
BOMB = b"cos\nsystem\n(S'touch unpickled'\ntR."


@pytest.fixture
def swapped(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with another model, and a sidecar that fits it; it is the current folder."""
    monkeypatch.chdir(pipeline)
    content = json.loads(SIDECAR.read_text())
    content["model"]["sha256"] = hashlib.sha256(BOMB).hexdigest()
    for path, data in ((MODEL, BOMB), (SIDECAR, json.dumps(content).encode())):
        path.unlink()  # the cache may share its bytes
        path.write_bytes(data)
    return pipeline


def test_swapped_model_is_not_unpickled(swapped: Path) -> None:
    names = f"{SIDECAR.as_posix()}: not the file that dvc.lock names; run `dvc repro -f train`"
    done = call(swapped, sys.executable, "-m", "src.evaluate", status=1)
    assert done.err == f"error: {names}\n"
    assert not Path("unpickled").exists()
    # What it says to do helps.
    dvc(swapped, "repro", "-f", "train")
    call(swapped, sys.executable, "-m", "src.evaluate")


@pytest.mark.parametrize(("split", "stage"), [(TRAIN, "train"), (TEST, "evaluate")])
def test_swapped_split_is_not_used(pipeline: Path, split: Path, stage: str) -> None:
    other = {TRAIN: TEST, TEST: TRAIN}[split]
    (pipeline / split).unlink()
    shutil.copy(pipeline / other, pipeline / split)
    done = call(pipeline, sys.executable, "-m", f"src.{stage}", status=1)
    assert done.err.startswith(f"error: {split.as_posix()}: not the file that dvc.lock names; ")


def test_cut_cache_object_is_not_trained_on(pipeline: Path) -> None:
    """DVC takes an object of its cache for whole if nobody may write to it."""
    raw = pipeline / "data/raw.csv"
    dvc(pipeline, "add", "--quiet", "data/raw.csv")
    digest, whole = md5(raw), raw.read_bytes()
    cached = pipeline / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"
    cached.chmod(0o644)
    cached.write_bytes(whole[: len(whole) // 2])
    cached.chmod(0o444)
    raw.unlink()
    dvc(pipeline, "checkout", "--quiet", "data/raw.csv.dvc")
    done = dvc(pipeline, "repro", "-f", "prepare", status=255)
    name = cached.relative_to(pipeline).as_posix()
    message = f"data/raw.csv: not the file that data/raw.csv.dvc names; remove {name}, then "
    assert message in done.err + done.out


def test_folder_is_compared_as_dvc_does(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    folder, record = Path("data/raw"), Path("data/raw.dvc")
    (folder / "ü b").mkdir(parents=True)
    for name in ("b.csv", "ü b/a.csv", "ü c.csv", ".hidden"):
        (folder / name).write_text(name)
    dvc(pipeline, "add", "--quiet", "data/raw")
    assert recorded(record) == {"data/raw": md5(folder)}
    require_recorded(folder, record, "")
    digest = md5(folder / "b.csv")
    for path in (folder / "b.csv", Path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}")):
        path.chmod(0o644)
        path.write_text("cut")
    with pytest.raises(UserError, match=r"data/raw: not the folder that .*; remove \.dvc/cache/.*"):
        require_recorded(folder, record, "pull")
    path.unlink()
    with pytest.raises(UserError, match=r"data/raw: not the folder that data/raw.dvc names; pull"):
        require_recorded(folder, record, "pull")


def test_data_that_somebody_edited_are_taken(pipeline: Path) -> None:
    """DVC records them first."""
    dvc(pipeline, "add", "--quiet", "data/raw.csv")
    raw = pipeline / "data/raw.csv"
    lines = raw.read_text().splitlines(keepends=True)
    raw.unlink()
    raw.write_text("".join(lines[:-1]))
    assert repro(pipeline, "prepare") == ["prepare"]
    assert recorded(pipeline / "data/raw.csv.dvc") == {raw.as_posix(): md5(raw)}


def test_records_are_what_dvc_reads_in_them(pipeline: Path) -> None:
    lock = pipeline / DVC_LOCK
    stages = YAML(typ="safe").load(lock)["stages"].values()
    outs = [out for stage in stages for out in stage["outs"]]
    expected = {(pipeline / out["path"]).as_posix(): out["md5"] for out in outs}
    assert recorded(lock) == expected
    assert len(expected) > 8


def test_file_that_is_not_recorded_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("model")
    path.write_bytes(b"")
    require_recorded(path, DVC_LOCK, "")  # nothing to compare with
    DVC_LOCK.write_text("schema: '2.0'\nstages: {}\n")
    with pytest.raises(UserError, match=r"model: not the file that dvc\.lock names; run it"):
        require_recorded(path, DVC_LOCK, "run it")
