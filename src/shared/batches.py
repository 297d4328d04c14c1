"""Rows to score, read batch by batch, as prepare reads the raw table.

A field that cannot be read costs its row, not the file.
"""

import io
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from src.shared import columns, fields, files, raw, tables
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.lines import BLOCK
from src.shared.paths import SCHEMA
from src.shared.sidecar import Feature, Sidecar

ROWS = 100_000  # of a Parquet file that are read at once
LARGEST = 1e300  # from here on a number counts as not finite
KINDS: dict[str, Kind] = {
    "numeric": "number",
    "boolean": "boolean",
    "date": "date",
    "categorical": "text",
}


@dataclass(frozen=True)
class Found:
    """Files to read: where they are, their names in messages, and their sizes in bytes."""

    system: Any
    paths: list[str]
    sizes: list[int]


Part = TypeVar("Part")


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be scored, counted from 1; the column is empty where all of it is wrong."""

    file: str
    row: int
    column: str
    value: str
    reason: str


@dataclass
class Batch:
    """Rows that were read.

    Attributes:
        file: the name of their file.
        rows: the number of each in it, from 1, shape (rows,).
        frame: the features: floats for numbers and booleans with NaN for missing, datetime64 with
            NaT, and objects with None; shape (rows, features).
        key: the columns that say which row is which.
        rejected: rows with a field that cannot be read; the others are the batch.
        novel: for each column how many values the train split did not have.
        size: about how many bytes of the file they are.
    """

    file: str
    rows: np.ndarray
    frame: pd.DataFrame
    key: dict[str, pa.Array]
    rejected: list[Rejected]
    novel: Counter[str] = field(default_factory=Counter)
    size: int = 0


def find(source: str) -> Found:
    """Find a .csv or .parquet file, or all such files of a folder, here or at an s3:// address.

    Raises:
        UserError: there is none.
    """
    with _remote(source):
        system, path = fsspec.core.url_to_fs(source)
        paths = [path] if path.lower().endswith(raw.SUFFIXES) else []
        if system.isdir(path):
            inside, folder = sorted(system.find(path)), f"{path.rstrip('/')}/"
            paths = [name for name in inside if raw.is_table(name.removeprefix(folder))]
        if not paths or not system.exists(paths[0]):
            raise UserError(f"{source}: no .csv or .parquet file there")
        return Found(system, paths, [system.size(name) for name in paths])


@contextmanager
def replacing(*targets: str) -> Iterator[tuple[Path, ...]]:
    """Do as `files.replacing` does, here or at an s3:// address.

    Where the block removes a draft, its target is removed as well.
    """
    if "://" not in targets[0]:
        paths = [Path(target) for target in targets]
        with tempfile.TemporaryDirectory(dir=_folder(paths[0]), prefix=".scores.") as name:
            drafts = tuple(Path(name, path.name) for path in paths)
            yield drafts
            for draft, path in zip(drafts, paths, strict=True):
                if draft.exists():
                    draft.replace(path)
                else:
                    files.remove(path)  # an earlier run's
        return
    with tempfile.TemporaryDirectory() as name:
        drafts = tuple(Path(name, target.rpartition("/")[2]) for target in targets)
        yield drafts
        with _remote(targets[0]):
            for draft, target in zip(drafts, targets, strict=True):
                system, path = fsspec.core.url_to_fs(target)
                if draft.exists():
                    system.put_file(str(draft), path)
                elif system.exists(path):
                    system.rm_file(path)


def _folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent


@contextmanager
def _remote(source: str) -> Iterator[None]:
    """Say in one line what a store does not do."""
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        if "://" not in source and not isinstance(error, ValueError):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{source}: cannot be reached: {reason}") from None


def read(found: Found, known: Sidecar) -> Iterator[Batch]:
    """Read files batch by batch.

    Args:
        found: the files.
        known: the sidecar of the model: its features, its key, how fields are written.

    Raises:
        UserError: a file cannot be read, lacks a feature or has no rows.
    """
    kinds = raw.schema_kinds() if known.key and SCHEMA.exists() else {}
    wanted = {one.name: KINDS[one.kind] for one in known.features}
    wanted = {name: kinds.get(name) or "text" for name in known.key} | wanted
    for path, left in zip(found.paths, found.sizes, strict=True):
        name = f"s3://{path}" if "s3" in found.system.protocol else Path(path).name
        count = 0
        with _remote(name), found.system.open(path, "rb") as opened:
            file = _Counted(opened, left)
            reader = _parquet if path.lower().endswith(".parquet") else _csv
            try:
                for batch in reader(file, name, wanted, known):
                    count += len(batch.rows) + len(batch.rejected)
                    batch.size = min(batch.size, left)
                    left -= batch.size
                    yield batch
            except UnicodeError:
                raise UserError(f"{name}: not {known.form.encoding.upper()} text") from None
            except pa.ArrowInvalid as error:
                reason = str(error).splitlines()[0][:200]
                raise UserError(f"{name}: cannot be read: {reason}") from None
        if file.quotes % 2:
            raise UserError(f"{name}: a quoted field is not closed: {file.quotes} quotes in all")
        if not count:
            raise UserError(f"{name}: has a header but no rows")


def answered(
    batches: Iterable[Part], answer: Callable[[Part], Any], at_once: int
) -> Iterator[tuple[Part, Any]]:
    """Yield batches in their order, each with its answer; the next ones are read meanwhile.

    Args:
        batches: of rows.
        answer: the function that answers a batch; threads call it.
        at_once: how many batches are answered at a time, at most.
    """
    waiting: deque[tuple[Part, Future[Any]]] = deque()
    with ThreadPoolExecutor(at_once, initializer=_alone if at_once > 1 else None) as threads:
        for batch in batches:
            waiting.append((batch, threads.submit(answer, batch)))
            if len(waiting) > at_once:
                batch, answers = waiting.popleft()
                yield batch, answers.result()
        for batch, answers in waiting:
            yield batch, answers.result()


def _alone() -> None:
    """Let what this thread calls start no more threads: there is one for each core already."""
    threadpool_limits(1, user_api="openmp")


class _Counted(io.RawIOBase):
    """A file of which quotes are counted while it is read."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size, self.quotes = file, size, 0
        self.is_text = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def read(self, size: int = -1) -> bytes:
        part: bytes = self.file.read(size)
        self.quotes += part.count(b'"') if self.is_text else 0
        return part


def _check_header(name: str, header: list[str], known: Sidecar) -> None:
    tables.require_distinct(header, name)
    lacking = [one.name for one in known.features if one.name not in header]
    if lacking:
        raise UserError(
            f"{name}: lacks {tables.listed(lacking)[:200]}, which the model takes; "
            f"it has: {tables.listed(header)[:200]}"
        )


def _csv(file: Any, name: str, wanted: dict[str, Kind], known: Sidecar) -> Iterator[Batch]:
    """Read a CSV file. A line with too many or too few fields is a rejected row."""
    form, ragged = known.form, []

    def refuse(row: Any) -> str:
        why = f"has {row.actual_columns} fields, the header has {row.expected_columns}"
        ragged.append(Rejected(name, row.number - 1, "", row.text[:200], why))
        return "skip"

    file.is_text = True
    # In one thread: only then are the numbers of ragged lines known.
    options = pa.csv.ReadOptions(block_size=BLOCK, encoding=form.encoding, use_threads=False)
    parse = pa.csv.ParseOptions(
        delimiter=form.separator, newlines_in_values=True, invalid_row_handler=refuse
    )
    convert = pa.csv.ConvertOptions(strings_can_be_null=False, default_column_type=pa.string())
    blocks = pa.csv.open_csv(file, options, parse, convert)
    header = [one.strip(BLANKS) for one in blocks.schema.names]
    _check_header(name, header, known)
    start = 1
    for block in blocks:
        held = dict(zip(header, block.columns, strict=True))
        rows = np.arange(start, start + len(block) + len(ragged))
        if ragged:
            rows = np.setdiff1d(rows, [one.row for one in ragged])[: len(block)]
        past = [one for one in ragged if one.row <= (rows[-1] if len(rows) else start)]
        ragged[:] = ragged[len(past) :]
        start = int(rows[-1]) + 1 if len(rows) else start
        values, rejected = {}, list(past)
        for column, kind in wanted.items():
            if column in held:
                values[column], wrong = _from_text(held[column], kind, form.missing, form.decimal)
                rejected += _rejected(name, rows, column, wrong)
        batch = _batch(name, rows, values, rejected, known)
        batch.size = BLOCK
        yield batch
    if ragged:
        yield _batch(name, np.array([], dtype=int), {}, ragged, known)


def _from_text(
    texts: pa.Array, kind: Kind, missing: tuple[str, ...], decimal: str
) -> tuple[pa.Array, list[tuple[int, str, str]]]:
    """Turn texts into values; where some are none, name their places, texts and what is wrong."""
    tried: tuple[Kind, ...] = ("number", "whole") if kind == "number" else (kind,)
    for one in tried:
        try:
            return columns.from_text(texts, one, missing, decimal), []
        except pa.ArrowInvalid:
            continue
    values: list[Any] = []
    wrong = []
    for at, text in enumerate(texts.to_pylist()):
        try:
            values.append(None if text is None else fields.read(text, kind, missing, decimal))
        except ValueError as error:
            values.append(None)
            wrong.append((at, text, str(error)))
    return pa.array(values, columns.TYPES[kind]), wrong


def _rejected(
    name: str, rows: np.ndarray, column: str, wrong: list[tuple[int, str, str]]
) -> list[Rejected]:
    return [Rejected(name, int(rows[at]), column, text[:200], why) for at, text, why in wrong]


def _parquet(file: Any, name: str, wanted: dict[str, Kind], known: Sidecar) -> Iterator[Batch]:
    """Read a Parquet file; only what params.yaml adds to the missing values is text there."""
    missing = tuple(sorted(set(known.form.missing) - fields.MISSING))
    form = Format(decimal=known.form.decimal, missing=missing)
    table = pa.parquet.ParquetFile(file)
    header = [one.strip(BLANKS) for one in table.schema_arrow.names]
    _check_header(name, header, known)
    own = dict(zip(header, table.schema_arrow.names, strict=True))
    start = 1
    for block in table.iter_batches(ROWS, columns=[own[one] for one in wanted if one in own]):
        rows = np.arange(start, start + len(block))
        start += len(block)
        values, rejected = {}, []
        for column, kind in wanted.items():
            if column not in own:
                continue
            held = block[own[column]]
            if pa.types.is_string(held.type) and kind != "text":
                values[column], wrong = _from_text(held, kind, ("", *missing), form.decimal)
                rejected += _rejected(name, rows, column, wrong)
            else:
                whole = raw.as_kind(Path(name), column, pa.chunked_array([held]), kind, form)
                values[column] = whole.combine_chunks()
        batch = _batch(name, rows, values, rejected, known)
        batch.size = file.size * len(block) // table.metadata.num_rows
        yield batch


def _batch(
    name: str,
    rows: np.ndarray,
    values: dict[str, pa.Array],
    rejected: list[Rejected],
    known: Sidecar,
) -> Batch:
    """Put a batch together, without its rejected rows."""
    frame = pd.DataFrame(
        {one.name: _for_model(values[one.name], one) for one in known.features} if values else {}
    )
    for one in known.features if values else ():
        if one.kind == "numeric":
            numbers = frame[one.name].to_numpy()
            large = np.flatnonzero(np.abs(numbers) >= LARGEST).tolist()
            wrong = [(at, str(numbers[at]), "must be a finite number") for at in large]
            rejected += _rejected(name, rows, one.name, wrong)
    bad = {one.row for one in rejected}
    kept = ~np.isin(rows, list(bad))
    first = {one.row: one for one in reversed(rejected)}  # one line for each row
    keys = {one: values[one].filter(pa.array(kept)) for one in known.key if one in values}
    frame = frame[kept].reset_index(drop=True) if values and bad else frame
    batch = Batch(name, rows[kept], frame, keys, sorted(first.values(), key=lambda one: one.row))
    for one in known.features if len(frame) else ():
        if count := _novel(frame[one.name], one, known.categories.get(one.name)):
            batch.novel[one.name] = count
    return batch


def _for_model(values: pa.Array, feature: Feature) -> np.ndarray:
    if feature.kind in ("numeric", "boolean"):
        return values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values.to_numpy(zero_copy_only=False)


def _novel(column: pd.Series, feature: Feature, categories: list[str] | None) -> int:
    """Count values that the train split did not have: categories, fractions of whole numbers."""
    if feature.dtype.lower().startswith("int"):
        return int((column.dropna() % 1 != 0).sum())
    if categories is None:
        return 0
    return int((column.notna() & ~column.isin(categories)).sum())
