"""What a comparison with training finds, and how often it finds what is not there."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom  # type: ignore[import-untyped]

from src.monitoring.drifts import PREDICTION, Gap, at_least, beyond_chance, compare
from src.shared.drift import drift
from src.shared.params import Monitor
from src.shared.reference import Reference, sketch

NO_LIMITS: dict[str, Any] = {"max_drift": 0, "max_missing": 0, "max_unseen": 0}


def table(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Make 30 independent columns of many shapes."""
    columns: dict[str, Any] = {f"normal{at}": random.normal(size=rows) for at in range(20)}
    columns |= {f"skewed{at}": np.exp(2 * random.normal(size=rows)) for at in range(2)}
    columns |= {
        "count": random.poisson(1.0, rows),
        "mostly_zero": random.normal(size=rows) * (random.random(rows) < 0.3),
        "flag": random.random(rows) < 0.2,
        "date": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 99, rows), "D"),
        "with_gaps": np.where(random.random(rows) < 0.3, np.nan, random.normal(size=rows)),
        "few": random.choice(["a", "b", "c", "d"], rows, p=[0.5, 0.3, 0.15, 0.05]),
        "some": np.char.add("some", random.geometric(0.15, rows).astype(str)),
        "many": np.char.add("many", random.integers(0, 1000, rows).astype(str)),
    }
    return pd.DataFrame(columns)


def trained_on(frame: pd.DataFrame, random: np.random.Generator) -> Reference:
    columns = {str(name): sketch(frame[name]) for name in frame}
    said = sketch(pd.Series(random.random(len(frame))))
    return Reference(len(frame), len(frame), columns, said)


def gaps(
    window: pd.DataFrame, known: Reference, random: np.random.Generator, **limits: Any
) -> list[Gap]:
    said = pd.Series(random.random(len(window)))
    return list(compare(window, said, known, Monitor(leave_out=[], **limits)))


def found(window: pd.DataFrame, known: Reference, **limits: Any) -> set[tuple[str, str]]:
    return {
        (gap.kind, gap.column)
        for gap in beyond_chance(gaps(window, known, np.random.default_rng(0), **limits))
    }


def test_200_windows_without_drift_have_at_most_one_finding() -> None:
    """Over all columns and measures, each 10 windows beside a training sample of their own."""
    random, alarms = np.random.default_rng(0), 0
    for _ in range(20):
        known = trained_on(table(random, 500), random)
        for rows in (200, 1000) * 5:
            window = table(random, rows)
            alarms += bool(beyond_chance(gaps(window, known, random, **NO_LIMITS)))
    assert alarms <= 1


def shifted(window: pd.DataFrame) -> pd.DataFrame:
    return window.assign(normal3=window["normal3"] + 0.5)


def renamed(window: pd.DataFrame) -> pd.DataFrame:
    return window.assign(few=window["few"].replace("c", "C"))


def renamed_of_many(window: pd.DataFrame) -> pd.DataFrame:
    return window.assign(some=window["some"].replace("some1", "first"))


def lacking(window: pd.DataFrame) -> pd.DataFrame:
    return window.assign(count=window["count"].where(np.arange(len(window)) % 10 > 0))


@pytest.mark.parametrize(
    ("change", "kind", "column"),
    [
        (shifted, "drift", "normal3"),
        (renamed, "unseen", "few"),
        (renamed_of_many, "drift", "some"),
        (lacking, "missing", "count"),
    ],
)
def test_a_change_is_found_in_1000_rows(change: Any, kind: str, column: str) -> None:
    random = np.random.default_rng(3)
    for _ in range(10):
        known = trained_on(table(random, 1000), random)
        assert (kind, column) in found(change(table(random, 1000)), known)


def test_a_single_new_value_is_no_finding() -> None:
    random = np.random.default_rng(4)
    known = trained_on(table(random, 1000), random)
    window = table(random, 1000)
    window.loc[:2, "few"] = "e"
    window.loc[:2, "normal0"] = 99.0
    assert found(window, known, **NO_LIMITS) == set()


def test_many_different_new_values_are_found_together() -> None:
    known = trained_on(pd.DataFrame({"few": ["a", "b"] * 250}), np.random.default_rng(0))
    window = pd.DataFrame({"few": ["a", "b"] * 350 + [f"new{at}" for at in range(300)]})
    assert ("unseen", "few") in found(window, known)


def test_what_is_allowed_is_no_finding() -> None:
    random = np.random.default_rng(5)
    known = trained_on(table(random, 1000), random)
    window = shifted(table(random, 1000))
    assert found(window, known, max_drift=0.5, max_unseen=0.5) == set()
    assert found(window, known, accept=["normal3"]) == set()


def test_rows_of_few_groups_count_as_few() -> None:
    """500 rows of 20 groups tell of a column no more than 20 rows do."""
    random = np.random.default_rng(6)
    before, now = random.normal(size=500), pd.DataFrame({"x": random.normal(0.5, 1, 1000)})
    said = sketch(pd.Series(random.random(500)))
    for independent, wanted in ((500, {("drift", "x")}), (20, set())):
        known = Reference(500, independent, {"x": sketch(pd.Series(before))}, said)
        assert found(now, known) == wanted


def test_the_drift_of_predictions_is_found() -> None:
    random = np.random.default_rng(7)
    known = Reference(1000, 1000, {}, sketch(pd.Series(random.random(1000))))
    said = pd.Series(random.random(1000) ** 2)
    [gap] = compare(pd.DataFrame(index=said.index), said, known, Monitor(leave_out=[]))
    assert beyond_chance([gap]) == [gap]
    assert gap.column == PREDICTION


def test_the_gap_of_numbers_is_validates_but_for_the_width_of_a_cut() -> None:
    random = np.random.default_rng(8)
    before, now = table(random, 700), table(random, 300)
    for name in ("normal0", "skewed0", "count", "mostly_zero", "flag"):
        known = trained_on(before[[name]], random)
        gap = gaps(now[[name]], known, random)[0].measured.size
        whole = drift(before[name], now[name])
        assert whole - 0.04 <= gap <= whole + 1e-12, name


def test_a_constant_that_moves_has_moved_wholly() -> None:
    for before, now in ((1.0, 2.0), (2.0, 1.0)):
        known = trained_on(pd.DataFrame({"x": [before] * 200}), np.random.default_rng(0))
        window = pd.DataFrame({"x": [now] * 100})
        assert found(window, known) == {("drift", "x"), ("unseen", "x")}


def test_chances_are_binomial() -> None:
    for count, rows, before, rows_before in ((5, 100, 3, 200), (0, 10, 2, 20), (40, 1000, 0, 500)):
        wanted = binom.sf(count - 1, count + before, rows / (rows + rows_before))
        assert at_least(count, rows, before, rows_before) == pytest.approx(wanted)


def test_dates_and_texts_are_told() -> None:
    random = np.random.default_rng(9)
    known = trained_on(table(random, 1000), random)
    window = table(random, 1000)
    window["date"] += pd.Timedelta(days=365)
    texts = {
        gap.column: gap.measured.text
        for gap in gaps(renamed(window), known, random)
        if gap.kind == "unseen"
    }
    assert (
        "100.0% of the values lie outside of training's range, 2026-01-01 00:00:00 to 2026-04-"
        in texts["date"]
    )
    assert texts["few"].endswith("of the values are new, such as 'C'")
