"""Run the pipeline, or its beginning, in the workflow: DVC's `repro`, timed.

DVC's word that nothing changed is not enough where results are judged: the stages that the step
"dvc pull" has chosen all run, and what Git held of their results has been removed.
"""

import argparse
import subprocess
import sys
import time

from src.shared import pipeline
from src.shared.errors import UserError
from src.shared.pipeline import Stage
from src.workflow import state


def run(*command: str) -> dict[str, float]:
    """Run a module of this Python, show what it prints, and time the stages that DVC runs.

    Returns:
        For each stage that ran, its seconds.

    Raises:
        UserError: it failed. The message is the last error that it printed.
    """
    seconds: dict[str, float] = {}
    stage, since, error = "", time.monotonic(), ""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            now = time.monotonic()
            if line.startswith(("Running stage '", "Stage '")):  # DVC starts one, or skips one
                if stage:
                    seconds[stage] = round(now - since, 2)
                stage, since = line.split("'")[1] if line.startswith("Running") else "", now
            if line.startswith("error: ") or (line.startswith("ERROR: ") and not error):
                error = line.split(": ", 1)[1].strip()
    if stage:
        seconds[stage] = round(time.monotonic() - since, 2)
    if process.returncode:
        where = f"{stage}: " if stage else ""
        state.note(seconds=state.read().seconds | seconds)
        raise UserError(f"{where}{error or ' '.join(command) + ' failed'}")
    return seconds


def main() -> None:
    """Run the stages that must run and have not yet, all of them or up to one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", help="the last stage to run")
    target = parser.parse_args().target
    known = state.read()
    if not known.pulled:
        raise UserError(
            "run `python -m src.workflow.source` and `python -m src.workflow.pull` first"
        )
    stages = pipeline.stages_of(pipeline.read_lock())
    scope = list(stages) if target is None else _until(stages, target)
    if stages.keys() >= known.stale.keys():
        todo = [name for name in scope if name in known.run and name not in known.seconds]
        command = ["--force", "--single-item", *todo] if todo else []
    else:  # a stage that dvc.lock does not name yet may come before any other: all run
        command = ["--force", *([target] if target else [])]
    seconds = run("dvc", "repro", *command) if command else {}
    state.note(seconds=state.read().seconds | seconds)


def _until(stages: dict[str, Stage], target: str) -> list[str]:
    return [name for name in stages if target in pipeline.followers(stages, [name])]


if __name__ == "__main__":
    state.run(main)
