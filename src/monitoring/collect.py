"""`make collect`: move the closed files of a record, such as from a server's disk to a store.

Each file keeps its name, and is removed only after what arrived was read back and is the same. So
it may be interrupted at any point and run again, even twice at a time: each row arrives once.
"""

import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from src.shared import errors, record, store
from src.shared.errors import UserError
from src.shared.wording import counted

FILES = 8  # that are moved at a time
# Stores in which a file that is being written is not there yet.
WHOLE = {"s3", "gs", "gcs", "abfs", "az"}


@dataclass(frozen=True)
class Folder:
    """A folder, its file system, and how it was named."""

    address: str
    system: Any
    path: str

    @property
    def kinds(self) -> set[str]:
        """The names of its kind of store; "file" is a disk of this machine."""
        names = self.system.protocol
        return {names} if isinstance(names, str) else {*names}

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is no such file."""
        with store.reached(f"{self.address}/{name}"):
            try:
                return bytes(self.system.cat_file(f"{self.path}/{name}"))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is there as soon as it is whole."""
        path = f"{self.path}/{name}"
        if "file" in self.kinds:
            with record.whole(Path(path)) as file:
                file.write(content)
            return
        with store.reached(f"{self.address}/{name}"):
            if WHOLE & self.kinds:
                self.system.pipe_file(path, content)
                return
            draft = f"{self.path}/.{name}.{secrets.token_hex(4)}.tmp"
            self.system.makedirs(self.path, exist_ok=True)
            self.system.pipe_file(draft, content)
            self.system.mv(draft, path)


def collect(source: str, target: str) -> tuple[int, int]:
    """Move the closed files of a record to another folder.

    Args:
        source: the folder, here or at an address such as s3://bucket/record; not those in it.
        target: likewise; it is made if need be.

    Returns:
        How many files were moved, and their bytes.

    Raises:
        UserError: there is no such folder, both are the same, or a store does not do its part. What
            was not moved is where it was.
    """
    here, there = (Folder(one, *_opened(one)) for one in (source, target))
    with store.reached(source):
        if not here.system.isdir(here.path):
            raise UserError(f"{source}: no such folder; set FROM to the folder of a record")
        paths = [one.rstrip("/") for one in here.system.ls(here.path, detail=False, refresh=True)]
    names = sorted(one.rpartition("/")[2] for one in paths)
    names = [name for name in names if record.NAME.fullmatch(name)]
    if "file" in there.kinds:
        Path(there.path).mkdir(parents=True, exist_ok=True)
    if here.kinds & there.kinds and (
        here.path == there.path or ("file" in here.kinds and Path(here.path).samefile(there.path))
    ):
        raise UserError(f"{target}: FROM and TO are the same folder")
    with ThreadPoolExecutor(FILES) as pool:
        moved = pool.map(lambda name: move(name, here, there), names)
        sizes = list(tqdm(moved, total=len(names), desc="files", disable=None))
    return sum(size is not None for size in sizes), sum(filter(None, sizes))


def _opened(address: str) -> tuple[Any, str]:
    with store.reached(address):
        return store.folder(address)


def move(name: str, here: Folder, there: Folder) -> int | None:
    """Move a file; return its bytes, or None if somebody else has moved it.

    Raises:
        UserError: what arrived is not what was sent, which is still where it was.
    """
    content = here.read(name)
    if content is None:
        return None
    if there.read(name) != content:
        there.write(name, content)
        if there.read(name) != content:
            raise UserError(f"{there.address}/{name}: did not arrive whole; run this again")
    with store.reached(f"{here.address}/{name}"):
        try:
            here.system.rm_file(f"{here.path}/{name}")
        except FileNotFoundError:
            return None
    return len(content)


def main() -> None:
    """Move the record at FROM to TO."""
    source, target = os.environ.get("FROM", ""), os.environ.get("TO", "")
    if not source or not target:
        raise UserError("set FROM and TO: make collect FROM=record TO=s3://bucket/record")
    count, size = collect(source, target)
    print(f"{counted(count, 'file')} ({size / 1e6:.1f} MB) moved to {target}", file=sys.stderr)


if __name__ == "__main__":
    errors.run(main)
