"""What is said in the same words in several places; only the standard library."""

from collections.abc import Iterable
from typing import Any

SETS = 200  # into which `intervals` puts the rows of a large test split


def counted(count: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def are(count: int, one: str = "is", many: str = "are") -> str:
    """Return the verb for so many."""
    return one if count == 1 else many


def of_sample(rows: Any) -> str:
    """Say that the model was trained on a sample; empty where it was not, or nobody knows.

    Args:
        rows: what the sidecar says under `rows`: how many rows it was trained on, and of how many.
    """
    pair = isinstance(rows, list) and len(rows) == 2 and all(isinstance(one, int) for one in rows)
    if not pair or rows[0] >= rows[1]:
        return ""
    return f"Trained on a sample: {rows[0]:,} of the train split's {rows[1]:,} rows."


def of_sets(methods: Iterable[Any]) -> str:
    """Say how the intervals of a large test split were made; empty where none was made so.

    Args:
        methods: by which each interval was made, as `intervals` names them.
    """
    if "jackknife" not in list(methods):
        return ""
    return (
        f"Intervals (but for Wilson's): the many rows were drawn in {SETS} sets, not singly, so "
        "their width is known to 7 %."
    )
