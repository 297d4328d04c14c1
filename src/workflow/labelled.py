"""The rows that came in and have got a label since: the record, joined with a table of labels."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute

from src.monitoring import labels
from src.shared.errors import UserError
from src.shared.params import Data
from src.shared.raw import Raw

REQUEST = ("request_id", "row")  # what tells rows apart where there is no key

Place = tuple[str, ...]  # of a row: its key, or its request and number, as text
Row = dict[str, str]  # by column, as a CSV file has it; empty where a value is missing


def read_labels(address: str, target: str, raw: Raw) -> list[Row]:
    """Read the table of labels, which is written as the raw data is; numbers with a point.

    Args:
        address: of a CSV or Parquet file, here or in a store.
        target: the name of the column that has the labels.
        raw: the raw data.

    Returns:
        The rows that have a label.

    Raises:
        UserError: it cannot be read, or has no such column.
    """
    table = labels.read_texts(address, raw.form)
    if target not in table:
        raise UserError(f"{address}: has no column '{target}', the target")
    table = table[~table[target].isin(raw.form.absent)]
    for name in table.columns.intersection(list(raw.kinds)):
        if raw.kinds[name] in ("whole", "number"):
            table[name] = table[name].str.replace(raw.form.decimal, ".", regex=False)
    names = [str(name) for name in table.columns]
    return [Row(zip(names, row, strict=True)) for row in table.itertuples(index=False)]


def choose_places(found: Sequence[Row], data: Data, address: str) -> tuple[str, ...]:
    """Return the columns that say which rows the labels are of: the request's, or the key's.

    Raises:
        UserError: the table of labels has neither.
    """
    columns = found[0].keys() if found else {*REQUEST}
    names = REQUEST if REQUEST[0] in columns else tuple(data.key or ())
    if names and columns >= set(names):
        return names
    wanted = " and ".join(data.key or REQUEST)
    raise UserError(f"{address}: has no column {wanted}, which says what row a label is of")


def by_place(
    read: Iterable[Row], names: Sequence[str], target: str, left_out: Counter[str]
) -> dict[Place, Row]:
    """Return the labels by the row that they are of, without those that contradict each other.

    Args:
        read: the labels, as `read_labels` gives them.
        names: the columns that say which row it is.
        target: the column with the label.
        left_out: counts the rows that are left out, by reason.
    """
    found: dict[Place, Row] = {}
    contradicted = set()
    for row in read:
        place = tuple(row[name] for name in names)
        if all(place) and found.setdefault(place, row)[target] != row[target]:
            contradicted.add(place)
    if contradicted:
        left_out["have two labels"] = len(contradicted)
    return {place: row for place, row in found.items() if place not in contradicted}


def join(
    tables: Iterable[pa.Table], known: Mapping[Place, Row], names: tuple[str, ...]
) -> list[Row]:
    """Return the rows of the record that have a label: what the model was given, and the label.

    A row that was asked about several times is there as it was the last time.

    Args:
        tables: of the record.
        known: the labels, by place.
        names: the columns that say which row it is.
    """
    found: dict[Place, tuple[object, Row]] = {}
    for table in tables:
        table = table.filter(pa.compute.is_valid(table["rows"]))
        if not len(table):
            continue
        rows = pa.Table.from_struct_array(table["rows"])
        source = table if names == REQUEST else rows
        if not set(names) <= set(source.column_names):
            continue  # of a model that had no such key
        places = list(zip(*(_texts(source[name]) for name in names), strict=True))
        at = pa.array([n for n, place in enumerate(places) if place in known], pa.int64())
        texts = {name: _texts(rows[name].take(at)) for name in rows.column_names}
        times = table["time"].take(at).to_pylist()
        for number, (one, time) in enumerate(zip(at.to_pylist(), times, strict=True)):
            place = places[one]
            if place not in found or found[place][0] <= time:
                row = {name: column[number] for name, column in texts.items()}
                label = {name: text for name, text in known[place].items() if name not in names}
                found[place] = time, label | row
    return [row for _, row in found.values()]


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Return values as a CSV file has them."""
    if pa.types.is_timestamp(column.type):
        texts = column.cast(pa.string()).to_pylist()
        return [(text or "").removesuffix(".000000").removesuffix(" 00:00:00") for text in texts]
    return ["" if value is None or value != value else str(value) for value in column.to_pylist()]
