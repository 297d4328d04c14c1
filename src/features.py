"""Features: which columns a model takes, what is computed from them, how they reach the estimator.

Yours to change; docs/extend.md has recipes. Whatever predicts loads the fitted pipeline that is
built here, so what is changed here holds there as well.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from src.shared.sidecar import Feature, Kind

# A text column with more values than this has its rarest ones encoded together.
MAX_CATEGORIES = 100

# Functions that compute columns row by row, in their order. Each takes and returns a DataFrame in
# which numbers and booleans are floats, and a missing value is NaN or NaT. They must have a name:
# a lambda cannot be saved with the model.
COMPUTED: list[Callable[[pd.DataFrame], pd.DataFrame]] = []


def transformers() -> list[tuple[str, Any, Any]]:
    """Return what is done to which columns, the computed ones included.

    What has to be learned from the training rows stands here as well. As in scikit-learn's
    ColumnTransformer, each entry is a name, an unfitted transformer, and names of columns or a
    function that chooses them.
    """
    return [
        ("numeric", scaled(as_numbers), of_kind("numeric", "boolean")),
        ("date", scaled(date_parts), of_kind("date")),
        ("hour", scaled(hours), with_time),
        ("categorical", encoded(as_text), of_kind("categorical")),
    ]


def scaled(convert: Callable[[pd.DataFrame], pd.DataFrame]) -> Pipeline:
    """Return the steps for numbers: convert to floats, fill what is missing, scale."""
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(FunctionTransformer(convert), impute, StandardScaler())


def encoded(convert: Callable[[pd.DataFrame], pd.DataFrame]) -> Pipeline:
    """Return the steps for categories: convert to text, then a column for each value."""
    # A category that was not seen, or too rare to be counted, is all zeros or "infrequent".
    encode = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False
    )
    return make_pipeline(FunctionTransformer(convert), encode)


def build_pipeline(features: list[Feature], estimator: Any) -> Pipeline:
    """Return an unfitted pipeline whose last step is the estimator.

    Args:
        features: the columns that the model takes.
        estimator: any scikit-learn compatible estimator.

    Returns:
        A pipeline that takes raw rows: a DataFrame with at least these columns.
    """
    return Pipeline(
        [
            ("columns", FunctionTransformer(choose_columns, kw_args={"features": features})),
            *((compute.__name__, FunctionTransformer(compute)) for compute in COMPUTED),
            ("features", ColumnTransformer(transformers())),
            ("estimator", estimator),
        ]
    )


def describe(frame: pd.DataFrame, leave_out: Iterable[str | None]) -> list[Feature]:
    """Return the columns that are features.

    Args:
        frame: the train split.
        leave_out: columns that are not features, such as the target.
    """
    names = [name for name in frame.columns if name not in set(leave_out)]
    return [Feature(name, kind_of(frame[name]), str(frame[name].dtype)) for name in names]


def kind_of(column: pd.Series) -> Kind:
    """Return what a column holds, by its type."""
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if pd.api.types.is_numeric_dtype(column):
        return "numeric"
    return "date" if pd.api.types.is_datetime64_any_dtype(column) else "categorical"


def of_kind(*kinds: Kind) -> Callable[[pd.DataFrame], list[str]]:
    """Return a function that chooses the columns of some kinds from a DataFrame."""
    return partial(_names_of, kinds=kinds)


def with_time(frame: pd.DataFrame) -> list[str]:
    """Choose the columns of dates in which any row has a time of day."""
    return [name for name in _names_of(frame, ("date",)) if (time_of_day(frame[name]) > 0).any()]


def _names_of(frame: pd.DataFrame, kinds: tuple[Kind, ...]) -> list[str]:
    return [name for name in frame.columns if kind_of(frame[name]) in kinds]


def choose_columns(frame: pd.DataFrame, features: list[Feature]) -> pd.DataFrame:
    """Return the features only, with the same types wherever the rows come from.

    Numbers and booleans become floats and texts objects, both with NaN for missing.
    """
    numbers = [one.name for one in features if one.kind in ("numeric", "boolean")]
    texts = [one.name for one in features if one.kind == "categorical"]
    dates = [one.name for one in features if one.kind == "date"]
    parts = [as_numbers(frame[numbers]), as_text(frame[texts]), frame[dates]]
    return pd.concat(parts, axis="columns")[[one.name for one in features]]


def categories(frame: pd.DataFrame, features: list[Feature]) -> dict[str, list[str]]:
    """Return the values of each categorical feature that does not have too many to list."""
    found = {
        feature.name: sorted(frame[feature.name].dropna().unique())
        for feature in features
        if feature.kind == "categorical"
    }
    return {name: values for name, values in found.items() if len(values) <= MAX_CATEGORIES}


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return numbers and booleans, whatever holds them, as floats with NaN for missing."""
    return frame.astype("float64")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return categories as objects with NaN for missing, as OneHotEncoder wants them."""
    return frame.astype("object").where(frame.notna(), np.nan)


def date_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Split each date into days since 1970, month (1 to 12) and day of the week (Monday is 0)."""
    parts = {}
    for name in frame.columns:
        date = as_date(frame[name])
        parts[f"{name}_days"] = (date - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        parts[f"{name}_month"] = date.dt.month.astype("float64")
        parts[f"{name}_weekday"] = date.dt.day_of_week.astype("float64")
    return pd.DataFrame(parts, index=frame.index)


def hours(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the hour of each date, from 0 to below 24; half past ten is 10.5."""
    parts = {f"{name}_hour": time_of_day(frame[name]) for name in frame.columns}
    return pd.DataFrame(parts, index=frame.index)


def time_of_day(column: pd.Series) -> pd.Series:
    """Return how many hours after midnight each date is, with NaN for missing."""
    date = as_date(column)
    return (date - date.dt.normalize()) / pd.Timedelta(hours=1)


def as_date(column: pd.Series) -> pd.Series:
    """Return dates in microseconds: nanoseconds end in 2262, and some say 9999 for "never"."""
    return pd.to_datetime(column).astype("datetime64[us]")


@dataclass(frozen=True)
class Scaling:
    """All that a pipeline does to rows of numbers: an array for each, shape (features,)."""

    fill: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows as the estimator takes them, shape (rows, features)."""
        return (np.where(np.isnan(rows), self.fill, rows) - self.mean) / self.scale


def plain_scaling(model: Pipeline, names: list[str]) -> Scaling | None:
    """Return what a fitted pipeline does to its features where no more is done than is known here.

    With it a service needs no DataFrame for its few rows. Steps count as known by their exact
    type and settings, and where the result for some rows is the same to the last bit, so that a
    pipeline that was changed above answers for itself.

    Args:
        model: a fitted pipeline of `build_pipeline`.
        names: its features.

    Returns:
        None if the pipeline does anything else than fill in medians and standardise.
    """
    transformer, estimator = model.named_steps.get("features"), model[-1]
    if list(model.named_steps) != ["columns", "features", "estimator"]:
        return None
    if type(transformer) is not ColumnTransformer or transformer.transformer_weights is not None:
        return None
    used = [(step, columns) for _, step, columns in transformer.transformers_ if len(columns)]
    if len(used) != 1 or used[0][1] != names or hasattr(estimator, "feature_names_in_"):
        return None
    known = (
        FunctionTransformer(as_numbers),
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
    )
    steps = list(used[0][0]) if type(used[0][0]) is Pipeline else []
    # What scikit-learn prints of a step is its class and each setting that is not the default.
    if [(type(one), repr(one)) for one in steps] != [(type(one), repr(one)) for one in known]:
        return None
    _, impute, scale = steps
    plain = Scaling(impute.statistics_, scale.mean_, scale.scale_)
    # Rows without values, and others near the mean and far from it.
    far = np.array([[np.nan, -1e6, -30, -3, -1, -0.1, 0, 0.1, 1, 3, 30, 1e6]]).T
    rows = plain.mean + far * plain.scale
    as_fitted = model[:-1].transform(pd.DataFrame(rows, columns=names))
    return plain if np.array_equal(plain(rows), as_fitted) else None
