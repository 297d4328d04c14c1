"""Tables: the splits that the pipeline makes, and what is noted of their columns."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet

from src.shared import files
from src.shared.errors import UserError
from src.shared.paths import DVC_LOCK

if TYPE_CHECKING:
    import pandas as pd

# Where pyarrow has it (Linux), it reads millions of rows in half the time that its default takes.
if "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())

# Rows of a split that are stored together, and that are read at once: few enough for memory, and
# enough for speed.
ROW_GROUP, ROWS = 200_000, 100_000

# What is noted of a column: how many numbers were written as 007.
ZEROS = b"leading_zeros"

# What is noted of a split that comes from Parquet files, in which a text such as NA is a text.
PARQUET = {b"raw": b"parquet"}


class Split:
    """One of the splits that `prepare` writes, of which a part is read at a time.

    Attributes:
        names: of its columns.
        texts: the names of those that hold text.
        file: as PyArrow reads it.
    """

    def __init__(self, path: Path, *columns: str) -> None:
        """Open a split.

        Args:
            path: the split's file.
            columns: names of columns that it must have.

        Raises:
            UserError: the file is missing, is not the one that dvc.lock names, is not a Parquet
                file or lacks one of the columns.
        """
        files.require_recorded(path, DVC_LOCK, "run `dvc repro -f prepare`")
        self.path = path
        with self._intact():
            self.file = pa.parquet.ParquetFile(path)
        schema = self.file.schema_arrow
        self.names = list(schema.names)
        kinds = pa.string(), pa.large_string()
        self.texts = [name for name in self.names if schema.field(name).type in kinds]
        lacking = ", ".join(name for name in columns if name not in self.names)
        if lacking:
            raise UserError(f"{path.as_posix()}: lacks the column {lacking}; run `dvc repro`")

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.file.metadata.num_rows)

    def __getitem__(self, name: str) -> "pd.Series":
        """Read one column."""
        return self.columns(name)[name]

    def columns(self, *names: str) -> "pd.DataFrame":
        """Read some columns; without names all. Their types are those that `read_split` gives."""
        with self._intact():
            return to_frame(self.file.read(list(names or self.names)))

    def batches(self, *names: str) -> "Iterator[pd.DataFrame]":
        """Read some columns, or all, at most `ROWS` at once, with the types of the whole."""
        with self._intact():
            for batch in self.file.iter_batches(ROWS, columns=list(names or self.names)):
                yield to_frame(pa.Table.from_batches([batch]))

    def parts(self, name: str) -> "Iterator[pd.Series]":
        """Read one column, at most `ROWS` rows at once."""
        for batch in self.batches(name):
            yield batch[name]

    def none(self) -> "pd.DataFrame":
        """Return the split without its rows: names and types."""
        return to_frame(self.file.schema_arrow.empty_table())

    @contextmanager
    def _intact(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowInvalid):
            where = self.path.as_posix()
            raise UserError(f"{where}: missing or damaged; run `dvc repro`") from None


def read_split(path: Path, *columns: str) -> "pd.DataFrame":
    """Read one of the splits that `prepare` writes, all of it.

    Args:
        path: the split's file.
        columns: names of columns that it must have.

    Returns:
        Whole numbers and booleans with missing values, in this split or the other, as Int64 and
        boolean: exact, and the same type in both.

    Raises:
        UserError: as `Split` does.
    """
    return Split(path, *columns).columns()


def to_frame(table: pa.Table) -> "pd.DataFrame":
    """Turn a table into a DataFrame, without a loss where values are missing."""
    import pandas as pd

    frame = table.replace_schema_metadata().to_pandas(integer_object_nulls=True)
    kinds = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    gaps = [field.name for field in table.schema if field.nullable and field.type in kinds]
    exact = table.select(gaps).replace_schema_metadata().to_pandas(types_mapper=kinds.get)
    return frame.assign(**{name: exact[name] for name in gaps})


def listed(names: Iterable[str]) -> str:
    """List names; those whose blanks or emptiness would not be seen in quotes."""
    return ", ".join(name if name and name == name.strip() else f"'{name}'" for name in names)


def require_column(name: str, names: Iterable[str], path: Path, setting: str) -> None:
    """Stop with the nearest right name where a table lacks a column.

    Args:
        name: the column that is looked for.
        names: the columns that the table has.
        path: the table's file, for the message.
        setting: the key of params.yaml that names the column, for the message.

    Raises:
        UserError: `name` is not among `names`.
    """
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has: {listed(names)[:200]}"
        raise UserError(f"{path.as_posix()}: no column '{name}' ({setting} in params.yaml); {hint}")


def require_distinct(names: Sequence[str], where: str) -> None:
    """Stop where a table has two columns of the same name.

    Args:
        names: of its columns.
        where: its file, for the message.

    Raises:
        UserError: a name stands twice.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{where}: column names stand twice: {listed(twice)}")


class RowGroups:
    """A Parquet file that is written in row groups of `ROW_GROUP` rows, however many come at once.

    So the file is the same however its rows come, and who reads it need not hold it whole. A group
    is written while the next one comes.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Take the file to write, and the schema of its rows."""
        self.file = pa.parquet.ParquetWriter(path, schema)
        self.waiting: list[pa.Table] = []
        self.writer = ThreadPoolExecutor(max_workers=1)
        self.written = self.writer.submit(lambda: None)

    def __enter__(self) -> "RowGroups":
        return self

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self.waiting.append(table)
        while self._rows() >= ROW_GROUP:
            self._write_group()

    def _rows(self) -> int:
        return sum(len(table) for table in self.waiting)

    def _write_group(self) -> None:
        rows = pa.concat_tables(self.waiting)
        group = rows.slice(0, ROW_GROUP).combine_chunks()
        self.waiting = [rows.slice(ROW_GROUP)]
        self.written.result()  # no more than one waits, and what went wrong is raised
        self.written = self.writer.submit(self.file.write_table, group)

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self._rows():
                self._write_group()
            if kind is None:
                self.written.result()
        finally:
            self.writer.shutdown()
            self.file.close()


def marked(schema: pa.Schema, gaps: Iterable[str], zeros: Mapping[str, str]) -> pa.Schema:
    """Return a schema in which a column is nullable where values are missing, and nowhere else.

    Args:
        schema: of the table.
        gaps: the columns in which values are missing.
        zeros: for columns, the note `ZEROS`.
    """
    gaps = set(gaps)
    notes = {name: {ZEROS: count} for name, count in zeros.items()}
    return pa.schema(
        [
            field.with_nullable(field.name in gaps).with_metadata(notes.get(field.name))
            for field in schema
        ]
    )


def is_from_csv(path: Path) -> bool:
    """Tell whether the raw table of a split was written as CSV."""
    return not PARQUET.items() <= (pa.parquet.read_schema(path).metadata or {}).items()


def notes(schema: pa.Schema, key: bytes) -> dict[str, str]:
    """Return the notes that are kept with columns, such as `ZEROS`."""
    return {
        field.name: field.metadata[key].decode()
        for field in schema
        if field.metadata and key in field.metadata
    }
