"""Which unit tests a change can break; in doubt all of them."""

from pathlib import Path

import pytest

from src.workflow import unit
from tests.dvc_runs import commit, git

ROOMS = {"delivery", "pipeline", "service", "workflow"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([], set()),
        (["params.yaml", "dvc.lock", "metrics/evaluate/metrics.json"], set()),
        (["README.md", "docs/data.md", ".github/workflows/ci.yml", "data/raw.csv.dvc"], set()),
        (["src/service/app.py"], {"service", "workflow"}),
        (["tests/service/test_service.py", "README.md"], {"service", "workflow"}),
        (["src/workflow/comment.py"], {"workflow"}),
        (["tests/pipeline/test_mine.py"], {"pipeline", "workflow"}),
        (["src/service/app.py", "src/delivery/image.py"], {"delivery", "service", "workflow"}),
        *(
            ([path, "README.md"], ROOMS)
            for path in (
                "src/features.py",
                "src/shared/tables.py",
                "src/mine/model.py",
                "tests/conftest.py",
                "tests/test_mine.py",
                "requirements/dev.txt",
                "pyproject.toml",
                "dvc.yaml",
                "Makefile",
                "what/nobody/knows.txt",
            )
        ),
    ],
)
def test_what_a_change_can_break(changed, expected):
    assert unit.choose(changed, ROOMS) == expected


def test_a_part_that_was_left_out_is_not_asked_for():
    assert unit.choose(["src/workflow/comment.py"], {"pipeline"}) == {"pipeline"}


@pytest.fixture
def ran(tmp_path: Path, monkeypatch, capfd):
    """A project of two rooms, one test in each; give what `main` says after a change to files."""
    monkeypatch.chdir(tmp_path)
    for name in ("src/service/app.py", "src/train.py", "README.md"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for room in ("pipeline", "service", "template"):
        test = Path("tests", room, f"test_{room}.py")
        test.parent.mkdir(parents=True)
        test.write_text(f"def test_it():\n    assert {room != 'template'}\n")
    Path("tests/pipeline/test_rooms.py").write_text("def test_rooms():\n    pass\n")
    Path("tests/test_top.py").write_text("def test_it():\n    pass\n")
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path)
    for name, value in {"PYTEST_XDIST_AUTO_NUM_WORKERS": "0", "PYTEST_ADDOPTS": "-v"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: slow\n")

    def run(revision: str, *changed: str) -> str:
        for name in changed:
            with Path(name).open("a") as file:
                file.write("# changed\n")
        commit(tmp_path)
        monkeypatch.setattr("sys.argv", ["unit", *([revision] if revision else [])])
        assert unit.main() == 0
        return str(capfd.readouterr().out)

    return run


def test_only_what_a_change_can_break_is_run_and_on_main_all(ran):
    assert "none, as nothing that they test differs from main" in ran("main~0", "README.md")
    said = ran("HEAD^", "src/service/app.py")
    assert "of service, as this change" in said
    assert "test_service" in said
    assert "test_rooms" in said  # which looks at every room
    assert "test_pipeline" not in said
    for revision, changed in (("HEAD^", "src/train.py"), ("", "README.md"), ("0" * 40, "more.md")):
        said = ran(revision, changed)
        assert "unit tests: all" in said
        assert "4 passed" in said
