"""The sketches of the train split that travel in a model's sidecar."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from src.shared import reference, sidecar, tables
from src.shared.measure import Predictions
from src.shared.paths import SIDECAR, TRAIN
from src.shared.reference import CUTS, LONGEST, VALUES, Numbers, Texts, sketch


def test_numbers_are_counted_exactly() -> None:
    random = np.random.default_rng(0)
    for values in (random.normal(size=1001), random.poisson(2.0, 300), random.random(300) < 0.1):
        column = pd.Series(values, dtype="Float64").where(np.arange(len(values)) % 7 > 0)
        found, known = sketch(column), column.dropna()
        assert isinstance(found, Numbers)
        assert (found.missing, found.known) == (int(column.isna().sum()), len(known))
        assert (found.low, found.middle, found.high) == (known.min(), known.median(), known.max())
        assert found.below == [int((known <= cut).sum()) for cut in found.cuts]
        assert min(found.below) > 0
        assert max(found.below) < len(known)
        assert len(found.cuts) < CUTS
        gaps = np.diff([0, *found.below, len(known)])  # no more than a cut's share, or one value's
        assert max(gaps) <= max(2 * len(known) / CUTS, known.value_counts().max() + 1)


def test_a_column_may_be_empty_constant_or_of_dates() -> None:
    empty = Numbers(2, 0, None, None, None, [], [])
    assert sketch(pd.Series([None, None], dtype="float64")) == empty
    assert sketch(pd.Series([3, 3])) == Numbers(0, 2, 3, 3, 3, [], [])
    dates = sketch(pd.Series(["1970-01-02", None, "9999-01-01"], dtype="datetime64[us]"))
    assert isinstance(dates, Numbers)
    assert (dates.missing, dates.low, dates.below) == (1, 86_400, [1])


def test_the_most_frequent_texts_are_counted() -> None:
    texts = ["a"] * 3 + ["b"] * 2 + [f"rare{at:03}" for at in range(60)] + [None, "x" * 1000]
    found = sketch(pd.Series(texts))
    assert isinstance(found, Texts)
    assert (found.missing, found.known, found.distinct) == (1, 66, 63)
    assert (found.counts["a"], found.counts["b"], len(found.counts)) == (3, 2, VALUES)
    assert found.rest == 66 - sum(found.counts.values())
    assert sketch(pd.Series(["x" * 1000])) == Texts(0, 1, {"x" * LONGEST: 1}, 0, 1)


def test_the_positive_class_is_what_is_compared() -> None:
    labels, scores = np.array(["no", "yes"]), np.array([[0.9, 0.1], [0.2, 0.8]])
    binary = Predictions(labels, labels, ["no", "yes"], scores, True, True)
    assert reference.output(binary).tolist() == [0.1, 0.8]
    plain = Predictions(labels, labels, ["no", "yes"], binary=True)
    assert reference.output(plain).tolist() == ["no", "yes"]
    values = Predictions(np.ones(2), np.array([1.5, 2.0]))
    assert reference.output(values).tolist() == [1.5, 2.0]


def test_the_sidecar_has_them_and_stays_small(trained: Path) -> None:
    known = sidecar.read(SIDECAR)
    frame = tables.read_split(TRAIN)
    assert known.reference is not None
    assert known.reference.rows == known.reference.independent == len(frame)
    names = [feature.name for feature in known.features]
    assert known.reference.columns == {name: sketch(frame[name]) for name in names}
    assert known.reference.prediction.known == len(frame)  # each row, held out once
    assert SIDECAR.stat().st_size < 100_000
    content = json.loads(SIDECAR.read_text(encoding="utf-8"))
    assert reference.parse(content["reference"]) == known.reference


def test_a_column_takes_no_more_than_a_few_kilobytes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for column in (random.normal(size=9999) * 1e-9, [f"{at} {'x' * 99}" for at in range(9999)]):
        assert len(json.dumps(asdict(sketch(pd.Series(column))))) < 8000


def test_a_text_that_looks_like_a_list_stays_as_it_is(trained: Path) -> None:
    content = json.loads(SIDECAR.read_text(encoding="utf-8"))
    known = sidecar.read(SIDECAR)
    known.categories["colour"].append("[ 1,  2 ]")
    sidecar.write(Path("other.json"), known)
    content["categories"]["colour"].append("[ 1,  2 ]")
    assert json.loads(Path("other.json").read_text(encoding="utf-8")) == content
    assert "[1, 2]" not in Path("other.json").read_text(encoding="utf-8")
