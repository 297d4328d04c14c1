"""Record what is asked and answered, without a delay for anybody: `RECORD=folder`.

An answer only puts its rows into memory. A thread writes them, a file every so many rows or minutes
(the form is that of src/shared/record.py). While the disk is full or slow, rows wait in memory, up
to a limit; those beyond it are lost, and counted in /metrics.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from prometheus_client import CollectorRegistry, Counter, Gauge

from src.service.scoring import Scored, Together
from src.shared import record
from src.shared.errors import UserError, plain
from src.shared.sidecar import Sidecar
from src.shared.wording import are, counted

# What is held in memory takes, roughly, besides the size of the body:
ROW_BYTES, ARRAY_BYTES = 500, 150
GROUP = 1_000  # requests that are converted at a time, so that answers need not wait for Python
LAST_SECONDS = 10.0  # to write the rest in, when the service stops
DRAFT_SECONDS = 3600.0  # a draft that is older was left by a process that was killed


@dataclass(frozen=True)
class Settings:
    """Where to record, and when a file is closed."""

    folder: Path
    rows: int = 20_000
    minutes: float = 5
    max_bytes: int = 1_000_000_000  # of all files in the folder; beyond it the oldest go
    held_bytes: int = 50_000_000  # of what waits in memory to be written

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Read RECORD, RECORD_ROWS, RECORD_MINUTES and RECORD_MAX_MB.

        Raises:
            UserError: one of them is not allowed.
        """

        def number(name: str, default: float, least: float) -> float:
            text = environment.get(name) or str(default)
            try:
                if least <= (value := float(text)) < 1e9:
                    return value
            except ValueError:
                pass
            raise UserError(f"{name} is {text[:80]!r}; allowed: a number, at least {least:g}")

        return cls(
            Path(environment["RECORD"]),
            int(number("RECORD_ROWS", cls.rows, 1)),
            number("RECORD_MINUTES", cls.minutes, 0.001),
            int(number("RECORD_MAX_MB", cls.max_bytes / 1e6, 1) * 1e6),
        )


class Asked(NamedTuple):
    """A request that was answered, or refused with a status.

    Thousands of these wait. Python's garbage collector would look through all of them again and
    again, and so delay the answers; but not through plain tuples, in which there are only numbers,
    texts, bytes, arrays and tuples of such. So that is what waits.
    """

    request_id: str
    time: int  # microseconds since 1970, UTC
    rows: int
    weight: int  # bytes in memory, roughly
    status: int
    keys: tuple[tuple[str | None, ...], ...] = ()  # each column; empty where it was not sent
    start: int = 0  # see Scored
    together: Together | None = None  # None where it was refused


class Recorder:
    """Takes what is asked and answered, and writes it from a thread of its own."""

    def __init__(self, settings: Settings, known: Sidecar, registry: CollectorRegistry) -> None:
        """Make the folder, and start the thread.

        Args:
            settings: where to record, and when a file is closed.
            known: the sidecar of the model that answers.
            registry: gets the counters.

        Raises:
            UserError: nothing can be written there, whatever there is room for.
        """
        self.settings, self.known, self.schema = settings, known, record.schema(known)
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
            allowed = os.access(settings.folder, os.W_OK | os.X_OK)
        except OSError:
            allowed = False
        if not allowed:
            raise UserError(
                f"RECORD: {settings.folder}: this user may not write there, or it is no folder"
            )
        kind = self.schema.field("probabilities").type
        self.classes = [one.name for one in kind] if pa.types.is_struct(kind) else []
        self.instance, self.number = uuid4().hex[:12], 0
        self.waiting: deque[tuple[Any, ...]] = deque()  # each is an Asked
        # What was put in memory, counted by the thread that answers, and what is no longer there,
        # counted by the one that writes: so neither waits for the other.
        self.taken_rows = self.taken_bytes = 0
        self.gone_rows = self.gone_bytes = 0
        self.closed = False
        self.failing = False  # whether the last file could not be written
        self.unlisted = 0  # bytes that were written since the folder was last looked through
        self.recorded = Counter("recorded_rows", "Rows written to the record", registry=registry)
        self.lost = Counter(
            "lost_rows",
            "Rows that were not recorded (memory, error), or were removed for room (limit)",
            ["why"],
            registry=registry,
        )
        for why in ("memory", "error", "limit"):
            self.lost.labels(why)
        pending = Gauge("waiting_rows", "Rows that wait to be recorded", registry=registry)
        pending.set_function(lambda: self.rows)
        # Arrow's own pool gives memory back after each file, and gets it anew for the next one.
        pa.set_memory_pool(pa.system_memory_pool())
        self.wake = threading.Event()
        self.thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self.thread.start()

    @property
    def rows(self) -> int:
        """Return how many rows wait."""
        return self.taken_rows - self.gone_rows

    @property
    def held(self) -> int:
        """Return the bytes in memory, with those that are being written."""
        return self.taken_bytes - self.gone_bytes

    @property
    def full(self) -> bool:
        """Return whether there is enough for a file."""
        return self.rows >= self.settings.rows or self.held > self.settings.held_bytes / 2

    def answered(
        self, request_id: str, keys: Mapping[str, Sequence[str | None]], scored: Scored, size: int
    ) -> None:
        """Take a request that is answered now.

        Args:
            request_id: its id.
            keys: the columns of the key that came along.
            scored: its answers.
            size: that of its body in bytes.
        """
        # Every microsecond here is one of the answer's: the arrays are there, and no row is copied.
        told = tuple([tuple(keys.get(name, ())) for name in self.known.key])
        rows, together = len(scored.answers), scored.together
        weight = size + rows * (ROW_BYTES + len(together[0]) * ARRAY_BYTES // len(together[1]))
        self._add((request_id, _now(), rows, weight, 200, told, scored.start, together))

    def refused(self, request_id: str, status: int) -> None:
        """Take a request that is refused now."""
        self._add(tuple(Asked(request_id, _now(), 1, ROW_BYTES, status)))

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Write what waits; nothing more is taken."""
        self.closed = True
        self.wake.set()
        self.thread.join(seconds)
        if rows := self.rows:
            self.lost.labels("error").inc(rows)
            _say(f"{counted(rows, 'row')} could not be written, and {are(rows)} lost")

    def _add(self, asked: tuple[Any, ...]) -> None:
        rows, weight = asked[2:4]
        if self.closed or self.held + weight > self.settings.held_bytes:
            self.lost.labels("memory").inc(rows)
            return
        self.waiting.append(asked)
        self.taken_rows += rows
        self.taken_bytes += weight
        if self.full and not self.failing:
            self.wake.set()

    def _run(self) -> None:
        """Write a file when there are rows enough, or when it is time; then try again as well."""
        self._tidy()
        due = time.monotonic() + self.settings.minutes * 60
        while True:
            self.wake.wait(max(0.0, due - time.monotonic()))
            self.wake.clear()
            last = self.closed
            late = last or time.monotonic() >= due
            waited = self.rows if late else 0  # what comes while this is written waits its turn
            while waited > 0 or (not self.failing and self.full):
                waited -= self._write_next()
                if self.failing:
                    break
            if last:
                return
            if late:
                due = time.monotonic() + self.settings.minutes * 60

    def _write_next(self) -> int:
        """Write the next file; where that fails, what belongs in it waits on. Return its rows."""
        group: list[Asked] = []
        count = 0
        while count < self.settings.rows and self.waiting:
            group.append(Asked._make(self.waiting.popleft()))
            count += group[-1].rows
        try:
            path = record.write(
                self.settings.folder, self._table(group), self.instance, self.number
            )
        except OSError as error:
            if not self.failing:
                why = os.strerror(error.errno) if error.errno else error
                _say(f"cannot write: {why}; rows wait in memory")
            self.failing = True
            self.waiting.extendleft(map(tuple, reversed(group)))
            return 0
        except Exception as error:  # a mistake of ours, which would come again
            _say(f"{counted(count, 'row')} {are(count)} lost: {error!r}"[:500])
            self.lost.labels("error").inc(count)
        else:
            if self.failing:
                _say("can write again")
            self.failing = False
            self.recorded.inc(count)
            self.unlisted += path.stat().st_size
        self.number += 1
        self.gone_rows += count
        self.gone_bytes += sum(asked.weight for asked in group)
        if self.unlisted > self.settings.max_bytes / 10:
            self._tidy()
        return count

    def _table(self, group: list[Asked]) -> pa.Table:
        """Return requests in the form of the record."""
        batches = []
        for start in range(0, len(group), GROUP):
            batches += self._batches(group[start : start + GROUP])
            time.sleep(0)  # lets the threads that answer run
        return pa.Table.from_batches(batches, self.schema)

    def _batches(self, group: list[Asked]) -> list[pa.RecordBatch]:
        """Return those that were answered, and those that were refused."""
        done = [asked for asked in group if asked.status == 200]
        refused = [asked for asked in group if asked.status != 200]
        batches = []
        if done:
            columns, predicted, scores = _arrays(done)
            told: dict[str, Any] = {"rows": self._rows(done, columns), "prediction": predicted}
            if self.known.task != "regression":
                told["prediction"] = _texts(predicted)
            if scores is not None:
                shares = [pa.array(share) for share in scores.T]
                told["probabilities"] = pa.StructArray.from_arrays(shares, self.classes)
            batches.append(self._batch(done, told))
        if refused:
            why = [record.REFUSED.get(asked.status, "other") for asked in refused]
            batches.append(self._batch(refused, {"refused": why}))
        return batches

    def _batch(self, group: list[Asked], columns: dict[str, Any]) -> pa.RecordBatch:
        """Return the rows of requests; columns that are not given are null."""
        counts = [asked.rows for asked in group]
        place = pa.array(np.repeat(np.arange(len(group)), counts))
        total = sum(counts)
        columns |= {
            "request_id": pa.array([asked.request_id for asked in group]).take(place),
            "row": _places(counts),
            "time": np.repeat([asked.time for asked in group], counts),
            "model": pa.repeat(self.known.model.sha256, total),
        }
        arrays = [
            _array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(total, field.type)
            for field in self.schema
        ]
        return pa.record_batch(arrays, self.schema)

    def _rows(self, group: list[Asked], columns: list[np.ndarray]) -> pa.Array:
        """Return what the model was given, and the key."""
        kind = self.schema.field("rows").type
        if pa.types.is_null(kind):
            return pa.nulls(sum(asked.rows for asked in group))
        values: dict[str, Any] = {
            one.name: column for one, column in zip(self.known.features, columns, strict=True)
        }
        for at, name in enumerate(self.known.key):
            values[name] = [
                text for asked in group for text in asked.keys[at] or [None] * asked.rows
            ]
        arrays = [_array(values[field.name], field.type) for field in kind]
        return pa.StructArray.from_arrays(arrays, fields=list(kind))

    def _tidy(self) -> None:
        """Remove drafts that were left, and beyond the limit of size the oldest files."""
        self.unlisted = 0
        try:
            found = sorted(self.settings.folder.glob("*.parquet"))
            for draft in self.settings.folder.glob(".*.parquet.*.tmp"):
                if time.time() - draft.stat().st_mtime > DRAFT_SECONDS:
                    draft.unlink()
            closed = [(path, path.stat().st_size) for path in found if record.closed(path.name)]
            surplus = sum(size for _, size in closed) - self.settings.max_bytes
            rows = 0
            for path, size in closed[:-1]:
                if surplus <= 0:
                    break
                rows += pa.parquet.read_metadata(path).num_rows
                path.unlink()
                surplus -= size
        except (OSError, pa.ArrowException) as error:  # such as a file that was collected just now
            _say(f"cannot look through the folder: {error}")
            return
        if rows:
            self.lost.labels("limit").inc(rows)
            gone = f"{counted(rows, 'row')} {are(rows)} removed, the oldest"
            _say(f"{gone}, as RECORD_MAX_MB is reached; run `make collect` more often")


def _arrays(group: list[Asked]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray | None]:
    """Return the columns, predictions and probabilities of requests, one after the other."""
    parts: list[Any] = []
    starts: list[int] = []  # of each request, among the rows of all parts
    total = 0
    for _, together in groupby(group, key=lambda asked: id(asked.together)):
        sharing = list(together)
        parts.append(sharing[0].together)
        starts += [total + asked.start for asked in sharing]
        total += len(parts[-1][1])
    columns, predicted, scores = zip(*parts, strict=True)
    counts = [asked.rows for asked in group]
    at: Any = np.repeat(starts, counts) + _places(counts)
    if len(at) == total and (np.diff(at) == 1).all():
        at = slice(None)  # all rows, as they are: nothing to copy
    given: list[np.ndarray] = []
    for same in zip(*columns, strict=True):
        joined = np.empty((*same[0].shape[1:], total), same[0].dtype)  # each column in one piece
        np.concatenate([part.T for part in same], axis=-1, out=joined)
        given += list(np.atleast_2d(joined[..., at]))
    return (
        given,
        np.concatenate(predicted).ravel()[at],
        None if scores[0] is None else np.concatenate(scores)[at],
    )


def _texts(classes: np.ndarray) -> pa.Array:
    """Return classes as texts: each class is converted once."""
    coded = pa.array(classes).dictionary_encode()
    return pa.array(map(str, coded.dictionary.to_pylist()), pa.string()).take(coded.indices)


def _places(counts: list[int]) -> np.ndarray:
    """Return 0, 1, ... for the rows of each request."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) - np.repeat(ends - counts, counts)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """Return an Arrow array; NaN becomes null, and where the type is a truth value 1 is true."""
    if isinstance(values, pa.Array):
        return values
    mask = None
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        mask = np.isnan(values)
        values = values.astype(bool) if pa.types.is_boolean(kind) else values
        mask = mask if mask.any() else None  # without one nothing is copied
    return pa.array(values, kind, mask=mask)


def _now() -> int:
    return time.time_ns() // 1000


def _say(what: str) -> None:
    print(f"record: {plain(what)}", file=sys.stderr, flush=True)
