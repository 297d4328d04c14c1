from pathlib import Path

import pytest

from src.shared.errors import UserError
from src.shared.files import read_json, replacing, sha256, write_json
from tests.projects import tree


@pytest.fixture
def targets(tmp_path: Path) -> tuple[Path, Path]:
    """A file and a folder that an earlier run wrote."""
    file, folder = tmp_path / "out/model.json", tmp_path / "out/plots"
    folder.mkdir(parents=True)
    file.write_text("old")
    (folder / "old.json").write_text("old")
    return file, folder


def write(drafts: tuple[Path, ...]) -> None:
    file, folder = drafts
    file.write_text("new")
    folder.mkdir()
    (folder / "new.json").write_text("new")


def test_files_and_folders_are_replaced_whole(tmp_path, targets):
    with replacing(*targets) as drafts:
        write(drafts)
        assert tree(tmp_path)["out/model.json"] == b"old"
    assert tree(tmp_path) == {"out/model.json": b"new", "out/plots/new.json": b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(28, "disk full")])
def test_failure_leaves_the_targets_and_no_drafts(tmp_path, targets, error):
    before = tree(tmp_path)

    def fail() -> None:
        with replacing(*targets) as drafts:
            write(drafts)
            raise error

    with pytest.raises((ValueError, KeyboardInterrupt, OSError)):
        fail()
    assert tree(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.json", "plots"]


def test_error_without_a_name_gets_the_targets(targets):
    with pytest.raises(OSError, match="disk full") as caught, replacing(*targets):
        raise OSError(28, "disk full")
    assert caught.value.filename == ", ".join(target.as_posix() for target in targets)


def test_block_that_forgot_a_target_leaves_no_drafts(tmp_path, targets):
    with pytest.raises(FileNotFoundError), replacing(*targets):
        pass
    assert set(tree(tmp_path)) == {"out/model.json", "out/plots/old.json"}


def test_drafts_of_a_killed_run_are_removed(tmp_path, targets):
    with replacing(*targets) as drafts:
        write(drafts)
        left = [(draft, draft.is_dir()) for draft in drafts]
    for draft, is_folder in left:  # a folder where a file was, and the other way round
        draft.write_text("left") if is_folder else draft.mkdir()
    with replacing(*targets) as drafts:
        write(drafts)
    assert tree(tmp_path) == {"out/model.json": b"new", "out/plots/new.json": b"new"}
    assert not any(draft.exists() for draft in drafts)


def test_folder_of_a_run_killed_between_two_renames_comes_back(tmp_path, targets):
    before = tree(tmp_path)
    targets[1].rename(targets[1].with_name(".plots.old.tmp"))

    def fail() -> None:
        with replacing(*targets):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert tree(tmp_path) == before


def test_folders_on_the_way_are_made(tmp_path):
    target = tmp_path / "a/b/c.txt"
    with replacing(target) as (draft,):
        draft.write_text("new")
    assert target.read_text() == "new"


def test_json_reads_back(tmp_path):
    path, content = tmp_path / "x.json", {"größe": [1, 0.1, None, True]}
    write_json(path, content)
    assert read_json(path, "") == content
    assert path.read_bytes().endswith(b"}\n")
    assert b"\r" not in path.read_bytes()
    with pytest.raises(ValueError, match="nan"):
        write_json(path, float("nan"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "not found; do this"),
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        ('{"a": "\xe4"}'.encode("latin-1"), "not valid JSON"),
    ],
)
def test_json_that_cannot_be_read_is_refused(tmp_path, content, expected):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, "do this")
    assert str(caught.value).startswith(f"{path.as_posix()}: {expected}")
    assert str(caught.value).endswith("; do this")


def test_sha256(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
