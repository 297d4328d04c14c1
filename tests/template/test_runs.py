"""Generated projects at work: `make repro`, `make test`, and a remote that is a real S3 server.

They use the environment that runs these tests, as installing it thrice would take minutes. The one
that differs most from this repository, in data, task and remote, runs all of its tests. They are
the same files in each and bring their own data; those of the demo are this repository's own.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.s3 import S3, serve_s3
from tests.template.conftest import Generate, lend_environment, make


@pytest.fixture
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server with one empty bucket."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    with serve_s3(folder) as server:
        yield server


def run(project: Path, *command: str, **variables: str) -> str:
    """Run a program of the project's environment; give what it printed."""
    environment = os.environ | variables
    environment["PATH"] = f"{project / '.venv/bin'}{os.pathsep}{environment['PATH']}"
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def dvc(project: Path, *arguments: str, **variables: str) -> str:
    return run(project, "python", "-m", "dvc", *arguments, **variables)


def commit(project: Path) -> None:
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "-q", "-m", "Run")


def test_demo_on_the_embedded_remote(generate: Generate) -> None:
    """As at the root: it trains, and ends with a clean tree."""
    project = generate()
    lend_environment(project)
    assert "Running stage 'train'" in make(project, "repro")
    assert run(project, "git", "status", "--porcelain") == ""


def test_demo_on_another_remote_needs_no_credentials(generate: Generate) -> None:
    project = generate(remote="s3", remote_url="s3://bucket/path", s3_endpoint="http://127.0.0.1:9")
    lend_environment(project)
    make(project, "data/raw.csv")
    assert (project / "data/raw.csv").stat().st_size == 124869


def test_classes_on_s3(generate: Generate, table: Path, s3: S3, tmp_path: Path) -> None:
    """Text columns, missing values; what one machine pushes another pulls, and reruns nothing."""
    project = generate(
        project_name='Fruit "grades"',
        data="table.csv",
        task="multiclass",
        target="grade",
        metric="balanced_accuracy",
        bound="0.6",
        remote="s3",
        remote_url="s3://bucket/fruit",
        s3_endpoint=s3.endpoint,
    )
    lend_environment(project)
    said = make(project, "repro")
    assert "DVC now tracks data/raw.csv" in said
    assert "data/schema.yaml: 6 columns" in said
    assert "gate: passed" in said
    again = make(project, "repro")
    assert "DVC now tracks" not in again
    assert "data/schema.yaml" not in again
    assert "Data and pipelines are up to date" in again
    commit(project)
    assert "files pushed" in dvc(project, "push", **s3.credentials)
    assert list((s3.folder / "bucket/fruit/files/md5").iterdir())

    run(tmp_path, "git", "clone", "-q", str(project), "clone")
    clone = tmp_path / "clone"
    lend_environment(clone)
    dvc(clone, "pull", **s3.credentials)
    assert (clone / "data/raw.csv").read_bytes() == table.read_bytes()
    assert "Data and pipelines are up to date" in dvc(clone, "repro")
    assert run(clone, "git", "status", "--porcelain") == ""
    assert "gate: passed" not in make(clone, "repro")

    assert " passed" in make(project, "test")


def test_numbers_from_parquet(generate: Generate, table: Path, tmp_path: Path) -> None:
    pd.read_csv(table).to_parquet(tmp_path / "prices.parquet")
    project = generate(data="prices.parquet", task="regression", target="price", bound="1.5")
    lend_environment(project)
    said = make(project, "repro")
    assert "DVC now tracks data/raw.parquet" in said
    assert "rmse" in said
    assert "gate: passed" in said
    assert "Data and pipelines are up to date" in make(project, "repro")

    # The same table as a folder of files: only prepare runs, and makes the same splits.
    for name in ("raw.parquet", "raw.parquet.dvc"):
        (project / "data" / name).unlink()
    rows, folder = pd.read_csv(table), project / "data/raw"
    folder.mkdir()
    rows[:20].to_parquet(folder / "1.parquet")
    rows[20:].to_parquet(folder / "2.parquet")
    settings = project / "params.yaml"
    text = settings.read_text("utf-8").replace("raw: data/raw.parquet", "raw: data/raw")
    settings.write_text(text, "utf-8")
    said = make(project, "repro")
    assert "DVC now tracks data/raw: commit data/raw.dvc" in said
    assert re.findall(r"Running stage '(\w+)'", said) == ["prepare"]
    shutil.rmtree(folder)
    assert "Data and pipelines are up to date" in make(project, "repro")
    assert len(list(folder.iterdir())) == 2


def test_own_data_on_the_embedded_remote(generate: Generate, table: Path, tmp_path: Path) -> None:
    """The README's commands bring the data into Git, so that a clone runs at once."""
    answers = {"target": "ripe", "positive": "1", "metric": "roc_auc", "bound": "0.7"}
    project = generate(data=table.name, **answers)
    lend_environment(project)
    make(project, "repro")
    dvc(project, "push", "data/raw.csv")
    run(project, "git", "add", "--force", "data/remote")
    commit(project)
    run(tmp_path, "git", "clone", "-q", str(project), "clone")
    lend_environment(tmp_path / "clone")
    make(tmp_path / "clone", "repro")


@pytest.mark.parametrize("page", ["README.md", "docs/data.md"])
def test_new_data_does_not_write_through_a_link_into_the_cache(
    generate: Generate, table: Path, tmp_path: Path, page: str
) -> None:
    """The page's commands, where DVC makes links (as many do who share a cache)."""
    project = generate()
    lend_environment(project)
    dvc(project, "config", "--local", "cache.type", "symlink")
    make(project, "data/raw.csv")
    raw = project / "data/raw.csv"
    cached, before = raw.resolve(strict=True), raw.read_bytes()
    assert cached != raw
    text = (project / page).read_text(encoding="utf-8")
    block = re.findall(r"```console\n\s*(rm -f .*?)```", text, re.S)[0]
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    (new,) = re.findall(r"~/(\S+)", block)
    shutil.copy(table, tmp_path / new)
    for line in lines[: next(at for at, line in enumerate(lines) if "dvc add" in line) + 1]:
        line = re.sub(r"^(.venv/bin/)?dvc", "python -m dvc", line)
        run(project, "sh", "-c", line, HOME=str(tmp_path))
    assert raw.read_bytes() == table.read_bytes()
    assert cached.read_bytes() == before


def test_without_git_make_says_so(generate: Generate, table: Path) -> None:
    project = generate(data=table.name, task="regression", target="price", bound="2")
    lend_environment(project)
    shutil.rmtree(project / ".git")
    with pytest.raises(AssertionError, match="is not a git repository"):
        make(project, "repro")
