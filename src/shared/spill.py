"""A table that waits in a file, batch by batch, while it is decided what becomes of its rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from src.shared import files


class Spill:
    """Batches of one table in a file, written once, then read as often as one likes.

    Reading the raw files again would take several times as long: texts are turned into values once.
    Nothing is compressed, which would save a third of the disk and take five times as long.
    """

    def __init__(self, path: Path) -> None:
        """Take the file to write."""
        self.path = path
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        if self._writer is None:
            self._file = pa.OSFile(str(self.path), "wb")
            self._writer = pa.ipc.new_file(self._file, batch.schema)
        self._writer.write_batch(batch)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._read(None)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return all rows of a column; the others are not read."""
        # What Arrow has read of a batch keeps room for all of its columns. Putting an array and an
        # empty one together makes a copy.
        copies = [pa.concat_arrays([part, part.slice(0, 0)]) for part in self.parts(name)]
        return pa.chunked_array(copies)

    def parts(self, name: str) -> Iterator[pa.Array]:
        """Yield all rows of a column, batch by batch."""
        for batch in self._read([name]):
            yield batch[name]

    def _read(self, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        self.close()
        # Not as a memory map, whose pages would count as the process's own.
        with pa.OSFile(str(self.path)) as file:
            options = None
            if names is not None:
                schema = pa.ipc.open_file(file).schema
                at = [schema.get_field_index(name) for name in names]
                options = pa.ipc.IpcReadOptions(included_fields=at)
            batches = pa.ipc.open_file(file, options=options)
            for number in range(batches.num_record_batches):
                yield batches.get_batch(number)

    def close(self) -> None:
        """Finish writing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._file:
                writer.close()


@contextmanager
def spilled(path: Path) -> Iterator[Spill]:
    """Return an empty `Spill` whose file is removed at the end."""
    with files.temporary(path):
        spill = Spill(path)
        try:
            yield spill
        finally:
            spill.close()
