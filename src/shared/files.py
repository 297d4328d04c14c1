"""Files that are written whole or not at all."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.shared.errors import UserError


@contextmanager
def replacing(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Return a temporary path for each target; rename all of them when the block succeeds.

    A block that fails, or a process that is killed in it, leaves the targets as they were.

    Args:
        targets: files or folders to write.

    Yields:
        Paths beside the targets, to write to. None of them exists yet.
    """
    drafts = tuple(target.with_name(f".{target.name}.tmp") for target in targets)
    for draft in drafts:
        draft.parent.mkdir(parents=True, exist_ok=True)
        remove(draft)  # left by a run that was killed
    for target in targets:
        old = _old(target)
        if old.exists() and not target.exists():  # killed between two renames
            old.rename(target)
        remove(old)
    try:
        yield drafts
        for draft, target in zip(drafts, targets, strict=True):
            if target.is_dir():  # a folder cannot be renamed over another
                target.rename(_old(target))
                draft.rename(target)
                remove(_old(target))
            else:
                draft.replace(target)
    except OSError as error:
        if not error.filename:  # a full disk does not say which file it was
            error.filename = ", ".join(target.as_posix() for target in targets)
        raise
    finally:
        for draft in drafts:
            remove(draft)


@contextmanager
def temporary(path: Path) -> Iterator[None]:
    """Remove a file at the end of the block, however it ends.

    Args:
        path: the file. What a run that was killed has left there is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)
    try:
        yield
    except OSError as error:
        if not error.filename:
            error.filename = path.as_posix()
        raise
    finally:
        remove(path)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old.tmp")


def remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link (not its target), if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON that ends with a line feed on every platform."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        remedy: what the user can do when it is missing or corrupt.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.as_posix()}: not found; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path.as_posix()}: not valid JSON ({error}); {remedy}") from None


def sha256(path: Path) -> str:
    """Hash a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: Path) -> str:
    """Hash a file's content, or all files of a folder, as DVC does: as 32 hexadecimal digits.

    That of a folder ends with ".dir".
    """
    if path.is_dir():
        return f"{hashlib.md5(_listing(path), usedforsecurity=False).hexdigest()}.dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _listing(folder: Path) -> bytes:
    """List a folder's files with their hashes, to the byte as DVC keeps it in its cache."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return json.dumps([{"md5": md5(folder / name), "relpath": name} for name in names]).encode()


def cached(md5: str) -> Path:
    """Return where DVC's cache has the file of a hash, if it does."""
    return Path(".dvc/cache/files/md5", md5[:2], md5[2:])


def recorded(record: Path) -> dict[str, str]:
    """Return what DVC has recorded in Git: for each file its MD5 hash.

    Read as text, as not every program that reads it has a YAML parser; DVC writes it in one form.

    Args:
        record: dvc.lock, of which only what stages make is read, or a .dvc file.
    """
    text = record.read_text(encoding="utf-8")
    outs = re.findall(r"^ *outs:\n((?: *- .*\n(?: +\w+: .*\n)*)+)", text, re.MULTILINE)
    items = [item for part in outs for item in re.split(r"^ *- ", part, flags=re.MULTILINE)]
    found = [dict(re.findall(r"^ *(\w+): (.+)$", item, re.MULTILINE)) for item in items]
    return {
        (record.parent / one["path"]).as_posix(): one["md5"]
        for one in found
        if {"path", "md5"} <= one.keys()
    }


def require_recorded(path: Path, record: Path, remedy: str) -> None:
    """Check that a file is the one that DVC has recorded in Git, before it is trusted.

    Args:
        path: the file or the folder, from the project's root.
        record: dvc.lock, or the .dvc file beside the file. Where there is none, as in an image or
            before DVC has run, there is nothing to compare with.
        remedy: what the user can do when it is another file.

    Raises:
        UserError: it is another file, or it is not recorded.
    """
    if not record.exists() or not path.exists():
        return
    wanted = recorded(record).get(path.as_posix(), "")
    if md5(path) == wanted:
        return
    kept = cached(wanted)
    # DVC would take the file from there again.
    if damaged := [one for one in (kept, *_members(kept)) if one.is_file() and not _is_own(one)]:
        remedy = f"remove {' and '.join(one.as_posix() for one in damaged[:3])}, then {remedy}"
    what = "folder" if path.is_dir() else "file"
    raise UserError(f"{path.as_posix()}: not the {what} that {record.as_posix()} names; {remedy}")


def _is_own(kept: Path) -> bool:
    """Tell whether a file of the cache holds what its name says."""
    return f"{kept.parent.name}{kept.name}".removesuffix(".dir") == md5(kept)


def _members(kept: Path) -> list[Path]:
    """Return where the cache has the files of a folder, if it has the list of them."""
    try:
        listing = json.loads(kept.read_bytes()) if kept.suffix == ".dir" else []
        return [cached(one["md5"]) for one in listing]
    except (OSError, ValueError, TypeError, KeyError):
        return []
