"""A sample of the train split, drawn by the rows' hashes, and what a training needs of memory."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from src import splits
from src.shared import tables
from src.shared.errors import UserError
from src.shared.hashes import Hashes, Mask, codes_of, hash_rows, mixed
from src.shared.params import Params

if TYPE_CHECKING:
    import pandas as pd

BATCH = 50_000  # rows that are read at once
# What train takes at its peak, as a multiple of the split's numbers at 8 bytes each; a text column
# counts as eight. Measured with two folds at a time (HistGradientBoosting, 30 columns of numbers).
FACTOR = 7
TEXT = 8
# Which estimators take long, and from how many rows on: 200 trees on 260,000 flights of 17 columns,
# in five folds, took more than eight minutes.
FORESTS, MANY = ("RandomForest", "ExtraTrees"), 100_000


def batches(
    file: pyarrow.parquet.ParquetFile, columns: list[str] | None = None, size: int = BATCH
) -> Iterator[pa.Table]:
    """Read a split batch by batch, with its own schema."""
    for batch in file.iter_batches(size, columns=columns):
        yield pa.Table.from_batches([batch])


def choose(file: pyarrow.parquet.ParquetFile, rows: int | None, settings: Params) -> Mask:
    """Choose at most so many rows, each by a number that it keeps, whatever rows are added.

    Args:
        file: the train split.
        rows: how many, or None for all; fewer where the split keeps groups together.
        settings: the sections task, data, prepare and train.

    Returns:
        One boolean a row of the split.

    Raises:
        UserError: so few rows that no group fits in.
    """
    if rows is None or rows >= file.metadata.num_rows:
        return np.ones(file.metadata.num_rows, dtype=bool)
    split, names = splits.find(settings), file.schema_arrow.names
    keyed = settings.data.key or sorted(names)
    if split.grouped and settings.prepare.column:
        keyed = [settings.prepare.column]
    hashes = np.concatenate([hash_rows(one.select(keyed)) for one in batches(file, keyed)])
    hashes = mixed(hashes, settings.train.seed)
    if split.grouped:
        chosen = whole(hashes, rows)
        if not chosen.any():
            raise UserError(f"train.rows is {rows}, and every group has more; set it higher")
        return chosen
    target = settings.data.target
    classes = np.zeros(len(hashes), dtype=np.int64)
    if settings.task != "regression":
        classes = codes_of(file.read([target])[target])
    return first(hashes, classes, rows)


def whole(hashes: Hashes, rows: int) -> Mask:
    """Mark the groups of the lowest hashes, as long as their rows are not more than `rows`."""
    groups, counts = np.unique(hashes, return_counts=True)
    last = np.searchsorted(counts.cumsum(), rows, side="right")
    return np.asarray(hashes < groups[last]) if last < len(groups) else np.ones(len(hashes), bool)


def first(hashes: Hashes, classes: np.ndarray, rows: int) -> Mask:
    """Mark the rows of the lowest hashes in each class, each class with its share of `rows`.

    Args:
        hashes: a number for each row.
        classes: the code of each row's class, from 0.
        rows: how many to mark. Where it is not below the number of classes, each has a row.
    """
    order = np.lexsort([hashes, classes])
    sizes = np.bincount(classes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (np.arange(len(order)) - starts) / np.repeat(sizes, sizes)  # in its class, from 0 to 1
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[np.argsort(place, kind="stable")[:rows]]] = True
    return chosen


def read(file: pyarrow.parquet.ParquetFile, chosen: Mask) -> "pd.DataFrame":
    """Read the rows that a mask marks, so that the others are never all in memory."""
    if chosen.all():
        return tables.to_frame(file.read())
    kept, start = [], 0
    for batch in batches(file):
        kept.append(batch.filter(pa.array(chosen[start : start + len(batch)])))
        start += len(batch)
    return tables.to_frame(pa.concat_tables(kept))


def warning(file: pyarrow.parquet.ParquetFile, rows: int) -> str | None:
    """Say so where a training on so many rows is likely to run out of memory."""
    schema, free = file.schema_arrow, available()
    wide = sum(TEXT if pa.types.is_string(field.type) else 1 for field in schema)
    need = rows * wide * 8 * FACTOR
    if free is None or need <= free:
        return None
    return (
        f"warning: to train on {rows:,} rows of {len(schema)} columns takes about "
        f"{need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; use a sample (train.rows) or a "
        "cluster (docs/scale.md)"
    )


def slow(rows: int, estimator: str) -> str | None:
    """Say so where a training on so many rows is likely to take long.

    Args:
        rows: how many.
        estimator: the setting train.estimator.
    """
    name = estimator.rpartition(".")[2]
    if rows <= MANY or not any(forest in name for forest in FORESTS):
        return None
    quick = f"HistGradientBoosting{'Regressor' if name.endswith('Regressor') else 'Classifier'}"
    return (
        f"warning: {name} may take an hour on {rows:,} rows. Quicker:\n"
        "  a sample (train.rows), or, under train in params.yaml, `arguments: {}` with\n"
        f"  `estimator: sklearn.ensemble.{quick}`"
    )


def available() -> int | None:
    """Return how many bytes this process may still take, where the system says so."""
    found = []
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024)
    for most, used in _groups():
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            found.append(int(most.read_text()) - int(used.read_text()))
    with contextlib.suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf(
                "SC_PAGE_SIZE"
            )
            found.append(limit - taken)
    return min(found, default=None)


def _groups() -> Iterator[tuple[Path, Path]]:
    """Yield the files with the limit and the use of each control group that this process is in."""
    root = Path("/sys/fs/cgroup")
    names = [""]
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        names += [line.split(":", 2)[2].strip("/") for line in lines]
    for name in names:
        for folder in (root / name, *(root / name).parents):
            if folder.is_relative_to(root):
                yield folder / "memory.max", folder / "memory.current"
        old = root / "memory" / name
        yield old / "memory.limit_in_bytes", old / "memory.usage_in_bytes"
