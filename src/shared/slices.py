"""metrics/evaluate/slices.json: what evaluate measured on parts of the test split.

A list of `Slice` records, in the order of `evaluate.slices` in params.yaml:

    [{"name": "age < 30", "column": "age", "rows": 41,
      "metrics": {"accuracy": {"value": 0.93, "low": 0.8, "high": 0.98, "note": ""}},
      "undefined": ["roc_auc"]}]

The slices of a column hold each row once: a row without a value is in the slice `age is missing`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from src.shared import files
from src.shared.errors import UserError
from src.shared.params import Bins, Bound, Evaluate, Finite

if TYPE_CHECKING:
    import pandas as pd

    from src.shared.measure import Array, Predictions
    from src.shared.tables import Split

REMEDY = "run `dvc repro -f evaluate`"
MOST = 50  # slices of one column


@dataclass(frozen=True)
class Estimate:
    """A metric of a slice.

    Attributes:
        value: what was measured.
        low: the lower end of its 95 % interval; None where there is none.
        high: the upper end.
        note: what the reader should know of it.
    """

    value: Finite
    low: Finite | None
    high: Finite | None
    note: str = ""


@dataclass(frozen=True)
class Slice:
    """A part of the test split.

    Attributes:
        name: which rows it holds, such as `sex = female`, `30 <= age < 50` or `age is missing`.
        column: the column that says so.
        rows: how many it holds, at least one.
        metrics: each metric that is defined on them.
        undefined: the metrics that are defined on the test split, but not on them.
    """

    name: str
    column: str
    rows: int
    metrics: dict[str, Estimate]
    undefined: list[str]


def label(
    frame: "pd.DataFrame | Split", wanted: Sequence[str | Bins]
) -> dict[str, "pd.Categorical[str]"]:
    """Return the name of the slice that each row is in, for each column.

    Args:
        frame: rows with these columns.
        wanted: the columns, as `evaluate.slices` has them. A bin holds its lower edge, not its
            upper one.

    Returns:
        For each column the names, shape (rows,), with the categories in the order of the values.

    Raises:
        UserError: bins are asked of what are no numbers, or a column has too many values.
    """
    return {
        name: _binned(frame[name], one.bins) if isinstance(one, Bins) else _valued(frame[name])
        for one in wanted
        for name in [one if isinstance(one, str) else one.column]
    }


def _binned(column: "pd.Series", edges: Sequence[float]) -> "pd.Categorical[str]":
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_bool_dtype(column) or not is_numeric_dtype(column):
        raise UserError(
            f"params.yaml: evaluate.slices: '{column.name}' does not hold numbers, so it has no "
            "bins; give the name of the column alone"
        )
    low = [repr(edge).removesuffix(".0") for edge in edges]
    between = [f"{start} <= {column.name} < {end}" for start, end in pairwise(low)]
    names = [f"{column.name} < {low[0]}", *between, f"{column.name} >= {low[-1]}"]
    values = column.to_numpy(dtype=float, na_value=np.nan)
    codes = np.searchsorted(edges, values, side="right")
    return _named(column, np.where(np.isnan(values), len(names), codes), names)


def _valued(column: "pd.Series") -> "pd.Categorical[str]":
    import pandas as pd

    codes, values = pd.factorize(column, sort=True)
    if len(values) > MOST:
        raise UserError(
            f"params.yaml: evaluate.slices: '{column.name}' has {len(values)} values in the test "
            f"split, where a column has at most {MOST} slices; if they are numbers give it bins, "
            "as in {column: age, bins: [30, 50]}, or name another column"
        )
    # A missing value has the code -1: that of the last name.
    return _named(column, codes % (len(values) + 1), [f"{column.name} = {one}" for one in values])


def _named(column: "pd.Series", codes: Any, names: Sequence[str]) -> "pd.Categorical[str]":
    """Name the slice of each row; the missing values' comes last."""
    import pandas as pd

    return pd.Categorical.from_codes(codes, pd.Index([*names, f"{column.name} is missing"]))


def score(
    predictions: "Predictions",
    labels: Mapping[str, "pd.Categorical[str]"],
    settings: Evaluate,
    groups: "Array | None" = None,
    order: "Array | None" = None,
) -> list[Slice]:
    """Measure the model on each slice.

    Args:
        predictions: what it says of the test split.
        labels: of `label`.
        settings: resamples and seed of the intervals.
        groups: as for `intervals`.
        order: as for `intervals`.

    Returns:
        The slices of each column that hold a row.
    """
    import numpy as np

    from src.shared.intervals import intervals
    from src.shared.measure import headline

    whole, found = headline(predictions), []
    for column, names in labels.items():
        for code in np.unique(names.codes):
            rows = np.flatnonzero(names.codes == code)
            part = predictions.take(rows)
            values = headline(part)
            ends = intervals(
                part,
                settings.resamples,
                settings.seed,
                None if groups is None else groups[rows],
                None if order is None else order[rows],
            )
            estimates = {
                metric: Estimate(value, ends[metric].low, ends[metric].high, ends[metric].note)
                for metric, value in values.items()
            }
            lacking = [metric for metric in whole if metric not in values]
            found.append(Slice(names.categories[code], column, len(rows), estimates, lacking))
    return found


def read(path: Path) -> list[Slice]:
    """Read the slices that evaluate measured.

    Raises:
        UserError: the file is missing or is not what evaluate writes.
    """
    try:
        return parse(files.read_json(path, REMEDY))
    except ValueError:
        raise UserError(f"{path.as_posix()}: not what evaluate writes; {REMEDY}") from None


def to_judge(path: Path, bounds: Mapping[str, Bound], fewest: int) -> tuple[list[Slice], list[str]]:
    """Return the slices that have enough rows to be judged, and a line on the others, if any.

    Args:
        path: the file; it may be missing where no bound is on slices.
        bounds: the gate's.
        fewest: the least rows.

    Raises:
        UserError: as for `read`.
    """
    if not path.exists() and not any(bound.of_slices for bound in bounds.values()):
        return [], []
    return enough(read(path), fewest)


def parse(content: Any) -> list[Slice]:
    """Return slices from what JSON holds.

    Raises:
        ValueError: it holds something else.
    """
    return msgspec.convert(content, list[Slice])


def enough(slices: Sequence[Slice], fewest: int) -> tuple[list[Slice], list[str]]:
    """Return the slices that have enough rows to be judged, and a line on the others, if any."""
    large = [one for one in slices if one.rows >= fewest]
    small = len(slices) - len(large)
    line = f"{small} of {len(slices)} slices are not judged, as they have fewer than {fewest} rows"
    return large, [line] if small else []


def write(path: Path, slices: Sequence[Slice]) -> None:
    """Write them as JSON."""
    files.write_json(path, [asdict(one) for one in slices])
