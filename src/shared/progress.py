"""Bars that say how far a long run is."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Batch = TypeVar("Batch", bound=Any)  # of rows: has a length

DELAY = 2  # seconds that a run must take to have a bar


def rows(
    batches: Iterable[Batch], title: str, total: int | None = None, unit: str = " rows"
) -> Iterator[Batch]:
    """Yield batches of rows; on a terminal show how many rows are done.

    Args:
        batches: of rows.
        title: what is done.
        total: how many rows there are, if that is known.
        unit: what is counted, where that is not rows.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield from batches
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=title, unit=unit, unit_scale=True, delay=DELAY) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
