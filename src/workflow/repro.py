"""Run the pipeline, or its beginning, in the workflow: DVC's `repro`, timed.

For data and metrics DVC's word that nothing changed is not enough: where DVC has no reason to run
validate or evaluate, the workflow runs them itself, on the inputs as they are now.
"""

import argparse
import subprocess
import sys
import time

from src.shared import pipeline
from src.shared.errors import UserError
from src.shared.pipeline import Stage
from src.workflow import state

# Stages whose results in Git are checked by running them, where DVC has no reason to run them.
CONFIRMED = ("validate", "evaluate")


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
    """Run the stages that are stale or missing, and check results that DVC takes as they are."""
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
    seconds = dict(known.seconds)
    targets = [target] if target else []
    if known.everything:
        # The second call does not repeat the stages that the first one ran; but a stage that is not
        # in dvc.lock yet may come before them, so then all run.
        done = [name for name in seconds if name in stages]
        if not stages.keys() >= known.stale.keys():
            done = []
        force = ["--force", "--single-item"] if done else ["--force"]
        rest = [name for name in scope if name not in done] if done else targets
        seconds |= run("dvc", "repro", *force, *rest)
    else:
        remade = [name for name in known.remade if name in scope and name not in seconds]
        if remade:
            seconds |= run("dvc", "repro", "--force", "--single-item", *remade)
        seconds |= run("dvc", "repro", "--allow-missing", *targets)
    state.note(seconds=seconds)
    for name in CONFIRMED:
        if known.confirm and name in scope and name not in seconds:
            since = time.monotonic()
            print(f"Confirming '{name}' without DVC:", flush=True)
            run(f"src.{name}")
            seconds[name] = round(time.monotonic() - since, 2)
    state.note(seconds=seconds)


def _until(stages: dict[str, Stage], target: str) -> list[str]:
    return [name for name in stages if target in pipeline.followers(stages, [name])]


if __name__ == "__main__":
    state.run(main)
