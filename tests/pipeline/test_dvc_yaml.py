"""dvc.yaml declares for each stage exactly the files and the parameters that it uses.

The kernel reports the files, so that what Arrow opens from C++ counts as well. Metadata, such as
whether a file exists, does not count.
"""

import ctypes
import json
import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src.shared.params import Params, Section, parse
from tests.dvc_runs import call
from tests.projects import STAGES

RECORDER = Path(__file__).with_name("recorder.py")

TEMPORARY = re.compile(r"\.tmp$|\.pyc\.\d+$")  # ours, and Python's while it writes bytecode

# From <sys/inotify.h>
CLOSE_WRITE, CLOSE_NOWRITE, MOVED_TO, IS_DIR = 0x8, 0x10, 0x80, 0x40000000
EVENT = struct.Struct("iIII")


class Watch:
    """Notes which files below a folder are read and which are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK)
        assert self.kernel >= 0
        self.folders = {self.add(path): path for path in [folder, *folder.rglob("*/")]}

    def add(self, path: Path) -> int:
        mask = CLOSE_WRITE | CLOSE_NOWRITE | MOVED_TO
        return ctypes.CDLL(None).inotify_add_watch(self.kernel, os.fsencode(path), mask)

    def events(self) -> Iterator[tuple[Path, int]]:
        buffer = os.read(self.kernel, 10_000_000)
        os.close(self.kernel)
        while buffer:
            watch, kind, _, size = EVENT.unpack_from(buffer)
            name = buffer[EVENT.size : EVENT.size + size].rstrip(b"\0").decode()
            buffer = buffer[EVENT.size + size :]
            yield self.folders[watch] / name, kind

    def report(self) -> tuple[set[str], set[str]]:
        read, written = set(), set()
        for path, kind in self.events():
            if TEMPORARY.search(path.name):
                continue
            if kind == CLOSE_NOWRITE:
                read.add(self.source(path))
            elif not kind & CLOSE_NOWRITE and path.suffix != ".pyc":
                written |= {self.source(file) for file in files_of(path)}
        return read, written

    def source(self, path: Path) -> str:
        """Name a file from the project's root; for bytecode the module that it comes from."""
        if path.suffix == ".pyc":
            path = path.parents[1] / f"{path.name.partition('.')[0]}.py"
        return path.relative_to(self.folder).as_posix()


def files_of(path: Path) -> list[Path]:
    """Give the files below a folder, or the file itself."""
    return [file for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]


def declared(folder: Path, stage: str) -> dict[str, Any]:
    """Give what DVC takes dvc.yaml to declare: paths and keys, all filled in."""
    lock = YAML(typ="safe").load(folder / "dvc.lock")["stages"][stage]
    paths = {kind: {entry["path"] for entry in lock[kind]} for kind in ("deps", "outs")}
    return paths | {"params": set(lock["params"]["params.yaml"])}


def keys(settings: Params, name: str) -> set[str]:
    """Give all keys of a section, or the name of a single key."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    fields = value.__struct_fields__ if isinstance(value, Section) else ()
    return {f"{name}.{field}" for field in fields} or {name}


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
@pytest.mark.parametrize("stage", STAGES)
def test_declarations_are_exact(pipeline: Path, tmp_path: Path, stage: str) -> None:
    says = declared(pipeline, stage)
    watch, report = Watch(pipeline), tmp_path / "report.json"
    call(pipeline, sys.executable, str(RECORDER), stage, str(report), PYTHONPATH=str(pipeline))
    read, written = watch.report()

    # Every stage reads these: DVC knows the first by its keys, the others are empty.
    empty = {"src/__init__.py", "src/shared/__init__.py"}
    # DVC's own records are there to compare the data with.
    assert read - {"dvc.lock", "data/raw.csv.dvc"} == says["deps"] | {"params.yaml"} | empty
    assert all((pipeline / name).read_bytes() == b"" for name in empty)

    outs = [files_of(pipeline / path) for path in says["outs"]]
    assert all(outs)
    assert written == {path.relative_to(pipeline).as_posix() for out in outs for path in out}

    settings = parse(Params, YAML(typ="safe").load(pipeline / "params.yaml"))
    used = set(json.loads(report.read_text()))
    declared_keys = [keys(settings, name) for name in says["params"]]
    assert used <= set().union(*declared_keys)
    assert all(used & declared for declared in declared_keys)
