"""Features: which columns a model takes, of what kind, and how they reach the estimator."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from src.shared.sidecar import Feature, Kind

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# A text column with more values than this has its rarest ones encoded together.
MAX_CATEGORIES = 100


def describe(frame: pd.DataFrame, leave_out: Iterable[str | None]) -> list[Feature]:
    """List the columns that are features.

    Args:
        frame: the train split.
        leave_out: columns that are not features, such as the target.
    """
    names = [name for name in frame.columns if name not in set(leave_out)]
    return [Feature(name, _kind(frame[name]), str(frame[name].dtype)) for name in names]


def _kind(column: pd.Series) -> Kind:
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if pd.api.types.is_numeric_dtype(column):
        return "numeric"
    return "date" if pd.api.types.is_datetime64_any_dtype(column) else "categorical"


def categories(frame: pd.DataFrame, features: list[Feature]) -> dict[str, list[str]]:
    """Return the values of each categorical feature that does not have too many to list."""
    found = {
        feature.name: sorted(frame[feature.name].dropna().unique())
        for feature in features
        if feature.kind == "categorical"
    }
    return {name: values for name, values in found.items() if len(values) <= MAX_CATEGORIES}


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn numbers and booleans, whatever holds them, into floats with NaN for missing."""
    return frame.astype("float64")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn categories into objects with NaN for missing, as OneHotEncoder wants them."""
    return frame.astype("object").where(frame.notna(), np.nan)


def date_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Split each date into days since 1970, month (1 to 12) and day of the week (Monday is 0)."""
    parts = {}
    for name in frame.columns:
        # In microseconds, as nanoseconds end in 2262 and some say 9999-12-31 for "never".
        date = pd.to_datetime(frame[name]).astype("datetime64[us]")
        parts[f"{name}_days"] = (date - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        parts[f"{name}_month"] = date.dt.month.astype("float64")
        parts[f"{name}_weekday"] = date.dt.day_of_week.astype("float64")
    return pd.DataFrame(parts, index=frame.index)


def build_pipeline(features: list[Feature], estimator: Any) -> "Pipeline":
    """Put the estimator behind imputing, scaling and one-hot encoding.

    Args:
        features: the columns that the model takes.
        estimator: any scikit-learn compatible estimator.

    Returns:
        An unfitted pipeline that takes raw rows: a DataFrame with at least these columns.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    def scaled(prepare: Any) -> Pipeline:
        impute = SimpleImputer(strategy="median", keep_empty_features=True)
        return make_pipeline(FunctionTransformer(prepare), impute, StandardScaler())

    # A category that was not seen, or too rare to be counted, is all zeros or "infrequent".
    encode = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False
    )
    steps = [
        ("numeric", scaled(as_numbers), ("numeric", "boolean")),
        ("date", scaled(date_parts), ("date",)),
        ("categorical", make_pipeline(FunctionTransformer(as_text), encode), ("categorical",)),
    ]
    columns = [
        (name, step, [feature.name for feature in features if feature.kind in kinds])
        for name, step, kinds in steps
    ]
    transformer = ColumnTransformer([column for column in columns if column[2]])
    return Pipeline([("features", transformer), ("estimator", estimator)])
