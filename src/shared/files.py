"""Files that are written whole or not at all."""

import hashlib
import json
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
        _remove(draft)  # left by a run that was killed
    for target in targets:
        old = _old(target)
        if old.exists() and not target.exists():  # killed between two renames
            old.rename(target)
        _remove(old)
    try:
        yield drafts
        for draft, target in zip(drafts, targets, strict=True):
            if target.is_dir():  # a folder cannot be renamed over another
                target.rename(_old(target))
                draft.rename(target)
                _remove(_old(target))
            else:
                draft.replace(target)
    except OSError as error:
        if not error.filename:  # a full disk does not say which file it was
            error.filename = ", ".join(target.as_posix() for target in targets)
        raise
    finally:
        for draft in drafts:
            _remove(draft)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old.tmp")


def _remove(path: Path) -> None:
    if path.is_dir():
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
