"""The record: what the service was asked, and what it answered.

The service writes it (`RECORD=folder`), `make collect` moves it, src/monitoring reads it. It is a
folder of Parquet files, each there whole or not at all:

    20261125T174800123456Z-3f9a0c12de45-000007.parquet

The UTC time at which the file was closed (no row in it is later), the process that wrote it, and
the number of the file in that process. So names sort by time, and no two are equal. A name with a
dot before it is a draft: half of a file, left by a process that was killed.

A file is of one model, and holds requests whole. It has a row for each row that was asked, and one
for each request that was refused, with the columns

    request_id     string           as the answer's header X-Request-Id has it
    row            int32            which of the request's rows, from 0; 0 where it was refused
    time           timestamp[us, UTC]  when it was answered
    model          string           the model's SHA-256, as in its sidecar
    rows           struct           what the model was given, and the key; null where refused
    prediction     string, double   the class as text, or a regression's value; null where refused
    probabilities  struct           of each class, by its name; null where there are none
    refused        string           why, in one of the words of `REFUSED`; null where answered

`rows` has a field for each feature: double (numeric), bool (boolean), timestamp[us] (date), string
(categorical); and a string for each column of `data.key`, as the client wrote it, null where it
did not: 501 and "501" are both "501". Columns of `monitor.leave_out` are not there; where that
leaves none, the type is null. The type of `probabilities` is null too where the model has none.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from src.shared.errors import UserError
from src.shared.sidecar import Sidecar

TYPES = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.timestamp("us"),
    "categorical": pa.string(),
}

# Why a request was refused, by the status of the answer: our words, never a client's.
REFUSED = {
    400: "not readable",
    408: "too slow",
    413: "too large",
    415: "neither JSON nor CSV",
    422: "wrong fields",
    500: "internal error",
    503: "busy",
}

NAME = re.compile(r"(\d{8}T\d{12}Z)-[0-9a-f]{12}-\d{6,}\.parquet")
COLUMNS = {"request_id", "row", "time", "model", "rows", "prediction", "refused"}
TIME = "%Y%m%dT%H%M%S%fZ"


def schema(known: Sidecar) -> pa.Schema:
    """Return the columns of a model's record.

    Args:
        known: the model's sidecar.
    """
    names = [one for one in known.key if one not in known.unrecorded]
    fields = {one.name: TYPES[one.kind] for one in known.features}
    fields = {name: kind for name, kind in fields.items() if name not in known.unrecorded}
    classes = known.example.answer.get("probabilities", {})
    return pa.schema(
        {
            "request_id": pa.string(),
            "row": pa.int32(),
            "time": pa.timestamp("us", "UTC"),
            "model": pa.string(),
            "rows": _struct(dict.fromkeys(names, pa.string()) | fields),
            "prediction": pa.float64() if known.task == "regression" else pa.string(),
            "probabilities": _struct(dict.fromkeys(classes, pa.float64())),
            "refused": pa.string(),
        }
    )


def _struct(fields: dict[str, Any]) -> pa.DataType:
    return pa.struct(list(fields.items())) if fields else pa.null()  # Parquet has no empty one


def write(folder: Path, table: pa.Table, instance: str, number: int) -> Path:
    """Write a file of the record; it is on the disk when this returns.

    Args:
        folder: the record's.
        table: rows in the form of `schema`, at least one.
        instance: the process, as 12 hexadecimal digits.
        number: of the file, no two of a process the same.

    Returns:
        The file.

    Raises:
        OSError: it could not be written, and is not there.
    """
    latest = pa.compute.max(table["time"]).as_py()
    closed = max(datetime.now(UTC), latest)  # a clock may have been set back
    path = folder / f"{closed.strftime(TIME)}-{instance}-{number:06}.parquet"
    # Looking for repeated numbers would take twice the time, and save nothing. LZ4 takes two thirds
    # of the time of Zstandard, and a fifth more room.
    texts = [one.name for one in table.schema if pa.types.is_string(one.type)]
    if pa.types.is_struct(kind := table.schema.field("rows").type):
        texts += [f"rows.{one.name}" for one in kind if pa.types.is_string(one.type)]
    # Arrow opens it once more: to write into a file of Python's, it waits for Python's lock.
    with whole(path) as file, pa.OSFile(file.name, "wb") as arrow:
        pa.parquet.write_table(
            table,
            arrow,
            compression="lz4",
            use_dictionary=texts,
            write_statistics=False,
            write_batch_size=len(table),
        )
    return path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that is there, and outlasts a loss of power, once the block succeeds."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        with contextlib.suppress(OSError):  # the file is there
            os.fsync(folder)
        os.close(folder)


def read(folder: str | Path, since: datetime | None = None) -> Iterator[pa.Table]:
    """Read a record, file by file, in the order of time. A request in two files counts once.

    Args:
        folder: a folder, here or at an s3:// address, with those in it.
        since: with a time zone; only rows from then on are read.

    Yields:
        The rows of a file, in the form of `schema`: all of one model, but the next table may be of
        another, with other `rows`. None is empty.

    Raises:
        UserError: there is no such folder, or a file in it is damaged or of another kind.
    """
    from src.shared import store

    with store.reached(str(folder)):
        system, path = store.folder(str(folder))
        paths = [one for one in system.find(path) if closed(one)]
        if not paths and not system.isdir(path):
            raise UserError(f"{folder}: no such folder")
    seen: set[str] = set()
    for path in sorted(paths, key=lambda one: (one.rpartition("/")[2], one)):
        name = NAME.fullmatch(path.rpartition("/")[2])
        if since and name and datetime.strptime(name[1], TIME).replace(tzinfo=UTC) < since:
            continue
        with store.reached(path):
            content = system.cat_file(path)
        try:
            table = pa.parquet.read_table(pa.BufferReader(content))
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"{path}: damaged ({reason}); remove it") from None
        if COLUMNS - {*table.column_names}:
            raise UserError(f"{path}: not a file of a record; keep it elsewhere")
        ids = table["request_id"].to_pylist()
        table = table.filter(pa.array([one not in seen for one in ids], pa.bool_()))
        seen.update(ids)
        if since:
            table = table.filter(pa.compute.field("time") >= pa.scalar(since, table["time"].type))
        if len(table):
            yield table


def closed(path: str) -> bool:
    """Return whether a name is that of a whole file, and not that of a draft."""
    name = path.rpartition("/")[2]
    return name.endswith(".parquet") and not name.startswith(".")
