"""Where a template can come from, and how its answers: each way gives the same project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.conftest import ROOT, TEMPLATE, tracked

BIN = Path(sys.executable).parent


def run(*command: str | Path, status: int = 0, variables: dict[str, str] | None = None) -> str:
    """Run a program in the current folder; give what it printed."""
    environment = os.environ | (variables or {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def cookiecutter(*arguments: str | Path, status: int = 0) -> str:
    return run(BIN / "cookiecutter", *arguments, status=status)


def cruft(*arguments: str | Path, status: int = 0) -> str:
    return run(BIN / "cruft", *arguments, status=status)


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in tracked(project)}


@pytest.fixture(scope="session")
def expected(
    template: Path, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The default project, generated from a local path."""
    folder = tmp_path_factory.mktemp("expected")
    run(BIN / "cookiecutter", "--no-input", template, "-o", folder, variables=settings)
    return contents(folder / "ml-pipeline")


@pytest.fixture
def without_links(template: Path, here: Path) -> Path:
    """A clone as Windows makes it: text files where there were symbolic links."""
    run("git", "clone", "-q", "-c", "core.symlinks=false", template, "windows")
    assert (here / "windows" / TEMPLATE / "src").read_text() == "../src"
    return here / "windows"


def test_git_url(template: Path, here: Path, expected: dict[str, bytes]) -> None:
    run("git", "clone", "-q", "--bare", template, "ml-template.git")
    url = f"file://{here}/ml-template.git"
    cookiecutter("--no-input", url)
    made = contents(here / "ml-pipeline")
    different = {name for name in made if made[name] != expected.get(name)}
    assert different == {"README.md"}  # which tells the address
    assert f"Made from the template {url}." in made["README.md"].decode()


def test_zip(template: Path, here: Path, expected: dict[str, bytes]) -> None:
    run("git", "-C", template, "archive", "--prefix=ml-template/", "-o", here / "t.zip", "HEAD")
    cookiecutter("--no-input", here / "t.zip")
    assert contents(here / "ml-pipeline") == expected


def test_checkout_without_links(
    without_links: Path, here: Path, expected: dict[str, bytes]
) -> None:
    cookiecutter("--no-input", without_links)
    assert contents(here / "ml-pipeline") == expected
    assert run("git", "-C", without_links, "status", "--porcelain") == ""


def test_answers_on_the_command_line_and_replayed(template: Path, here: Path) -> None:
    cookiecutter(
        "--no-input", template, "project_name=Fruit & {{ Co }}", "bound=0.93", "license=MIT"
    )
    first = contents(here / "fruit-co")
    shutil.rmtree(here / "fruit-co")
    cookiecutter("--replay", template)
    assert contents(here / "fruit-co") == first
    assert b"accuracy: {min: 0.93," in first["params.yaml"]


def test_answers_typed(template: Path, here: Path) -> None:
    """Twenty-one questions, of which Enter accepts the default."""
    answers = ["Typed {{ a }}"] + [""] * 15 + ["0.91"] + [""] * 5
    done = subprocess.run(
        [BIN / "cookiecutter", template], input="\n".join(answers), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[21/21] URL of a store other than Amazon's (S3 only)" in done.stdout
    assert b"accuracy: {min: 0.91," in contents(here / "typed-a")["params.yaml"]


def test_data_is_found_from_the_shells_folder(template: Path, here: Path, table: Path) -> None:
    (here / "out").mkdir()
    answers = ("data=table.csv", "task=regression", "target=price", "bound=1")
    cookiecutter("--no-input", "-o", here / "out", template, *answers)
    assert (here / "out/ml-pipeline/data/raw.csv").read_bytes() == table.read_bytes()


def test_a_folder_that_exists_loses_nothing(template: Path, here: Path, table: Path) -> None:
    (here / "fruit").mkdir()
    mine = table.rename(here / "fruit/raw.csv")
    before = mine.read_bytes()
    answers = ("project_slug=fruit", f"data={mine}", "task=regression", "target=price")
    for bound, status in (("-1", 1), ("1", 0)):
        options = ("--no-input", "--overwrite-if-exists", template, *answers, f"bound={bound}")
        cookiecutter(*options, status=status)
        assert mine.read_bytes() == before
    assert (here / "fruit/data/raw.csv").read_bytes() == before


@pytest.mark.parametrize("links", [True, False])
def test_refused_hooks_stop(links: bool, template: Path, here: Path) -> None:
    source = template if links else here / "windows"
    if not links:
        run("git", "clone", "-q", "-c", "core.symlinks=false", template, source)
    said = cookiecutter("--no-input", "--accept-hooks=no", source, status=1)
    assert "run it with its hooks (--accept-hooks=yes)" in said
    assert not (here / "ml-pipeline").exists()


def test_folder_is_no_template(template: Path, here: Path) -> None:
    """Cookiecutter renders its name twice, and the hooks that refuse it may be refused."""
    slug = 'project_slug={{ cycler.__init__.__globals__.os.mkdir("broken") }}'
    for accept in ("yes", "no"):
        cookiecutter("--no-input", f"--accept-hooks={accept}", template, slug, status=1)
        assert not list(here.rglob("broken"))
        assert not list(template.rglob("broken"))


def test_cruft_needs_links(without_links: Path, here: Path) -> None:
    config = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.symlinks"}
    config["GIT_CONFIG_VALUE_0"] = "false"
    said = run(BIN / "cruft", "create", "--no-input", without_links, status=1, variables=config)
    assert "holds the path of a link" in said
    assert not (here / "ml-pipeline").exists()


@pytest.mark.parametrize("own", [False, True])
def test_cruft(
    own: bool, template: Path, here: Path, table: Path, expected: dict[str, bytes]
) -> None:
    """Create, commit, change the root, update: the change arrives, the project's own stays."""
    source = Path(shutil.copytree(template, here / "source", symlinks=True))
    answers = {"data": "table.csv", "task": "regression", "target": "price", "bound": "1"}
    answers["description"] = "{{ 7 if 1 }} is not run"
    extra = ["--extra-context", json.dumps(answers)] if own else []
    cruft("create", "--no-input", source, *extra)
    project = here / "ml-pipeline"
    assert (project / ".git").exists()  # so that `make repro` runs
    if not own:
        different = [name for name in expected if (project / name).read_bytes() != expected[name]]
        assert different == ["README.md"]  # where cruft need not be linked any more
    raw = project / "data/raw.csv"
    assert not own or raw.read_bytes() == table.read_bytes()
    table.unlink()  # which nobody has who updates a clone

    def commit(folder: Path) -> None:
        for command in ("init -q -b main", "add -A", "commit -q -m State"):
            run("git", "-C", folder, *command.split())

    with (project / "params.yaml").open("a") as settings:
        settings.write("# mine\n")
    commit(project)
    (source / "src/train.py").write_text("# newer\n" + (ROOT / "src/train.py").read_text())
    (source / "src/novel.py").write_text('"""New."""\n')
    commit(source)
    said = cruft("update", "--skip-apply-ask", "--project-dir", "ml-pipeline")
    assert "Ready" not in said
    os.chdir(project)
    changed = run("git", "status", "--porcelain").split("\n")
    assert {line[3:] for line in changed if line} == {".cruft.json", "src/novel.py", "src/train.py"}
    assert (project / "src/train.py").read_text().startswith("# newer\n")
    assert (project / "params.yaml").read_text().endswith("# mine\n")
    assert not own or raw.exists()
    assert not own or "\n{{ 7 if 1 }} is not run\n" in (project / "README.md").read_text()
    cruft("check")
