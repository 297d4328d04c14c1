"""The report of a run of the workflow: `make report`'s, with what the steps have noted.

It goes into the job's summary as well.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from src import report
from src.report import Run
from src.shared import errors
from src.shared.errors import UserError
from src.shared.page import code, say
from src.shared.paths import REPORT, VERDICTS
from src.workflow import github, state
from src.workflow.champion import find_base, find_loosened, judge, place_of
from src.workflow.state import PLACES, State

# The steps of the workflow, by their ids.
STEPS = {
    "environment": "environment",
    "lint": "lint, format and types",
    "unit": "unit tests",
    "source": "where the data comes from",
    "pull": "dvc pull",
    "validation": "data validation",
    "smoke": "smoke model",
    "rows": "the labelled rows",
    "repro": "dvc repro",
    "gate": "metrics check",
    "lock": "dvc.lock and metrics in Git",
    "push": "dvc push",
}


def describe(known: State, steps: dict[str, Any], job: str, noted: Sequence[Path] = ()) -> Run:
    """Describe the run for the report.

    Args:
        known: what the steps have noted.
        steps: what GitHub says of the job's steps.
        job: what GitHub says of the job so far.
        noted: the files that the steps have written for the report.
    """
    outcomes = {name: steps.get(name, {}).get("outcome") for name in STEPS}
    failed = next((what for name, what in STEPS.items() if outcomes[name] == "failure"), "")
    stopped = job not in ("", "success") and not failed
    return Run(
        failed=(known.problem,) if known.problem else (f"the job: {job}",) if stopped else (),
        where=failed,
        trained=not steps or outcomes["repro"] == "success",
        notes=tuple(_notes(known)),
        seconds=known.seconds,
        verdicts=_newest([VERDICTS, *noted]),
        loosened=known.loosened,
    )


def _notes(known: State) -> Iterator[str]:
    yield from known.came
    for name, why in known.stale.items():
        yield say("⚠️ {} is stale in dvc.lock: {} changed", code(name), why)
    if known.source:
        yield f"Data from the {PLACES[known.source]}: {known.why}"
    if known.pushed:
        yield f"Pushed to {known.pushed}, which holds every output"


def _newest(paths: Iterable[Path]) -> Path:
    judged = [path for path in paths if path.name == VERDICTS.name and path.exists()]
    return max(judged, key=lambda path: path.stat().st_mtime, default=VERDICTS)


def _compare() -> None:
    """Compare this model with the champion, as the workflow's metrics check does."""
    with suppress(UserError, OSError), redirect_stdout(StringIO()):
        state.note(problem="")  # of an earlier report
        judge(find_base())  # where it cannot, the report says what is missing


def _look_for_loosened(known: State) -> State:
    """Add what makes the judgement less strict, where the run stopped before its metrics check."""
    if known.loosened is not None:
        return known
    # Of files that nobody can read, or that hold something else: only settings.
    unreadable = UserError, OSError, ValueError, AttributeError, KeyError, TypeError
    with suppress(*unreadable):
        base = find_base()
        known = replace(known, loosened=find_loosened(base, place_of(base)))
    return known


def main() -> None:
    """Write the report and add it to the job's summary."""
    steps = json.loads(os.environ.get("STEPS") or "{}")
    if "STEPS" not in os.environ:  # on a desk, where no step has compared
        _compare()
    noted: list[Path] = []
    try:
        known = _look_for_loosened(state.read())
        noted = [path for path in (state.path(), state.compared()) if path.exists()]
    except (UserError, OSError) as error:  # which is worth a report as well
        known = State(problem=str(error))
    run = describe(known, steps, os.environ.get("JOB_STATUS", ""), noted)
    report.write(known.champion or find_base(), run)
    for path in noted:  # for people: nothing reads them there
        shutil.copyfile(path, REPORT / path.name)
    github.summarise(report.MARKDOWN.read_text("utf-8"))


if __name__ == "__main__":
    errors.run(main)
