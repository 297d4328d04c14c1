"""What reaches the estimator, and a service's fast way to the same numbers."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

from src import features
from tests.projects import fruit


def fitted(frame: pd.DataFrame):
    described = features.describe(frame, ["ripe", None])
    return features.build_pipeline(described, LogisticRegression()).fit(frame, frame["ripe"])


def test_columns_are_described_by_their_kind():
    found = features.describe(fruit(), ["ripe", None])
    assert {feature.name: feature.kind for feature in found} == {
        "size": "numeric",
        "seeds": "numeric",
        "organic": "boolean",
        "colour": "categorical",
        "picked": "date",
    }
    assert [feature.dtype for feature in found][:3] == ["float64", "int64", "bool"]


def test_model_takes_raw_rows_with_what_it_has_not_seen():
    model = fitted(fruit())
    rows = fruit(6)
    rows.loc[0, "colour"] = "blue"
    rows.loc[1, ["size", "colour", "picked"]] = None
    rows["seeds"] = rows["seeds"].astype("float64").where(rows.index != 2)
    rows["organic"] = rows["organic"].astype("object").where(rows.index != 3)
    rows = rows.assign(extra=1)[["extra", "picked", "colour", "organic", "seeds", "size"]]
    probabilities = model.predict_proba(rows)
    assert probabilities.shape == (6, 2)
    assert np.isfinite(probabilities).all()


def test_scale_and_missing_values_of_one_row_do_not_depend_on_the_others():
    model, rows = fitted(fruit()), fruit(20)
    together = model.predict_proba(rows)
    alone = np.vstack([model.predict_proba(rows.iloc[[at]]) for at in range(20)])
    np.testing.assert_allclose(alone, together)


def test_dates_that_stand_for_never_are_taken():
    parts = features.date_parts(pd.DataFrame({"d": pd.to_datetime(["9999-12-31"])}))
    assert parts.iloc[0].tolist() == [2932896.0, 12.0, 4.0]


def test_dates_become_days_month_and_weekday():
    frame = pd.DataFrame({"d": [pd.Timestamp("1970-01-02 12:00"), pd.NaT]})
    parts = features.date_parts(frame)
    assert list(parts) == ["d_days", "d_month", "d_weekday"]
    assert parts.iloc[0].tolist() == [1.5, 1.0, 4.0]  # a Friday
    assert parts.iloc[1].isna().all()


def test_dates_give_their_hour_where_any_of_the_column_has_one():
    random = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 99, 400), "D")
    hour = random.integers(0, 48, 400) / 2
    frame = pd.DataFrame({"day": days, "at": days + pd.to_timedelta(hour, "h")})
    frame["ripe"] = np.where((hour > 8) & (hour < 16), "yes", "no")
    assert features.hours(frame[["at"]])["at_hour"].tolist() == hour.tolist()
    assert features.with_time(frame) == ["at"]
    described = features.describe(frame, ["ripe"])
    model = features.build_pipeline(described, DecisionTreeClassifier(random_state=0))
    model.fit(frame.head(300), frame["ripe"].head(300))
    assert model.score(frame.tail(100), frame["ripe"].tail(100)) > 0.98
    midnight = frame.head(1).assign(at=pd.Timestamp("2024-01-01"))  # its column is another's
    assert model.predict(midnight).tolist() == ["no"]
    missing = frame.head(1).assign(at=pd.to_datetime(pd.Series([None])))
    assert model[:-1].transform(missing).shape == (1, 7)


def test_many_categories_are_limited():
    names = [f"n{at % 300}" for at in range(900)]
    frame = pd.DataFrame({"name": names, "ripe": ["yes", "no"] * 450})
    assert fitted(frame)[:-1].transform(frame).shape[1] <= 101


def test_text_with_many_values_has_no_known_categories():
    frame = pd.DataFrame({"few": ["b", "a", None] * 50, "many": [f"n{at}" for at in range(150)]})
    assert features.categories(frame, features.describe(frame, [])) == {"few": ["a", "b"]}


def numbers() -> pd.DataFrame:
    return fruit()[["seeds", "size", "organic", "ripe"]]


def test_plain_scaling_is_what_the_pipeline_does():
    rows = numbers()
    model = fitted(rows)
    names = ["seeds", "size", "organic"]
    plain = features.plain_scaling(model, names)
    assert plain is not None
    found = plain(rows[names].astype("float64").to_numpy())
    assert np.isnan(rows["size"]).any()
    np.testing.assert_array_equal(found, model[:-1].transform(rows))


def double(frame: pd.DataFrame) -> pd.DataFrame:
    return frame * 2


def clipped(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype("float64").clip(upper=10)


def scaled_with(*steps: Any):
    return lambda convert: make_pipeline(FunctionTransformer(convert), *steps)


MEDIAN = SimpleImputer(strategy="median", keep_empty_features=True)
BUILT = features.transformers()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMPUTED", [double]),
        ("as_numbers", clipped),  # which the rows that are tried show
        ("scaled", scaled_with(MEDIAN, RobustScaler())),
        ("scaled", scaled_with(MEDIAN, StandardScaler(with_mean=False))),
        ("scaled", scaled_with(SimpleImputer(strategy="most_frequent"), StandardScaler())),
        ("scaled", scaled_with(MEDIAN, StandardScaler(), FunctionTransformer())),
        ("transformers", lambda: [*BUILT, ("more", TargetEncoder(), ["seeds"])]),
        ("transformers", lambda: [("numeric", StandardScaler(), ["seeds", "organic"])]),
        ("transformers", lambda: [("numeric", "passthrough", ["seeds", "organic"])]),
    ],
)
def test_any_other_pipeline_answers_for_itself(monkeypatch, name, value):
    monkeypatch.setattr(features, name, value)
    model = fitted(numbers())
    assert features.plain_scaling(model, ["seeds", "size", "organic"]) is None


def test_texts_and_dates_are_left_to_the_pipeline():
    rows = fruit()
    names = rows.columns.drop("ripe").tolist()
    assert features.plain_scaling(fitted(rows), names) is None


def test_computed_columns_are_of_any_kind_and_see_no_target(monkeypatch):
    seen = []

    def compute(frame: pd.DataFrame) -> pd.DataFrame:
        seen.append(frame)
        large = frame["size"] > 6
        return frame.assign(large=large, name=frame["colour"] + "!", later=frame["picked"])

    monkeypatch.setattr(features, "COMPUTED", [compute])
    rows = fruit()
    model = fitted(rows)
    assert list(seen[0]) == ["size", "seeds", "organic", "colour", "picked"]
    chosen = {name: columns for name, _, columns in model["features"].transformers_}
    assert chosen["numeric"] == ["size", "seeds", "organic", "large"]
    assert chosen["categorical"] == ["colour", "name"]
    assert chosen["date"] == ["picked", "later"]
    # As a service has it: floats and None.
    sent = rows.astype({"seeds": "float64", "organic": "float64"})
    sent["colour"] = sent["colour"].astype("object").where(sent["colour"].notna(), None)
    np.testing.assert_array_equal(model.predict_proba(sent), model.predict_proba(rows))
    assert seen[-1].dtypes.equals(seen[0].dtypes)
