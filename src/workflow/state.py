"""What a run of the workflow has found so far: for later steps and for the report.

It lies in Git's own folder, beside the checkout: a commit can put nothing there.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from src.shared import errors, files
from src.shared.errors import UserError
from src.shared.git import git
from src.shared.loosened import Loosened

# What a source of data is called in messages.
PLACES = {"remote": "remote", "cache": "cache", "embedded": "embedded remote"}


@dataclass(frozen=True)
class State:
    """The facts that a step writes down for the steps after it.

    Attributes:
        source: where the data comes from: remote, cache or embedded; empty if not decided yet.
        why: the reason for this source.
        sources: the remotes to pull from, in this order: name and address.
        pulled: whether the step "dvc pull" has run; it sets the next three.
        run: the stages that this run runs.
        stale: the stages whose inputs have changed since they last ran, and what changed.
        remade: the stages that run again because their outputs are on no remote.
        seconds: how long each stage that has run took.
        champion: the commit of the model to beat; empty if there is none.
        loosened: what makes the judgement less strict; None where nobody has looked yet.
        judged: the hash of the provenance of the model that passed the metrics check.
        wrong: the metrics in Git that differ from what this run computed.
        pushed: the address of the remote that was pushed to.
        came: what is said of the labelled rows that came in.
        problem: the error that stopped the run.
    """

    source: str = ""
    why: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    pulled: bool = False
    run: list[str] = field(default_factory=list)
    stale: dict[str, str] = field(default_factory=dict)
    remade: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    champion: str = ""
    loosened: list[Loosened] | None = None
    judged: str = ""
    wrong: list[str] = field(default_factory=list)
    pushed: str = ""
    came: list[str] = field(default_factory=list)
    problem: str = ""


def folder() -> Path:
    """Return the folder of this run's notes."""
    return Path(git("rev-parse", "--absolute-git-dir"), "workflow")


def path() -> Path:
    """Return the file that the steps write their facts to."""
    return folder() / "state.json"


def compared() -> Path:
    """Return the file with the verdicts of the metrics check."""
    return folder() / "gate.json"


def read() -> State:
    """Read what earlier steps have written down.

    Raises:
        UserError: the file was not written by the workflow.
    """
    file = path()
    if not file.exists():
        return State()
    try:
        return msgspec.convert(files.read_json(file, "remove it"), State)
    except msgspec.ValidationError:
        raise UserError(f"{file.as_posix()}: the workflow did not write this; remove it") from None


def begin() -> None:
    """Forget what an earlier run noted."""
    files.remove(folder())


def note(**facts: Any) -> None:
    """Write down facts; a new value replaces an earlier one."""
    state = replace(read(), **facts)
    with files.replacing(path()) as (draft,):
        files.write_json(draft, asdict(state))


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a step's `main` and end the process; note the error for the report, if there is one."""

    def noting() -> int | None:
        try:
            return main()
        except UserError as error:
            note(problem=str(error))
            raise

    errors.run(noting)
