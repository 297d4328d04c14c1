"""The table of predictions: which row is which, and back to what the model said."""

import numpy as np
import pandas as pd
import pytest

from src.shared.measure import Predictions
from src.shared.predictions import as_frame, as_predictions, in_digits, read, row_hashes, share

ROWS = pd.DataFrame(
    {
        "size": [1.0, 2.5, np.nan],
        "count": [1, 2, 3],
        "kind": ["a", None, "ü"],
        "when": pd.to_datetime(["2024-01-01", "", "2024-01-03"]),
        "sold": [True, False, True],
    }
)
HASHES = ["b5c0b5ef46252a11", "41ccd2acabac86de", "6ff93e81d4fb89f0"]


def test_a_row_keeps_its_hash():
    """These values are in the predictions of all projects: another one parts them from theirs."""
    assert in_digits(row_hashes(ROWS)).tolist() == HASHES


@pytest.mark.parametrize(
    "same",
    [
        ROWS[ROWS.columns[::-1]],
        ROWS.astype({"count": "float64", "sold": "float64"}),
        ROWS.astype({"when": "datetime64[ns]"}),
        ROWS.astype({"kind": "string"}),
        ROWS.assign(size=pd.Series([1.0, 2.5, None], dtype=object).astype("float64")),
    ],
)
def test_the_hash_is_of_what_a_row_holds(same):
    assert in_digits(row_hashes(same)).tolist() == HASHES
    assert in_digits(row_hashes(same.iloc[::-1])).tolist() == HASHES[::-1]


def test_the_hash_differs_where_the_row_does():
    for name, value in {"size": 1.1, "count": 4, "kind": "b", "sold": False}.items():
        other = ROWS.assign(**{name: [value, *ROWS[name][1:]]})
        first, *others = in_digits(row_hashes(other))
        assert first != HASHES[0]
        assert others == HASHES[1:]


def test_long_numbers_are_told_apart():
    near = pd.DataFrame({"customer": [2**53, 2**53 + 1]})
    assert len(set(row_hashes(near))) == 2


def told(rows: pd.DataFrame, actual: list, predicted: list) -> pd.DataFrame:
    return as_frame(Predictions(np.array(actual), np.array(predicted)), rows)


def test_the_rows_that_both_tested():
    """Whatever their order; equal rows are told apart by their number, labels are the same."""
    old = told(pd.DataFrame({"x": [1, 2, 2, 3, 4]}), [0.1, 0.2, 0.2, 0.3, 0.4], [1, 2, 3, 4, 5])
    new = told(pd.DataFrame({"x": [9, 4, 2, 3.0]}), [0.9, 0.4, 0.2, 0.33], [6, 7, 8, 9])
    there, here = share(old, new)
    assert there["predicted"].tolist() == [5, 2]
    assert here["predicted"].tolist() == [7, 8]
    assert there["row_hash"].tolist() == here["row_hash"].tolist()


SCORES = np.array([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])


@pytest.mark.parametrize(
    ("task", "classes", "scores", "probabilities"),
    [
        ("binary", ["no", "yes"], SCORES, True),
        ("binary", ["no", "yes"], SCORES, False),
        ("binary", ["no", "yes"], None, False),
        ("binary", [0, 1], SCORES, True),
        ("multiclass", [3, 4], SCORES, True),
        ("regression", None, None, False),
    ],
)
def test_what_the_model_said_comes_back(tmp_path, task, classes, scores, probabilities):
    labels = np.array(classes or [0.5, 1.5])
    said = Predictions(
        labels[[1, 0, 1]], labels[[1, 0, 0]], classes, scores, probabilities, task == "binary"
    )
    path = tmp_path / "predictions.parquet"
    as_frame(said, ROWS, ["count"], ROWS["when"].to_numpy()).to_parquet(path)
    frame = read(path)
    assert frame is not None
    of_the_key = in_digits(row_hashes(ROWS[["count"]]))
    assert frame["row_hash"].tolist() == of_the_key.tolist()
    assert frame["count"].tolist() == [1, 2, 3]
    assert frame["unit"].equals(ROWS["when"].astype(frame["unit"].dtype))
    positive = classes[1] if task == "binary" and classes else None
    back = as_predictions(frame, task, positive)
    assert back.classes == said.classes
    assert (back.probabilities, back.binary) == (said.probabilities, said.binary)
    assert (back.actual == said.actual).all()
    assert (back.predicted == said.predicted).all()
    assert back.scores is None if scores is None else (back.scores == scores).all()


def test_what_is_no_table_of_predictions(tmp_path):
    path = tmp_path / "predictions.parquet"
    path.write_text("text")
    assert read(path) is None
    ROWS.to_parquet(path)
    assert read(path) is None
