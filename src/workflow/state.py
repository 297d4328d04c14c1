"""What a run of the workflow has found so far, for the steps that follow and for the report."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NoReturn

from src.shared import errors, files
from src.shared.errors import UserError
from src.shared.paths import REPORT

STATE = REPORT / "state.json"

# What a source of data is called in messages.
PLACES = {"remote": "remote", "cache": "cache", "embedded": "embedded remote"}


@dataclass(frozen=True)
class State:
    """The facts that one step notes for the next ones.

    Attributes:
        source: where the data comes from: remote, cache or embedded; empty until that is decided.
        why: the reason for it.
        sources: the address of each remote to ask, in this order.
        pulled: whether the step that pulls data has run; the next four are its.
        everything: whether all stages run, whatever has changed.
        confirm: whether the results in Git were not confirmed elsewhere.
        stale: the stages whose inputs changed after their last run, and what changed.
        remade: the stages that run again because nobody has their outputs.
        seconds: how long each stage that has run took.
        wrong: the metrics in Git that are not what this run computed.
        pushed: the address that was pushed to.
        problem: what stopped the run.
    """

    source: str = ""
    why: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    pulled: bool = False
    everything: bool = False
    confirm: bool = True
    stale: dict[str, str] = field(default_factory=dict)
    remade: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    pushed: str = ""
    problem: str = ""


def read() -> State:
    """Read all that earlier steps have noted.

    Raises:
        UserError: the file is not what a step has written.
    """
    if not STATE.exists():
        return State()
    try:
        return State(**files.read_json(STATE, "remove it"))
    except TypeError:
        raise UserError(f"{STATE.as_posix()}: not what the workflow writes; remove it") from None


def note(**facts: Any) -> None:
    """Add facts to what is known; a fact that is known already is replaced."""
    state = replace(read(), **facts)
    with files.replacing(STATE) as (draft,):
        files.write_json(draft, asdict(state))


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a step's `main` and end the process; what stops it is noted for the report."""

    def noting() -> int | None:
        try:
            return main()
        except UserError as error:
            note(problem=str(error))
            raise

    errors.run(noting)
