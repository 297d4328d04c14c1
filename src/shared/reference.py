"""What a model was trained on, as sketches small enough to travel in its sidecar.

A sketch holds a column of the train split by a few exact counts, so that later rows can be compared
with it without the rows themselves. Pandas is imported where a sketch is made: who only reads a
sidecar needs none of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from src.shared.measure import Predictions

CUTS = 50  # parts of equal size that numbers are cut into, where no value is frequent
VALUES = 50  # texts that are counted one by one, the most frequent ones
LONGEST = 100  # letters of a text that are looked at


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, of true (1) and false (0), or of dates (seconds since 1970).

    Attributes:
        missing: how many rows have no value.
        known: how many have one.
        low: the least value; None if no row has one.
        middle: the median.
        high: the greatest.
        cuts: numbers between the values, ascending, shape (at most CUTS - 1,).
        below: how many rows have a value up to each of them.
    """

    missing: int
    known: int
    low: float | None
    middle: float | None
    high: float | None
    cuts: list[float]
    below: list[int]


@dataclass(frozen=True)
class Texts:
    """A column of texts, or of classes.

    Attributes:
        missing: how many rows have no value.
        known: how many have one.
        counts: how many rows have each of the most frequent values.
        rest: how many have another one; 0 if all values are counted.
        distinct: how many values there are.
    """

    missing: int
    known: int
    counts: dict[str, int]
    rest: int
    distinct: int


Sketch = Numbers | Texts


@dataclass(frozen=True)
class Reference:
    """What later rows are compared with.

    Attributes:
        rows: of the train split.
        independent: how many of them are independent: the groups, where rows come in groups.
        columns: each feature.
        prediction: what the cross-validation's models said of the rows that each had not seen: the
            positive class's probability, else the class, or the value of a regression.
    """

    rows: int
    independent: int
    columns: dict[str, Sketch]
    prediction: Sketch


def as_floats(column: "pd.Series") -> "np.ndarray":
    """Return numbers, truth values or dates as floats with NaN for missing, shape (rows,)."""
    import numpy as np
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column.to_numpy("datetime64[us]")
        return np.where(np.isnat(dates), np.nan, dates.astype("int64") / 1e6)
    if column.dtype == object:  # of truth values and None
        column = column.astype("Float64")
    return column.to_numpy(dtype=float, na_value=np.nan)


def as_texts(column: "pd.Series") -> "pd.Series":
    """Return texts or classes as short texts, shape (rows,); none may be missing."""
    return column.astype(str).str[:LONGEST]


def sketch_numbers(column: "pd.Series") -> Numbers:
    """Return the sketch of a column of numbers, truth values or dates."""
    import numpy as np

    values = as_floats(column)
    known = np.sort(values[~np.isnan(values)])
    missing = len(values) - len(known)
    if not len(known):
        return Numbers(missing, 0, None, None, None, [], [])
    distinct, counts = np.unique(known, return_counts=True)
    cuts = np.array([])
    if len(distinct) > 1:
        upto = np.cumsum(counts)[:-1]
        wanted = np.searchsorted(upto, len(known) * np.arange(1, CUTS) / CUTS)
        at = np.unique(np.minimum(wanted, len(upto) - 1))
        between = distinct[at] / 2 + distinct[at + 1] / 2
        cuts = np.unique([float(f"{one:.6g}") for one in between])  # short; the counts stay exact
    below = np.searchsorted(known, cuts, side="right")
    low, middle, high = map(float, (known[0], np.median(known), known[-1]))
    return Numbers(missing, len(known), low, middle, high, cuts.tolist(), below.tolist())


def sketch_texts(column: "pd.Series") -> Texts:
    """Return the sketch of a column of texts or classes."""
    counts = as_texts(column.dropna()).value_counts()
    listed = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[
        :VALUES
    ]  # whatever their order
    kept = {str(text): int(count) for text, count in listed}
    known = int(counts.sum())
    return Texts(len(column) - known, known, kept, known - sum(kept.values()), len(counts))


def sketch(column: "pd.Series") -> Sketch:
    """Return the sketch of a column, as its type asks for."""
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column)  # truth values too
    return (sketch_numbers if numeric or column.dtype.kind == "M" else sketch_texts)(column)


def describe(
    frame: "pd.DataFrame", names: Iterable[str], held_out: "Iterable[Predictions]", independent: int
) -> Reference:
    """Sketch what a model was trained on.

    Args:
        frame: the train split.
        names: the features.
        held_out: what the models of the cross-validation say of the rows that each had not seen.
        independent: how many rows are independent.
    """
    import pandas as pd

    said = pd.concat([output(one) for one in held_out], ignore_index=True)
    columns = {name: sketch(frame[name]) for name in names}
    return Reference(len(frame), independent, columns, sketch(said))


def output(said: "Predictions") -> "pd.Series":
    """Return of predictions what drift is looked for in, shape (rows,).

    The positive class's probability; without one the class; the value of a regression.
    """
    import pandas as pd

    if said.binary and said.probabilities and said.scores is not None:
        return pd.Series(said.scores[:, 1])
    return pd.Series(said.predicted).astype(str if said.classes else float)


def parse(content: dict[str, Any]) -> Reference:
    """Return a reference from what JSON holds.

    Raises:
        TypeError, KeyError: it holds something else.
    """
    columns = {name: _sketch(one) for name, one in content["columns"].items()}
    return Reference(**content | {"columns": columns, "prediction": _sketch(content["prediction"])})


def _sketch(content: dict[str, Any]) -> Sketch:
    return Numbers(**content) if "cuts" in content else Texts(**content)
