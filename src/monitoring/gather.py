"""What the service was asked, as the record has it: the rows of the model that is here."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from src.shared.measure import Predictions
from src.shared.sidecar import Sidecar

REQUEST, ROW = "request_id", "row"


@dataclass(frozen=True)
class Asked:
    """Rows that the service was asked and one model answered.

    Attributes:
        ids: `request_id` and `row`, shape (rows, 2).
        keys: the columns that say which row is which, as texts; shape (rows, keys), maybe none.
        times: when each was answered, in UTC, shape (rows,).
        frame: the features that are recorded, shape (rows, features).
        said: the answers; `actual` is None before labels are joined, shape (rows,).
    """

    ids: pd.DataFrame
    keys: pd.DataFrame
    times: np.ndarray
    frame: pd.DataFrame
    said: Predictions

    def take(self, rows: np.ndarray) -> "Asked":
        """Return some of the rows, whose numbers or mask this is."""
        ids, keys, frame = (table.iloc[rows] for table in (self.ids, self.keys, self.frame))
        return Asked(ids, keys, self.times[rows], frame, self.said.take(rows))


@dataclass(frozen=True)
class Record:
    """A record, or the latest part of it.

    Attributes:
        asked: what the model that is here answered; None if nothing.
        refused: the time of each request that was refused, whatever the model, shape (requests,).
        answered: the time of each row that was answered, whatever the model, shape (rows,).
        requests: the time of each request that was answered, shape (requests,).
        others: how many rows each other model answered, by its hash.
    """

    asked: Asked | None
    refused: np.ndarray
    answered: np.ndarray
    requests: np.ndarray
    others: Counter[str]

    @property
    def times(self) -> np.ndarray:
        """When rows were answered or requests refused, whatever the model."""
        return np.concatenate([self.answered, self.refused])


def earlier(parts: Iterable[pa.Table], until: datetime) -> Iterator[pa.Table]:
    """Yield the rows of a record before a moment."""
    for part in parts:
        kept = part.filter(pa.compute.field("time") < pa.scalar(until, part["time"].type))
        if len(kept):
            yield kept


def gather(parts: Iterable[pa.Table], known: Sidecar) -> Record:
    """Gather the files of a record, each of one model.

    Args:
        parts: as `src.shared.record.read` yields them.
        known: the sidecar of the model that is here.
    """
    mine, others = [], Counter[str]()
    refused, answered, requests = [np.array([], "datetime64[us]")], [], []
    for part in parts:
        times = part["time"].to_numpy().astype("datetime64[us]")
        was_refused = part["refused"].is_valid().to_numpy()
        refused.append(times[was_refused])
        answered.append(times[~was_refused])
        requests.append(times[~was_refused & (part[ROW].to_numpy() == 0)])
        kept, model = part.filter(pa.array(~was_refused)), part["model"][0].as_py()
        if model == known.model.sha256:
            mine.append(kept)
        elif len(kept):
            others[model] += len(kept)
    whole = pa.concat_tables(mine) if mine else None
    asked = _asked(whole, known) if whole is not None and len(whole) else None
    none = refused[:1]
    return Record(
        asked,
        np.concatenate(refused),
        np.concatenate(none + answered),
        np.concatenate(none + requests),
        others,
    )


def _asked(table: pa.Table, known: Sidecar) -> Asked:
    rows = table["rows"].combine_chunks()
    held = dict(zip(rows.type.names, rows.flatten(), strict=True)) if rows.type.num_fields else {}
    ids = table.select([REQUEST, ROW]).to_pandas()

    def choose(names: Iterable[str]) -> pd.DataFrame:
        found = {name: held[name].to_pandas() for name in names if name in held}
        return pd.DataFrame(found, index=ids.index)

    frame = choose(feature.name for feature in known.features)
    times = table["time"].to_numpy().astype("datetime64[us]")
    return Asked(ids, choose(known.key), times, frame, _said(table, known))


def _said(table: pa.Table, known: Sidecar) -> Predictions:
    """Return the answers, without labels as yet."""
    nothing = np.full(len(table), None, dtype=object)
    if known.classes is None:
        return Predictions(nothing, table["prediction"].to_numpy())
    labels = {str(label): label for label in known.classes}
    predicted = np.array([labels[text] for text in table["prediction"].to_pylist()])
    binary = known.task == "binary"
    order = (
        sorted(known.classes, key=lambda one: one == known.positive) if binary else known.classes
    )
    shares = table["probabilities"].combine_chunks()
    scores = None
    if shares.type.num_fields:
        by_name = dict(zip(shares.type.names, shares.flatten(), strict=True))
        scores = np.column_stack([by_name[str(label)].to_numpy(False) for label in order])
    return Predictions(nothing, predicted, order, scores, scores is not None, binary)
