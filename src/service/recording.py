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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from prometheus_client import CollectorRegistry, Counter, Gauge

from src.service.requests import Checked
from src.shared import record
from src.shared.errors import UserError, plain
from src.shared.sidecar import Sidecar

ROW_BYTES = 500  # what a row takes in memory, roughly, besides its part of the body
GROUP = 1_000  # requests that are converted at a time, so that answers need not wait for Python
LAST_SECONDS = 10.0  # to write the rest in, when the service stops
DRAFT_SECONDS = 3600.0  # a draft that is older was left by a process that was killed
PROBABILITIES = itemgetter("probabilities")


@dataclass(frozen=True)
class Settings:
    """Where to record, and when a file is closed."""

    folder: Path
    rows: int = 10_000
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
    status: int = 200
    numbers: bytes = b""  # float64, one such feature after the other
    others: tuple[np.ndarray, ...] = ()  # the other features, each of shape (rows,)
    keys: tuple[tuple[str | None, ...], ...] = ()  # each column; empty where it was not sent
    predicted: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] = ()  # one row after the other


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
        self.answer = itemgetter("value" if known.task == "regression" else "class")
        kept = [one for one in known.features if one.name not in known.unrecorded]
        self.numbers = [one.name for one in kept if one.kind in ("numeric", "boolean")]
        self.others = [one.name for one in kept if one.kind in ("date", "categorical")]
        self.instance, self.number = uuid4().hex[:12], 0
        self.lock = threading.Lock()  # for the four below; never held for longer than a moment
        self.waiting: deque[tuple[Any, ...]] = deque()  # each is an Asked
        self.rows = 0  # that wait
        self.held = 0  # bytes, with those that are being written
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

    def answered(
        self, request_id: str, checked: Checked, answers: Sequence[dict[str, Any]], size: int
    ) -> None:
        """Take a request that is answered now; `size` is that of its body in bytes."""
        # Every microsecond here is one of the answer's.
        rows, columns = len(answers), checked.columns
        numbers: Iterable[Any] = map(columns.__getitem__, self.numbers)
        told = map(PROBABILITIES, answers) if self.classes else ()
        self._add(
            Asked(
                request_id,
                _now(),
                rows,
                size + rows * ROW_BYTES,
                200,
                b"".join(numbers),
                tuple(map(columns.__getitem__, self.others)),
                tuple([tuple(checked.keys.get(name, ())) for name in self.known.key]),
                tuple(map(self.answer, answers)),
                tuple(chain.from_iterable(map(dict.values, told))),
            )
        )

    def refused(self, request_id: str, status: int) -> None:
        """Take a request that is refused now."""
        self._add(Asked(request_id, _now(), 1, ROW_BYTES, status))

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Write what waits; nothing more is taken."""
        with self.lock:
            self.closed = True
        self.wake.set()
        self.thread.join(seconds)
        if rows := self.rows:
            self.lost.labels("error").inc(rows)
            _say(f"{rows} rows could not be written, and are lost")

    def _add(self, asked: Asked) -> None:
        with self.lock:
            taken = not self.closed and self.held + asked.weight <= self.settings.held_bytes
            if taken:
                self.waiting.append(tuple(asked))
                self.rows += asked.rows
                self.held += asked.weight
            full = self.rows >= self.settings.rows
        if not taken:
            self.lost.labels("memory").inc(asked.rows)
        elif full and not self.failing:
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
            while waited > 0 or (not self.failing and self.rows >= self.settings.rows):
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
        with self.lock:
            for asked in map(Asked._make, self.waiting):
                if count >= self.settings.rows:
                    break
                group.append(asked)
                count += asked.rows
        try:
            path = record.write(
                self.settings.folder, self._table(group), self.instance, self.number
            )
        except OSError as error:
            if not self.failing:
                _say(f"cannot write: {error.strerror or error}; rows wait in memory")
            self.failing = True
            return 0
        except Exception as error:  # a mistake of ours, which would come again
            _say(f"{count} rows are lost: {error!r}"[:500])
            self.lost.labels("error").inc(count)
        else:
            if self.failing:
                _say("can write again")
            self.failing = False
            self.recorded.inc(count)
            self.unlisted += path.stat().st_size
        self.number += 1
        with self.lock:
            for asked in group:
                self.waiting.popleft()
                self.held -= asked.weight
            self.rows -= count
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
            predicted = list(chain.from_iterable(asked.predicted for asked in done))
            columns = {"rows": self._rows(done), "prediction": predicted}
            if self.known.task != "regression":
                columns["prediction"] = list(map(str, predicted))
            if self.classes:
                told = chain.from_iterable(asked.probabilities for asked in done)
                scores = np.fromiter(told, np.float64).reshape(-1, len(self.classes))
                arrays = [pa.array(scores[:, at]) for at in range(len(self.classes))]
                columns["probabilities"] = pa.StructArray.from_arrays(arrays, self.classes)
            batches.append(self._batch(done, columns))
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
            "row": np.concatenate([np.arange(count, dtype="int32") for count in counts]),
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

    def _rows(self, group: list[Asked]) -> pa.Array:
        """Return what the model was given, and the key."""
        kind = self.schema.field("rows").type
        if pa.types.is_null(kind):
            return pa.nulls(sum(asked.rows for asked in group))
        values: dict[str, Any] = {}
        if self.numbers:
            parts = [np.frombuffer(asked.numbers).reshape(-1, asked.rows) for asked in group]
            numbers = np.concatenate(parts, axis=1)
            values |= dict(zip(self.numbers, numbers, strict=True))
        others = zip(*(asked.others for asked in group), strict=True)
        for name, columns in zip(self.others, others, strict=True):
            values[name] = np.concatenate(columns)
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
            _say(f"{rows} rows are removed, the oldest, as RECORD_MAX_MB is reached; collect them")


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
