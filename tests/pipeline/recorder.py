"""Run a stage and report which parameters it looks at: `recorder.py STAGE REPORT`."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

from src.shared import params
from src.shared.params import Section

stage, report = sys.argv[1:]
del sys.argv[1:]
seen: set[str] = set()


class Recorder:
    """Stands for a section, and notes each key that is read."""

    def __init__(self, section: Section, path: str = "") -> None:
        self._section, self._path = section, path

    def __getattr__(self, name: str) -> Any:
        value, path = getattr(self._section, name), self._path + name
        if isinstance(value, Section):
            return Recorder(value, f"{path}.")
        seen.add(path)
        return value


settings = params.load()
params.load = lambda: Recorder(settings)  # type: ignore[assignment]
try:
    runpy.run_module(f"src.{stage}", run_name="__main__")
finally:
    Path(report).write_text(json.dumps(sorted(seen)), encoding="utf-8")
