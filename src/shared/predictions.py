"""models/predictions.parquet: what a model says of each row of its test split, and which row it is.

So two models can be compared on the rows that both tested, without loading either of them.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.shared.measure import Array, Predictions
from src.shared.tables import Split

if TYPE_CHECKING:
    import pandas as pd

ROW, REPEAT, UNIT, ACTUAL, PREDICTED = "row_hash", "repeat", "unit", "actual", "predicted"
PROBABILITY, SCORE, SLICE = "probability_", "score_", "slice_"


def long_numbers(test: Split) -> list[str]:
    """List the columns of whole numbers of which some are too long for a float."""
    import pandas as pd

    kinds = test.none().dtypes
    whole = [name for name in test.names if pd.api.types.is_integer_dtype(kinds[name])]
    return [name for name in whole if _is_long(test[name])]


def _is_long(column: "pd.Series") -> bool:
    from pandas.api.types import is_integer_dtype

    return is_integer_dtype(column) and bool((column.abs() > 2**53).any())


def row_hashes(frame: "pd.DataFrame", long: Collection[str] | None = None) -> Array:
    """Return a hash of what each row holds, 64 bits, shape (rows,).

    It does not depend on the order of the columns, nor on whether whole numbers are stored as such:
    a column becomes one of floats when a first value is missing. A test holds its values, so that
    another version of pandas cannot change them unseen.

    Args:
        frame: the rows.
        long: what `long_numbers` gave for the split of which they are a batch.
    """
    import pandas as pd

    plain = {}
    for name in sorted(map(str, frame.columns)):
        column = frame[name]
        if _is_long(column) if long is None else name in long:
            column = column.astype(str)  # as floats, neighbours would be the same
        elif pd.api.types.is_numeric_dtype(column):  # booleans too
            column = column.astype("float64") + 0.0  # no negative zero
        elif pd.api.types.is_datetime64_any_dtype(column):
            column = column.astype("datetime64[us]")
        else:
            column = column.astype("object").where(column.notna(), None)
        plain[name] = column
    return pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy()


def in_digits(hashes: Array) -> Array:
    """Return hashes as text: 16 hexadecimal digits each."""
    return np.array([f"{one:016x}" for one in hashes.tolist()], dtype=object)


def as_frame(
    predictions: Predictions,
    rows: "pd.DataFrame",
    key: Sequence[str] = (),
    unit: Any = None,
    slices: Mapping[str, Any] | None = None,
    hashes: Array | None = None,
) -> "pd.DataFrame":
    """Lay the predictions of a test split out as a table.

    Args:
        predictions: what the model says.
        rows: the test split.
        key: the columns that say which row is which; without them it is all that a row holds.
        unit: the group or the time by which rows depend on one another, shape (rows,).
        slices: for each column of the slices which one a row is in, shape (rows,).
        hashes: of the rows, where they were made batch by batch; `rows` then needs only the key.

    Returns:
        For each row its key, `row_hash`, `repeat` (0 for the first row of this hash, then 1, ...),
        `unit` where there is one, `slice_COLUMN` for each column of the slices, `actual`,
        `predicted`, and for each class `probability_CLASS`, or `score_CLASS` for a model that has
        only a decision function.
    """
    keys = rows[list(key)]
    frame = keys.reset_index(drop=True)
    hashes = row_hashes(keys if key else rows) if hashes is None else hashes
    frame[ROW] = in_digits(hashes)
    frame[REPEAT] = frame.groupby(hashes).cumcount()
    if unit is not None:
        frame[UNIT] = unit
    for name, labels in (slices or {}).items():
        frame[f"{SLICE}{name}"] = np.asarray(labels)
    frame[ACTUAL], frame[PREDICTED] = predictions.actual, predictions.predicted
    if predictions.scores is not None:
        prefix = PROBABILITY if predictions.probabilities else SCORE
        for label, scores in zip(predictions.classes or [], predictions.scores.T, strict=True):
            frame[f"{prefix}{label}"] = scores
    return frame


def read(path: Path) -> "pd.DataFrame | None":
    """Read a table of predictions; None where it is not one, such as an older model's."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        frame = pa.parquet.read_table(path).to_pandas()
    except (OSError, pa.ArrowInvalid):
        return None
    return frame if {ROW, REPEAT, ACTUAL, PREDICTED} <= set(frame.columns) else None


def share(
    rival: "pd.DataFrame", challenger: "pd.DataFrame"
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Return the rows of two tables of predictions that both hold, in the challenger's order.

    A row whose actual value has changed is not the same row.
    """
    keys = [ROW, REPEAT, ACTUAL]
    where = [
        frame[keys].assign(at=np.arange(len(frame))).astype({ACTUAL: "object"})
        for frame in (rival, challenger)
    ]
    both = where[1].merge(where[0], on=keys, suffixes=("_challenger", "_rival"))
    both = both.sort_values("at_challenger")
    return rival.iloc[both["at_rival"]], challenger.iloc[both["at_challenger"]]


def rows_of_slices(frame: "pd.DataFrame", fewest: int) -> dict[str, Array]:
    """Return for each slice with enough rows the numbers of its rows in a table of predictions."""
    return {
        str(name): np.asarray(rows)
        for column in frame.columns
        if str(column).startswith(SLICE)
        for name, rows in frame.reset_index(drop=True).groupby(column).indices.items()
        if len(rows) >= fewest
    }


def as_predictions(frame: "pd.DataFrame", task: str, positive: Any = None) -> Predictions:
    """Return what `as_frame` was made of.

    Args:
        frame: a table of predictions, or some of its rows.
        task: binary, multiclass or regression.
        positive: for a binary task the class that counts as positive.
    """
    actual, predicted = frame[ACTUAL].to_numpy(), frame[PREDICTED].to_numpy()
    if task == "regression":
        return Predictions(actual.astype(float), predicted.astype(float))
    seen = {str(label): label for label in (*actual, *predicted)}
    for prefix in (PROBABILITY, SCORE):
        columns = [name for name in frame.columns if str(name).startswith(prefix)]
        if columns:
            names = [name.removeprefix(prefix) for name in columns]
            classes = [seen.get(name, name) for name in names]
            scores = frame[columns].to_numpy(dtype=float)
            known = prefix == PROBABILITY
            return Predictions(actual, predicted, classes, scores, known, task == "binary")
    classes = sorted(seen.values(), key=lambda label: (label == positive, str(label)))
    if task == "binary" and classes == [positive]:
        classes = [None, positive]
    if task == "binary" and len(classes) == 1:
        classes = [*classes, positive]
    return Predictions(actual, predicted, classes, binary=task == "binary")
