"""What a run of the workflow has found so far, for the steps that follow and for the report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from src import errors, files
from src.errors import UserError

FOLDER = Path("report")
FINDINGS = FOLDER / "findings.json"


def read(*needed: str) -> dict[str, Any]:
    """Give all that earlier steps have noted.

    Args:
        needed: facts that `python -m src.remote decide` and `pull` note.

    Raises:
        UserError: one of these is not known, or the file is no JSON.
    """
    content: dict[str, Any] = {}
    if FINDINGS.exists():
        content = files.read_json(FINDINGS, "remove it")
    if not content.keys() >= set(needed):
        raise UserError("run `python -m src.remote decide` and `python -m src.remote pull` first")
    return content


def note(**facts: Any) -> None:
    """Add facts to what is known; a fact that is known already is replaced."""
    content = read() | facts
    with files.replacing(FINDINGS) as (draft,):
        files.write_json(draft, content)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a step's `main` and end the process; what stops it is noted for the report."""

    def noting() -> int | None:
        try:
            return main()
        except UserError as error:
            note(problem=str(error))
            raise

    errors.run(noting)
