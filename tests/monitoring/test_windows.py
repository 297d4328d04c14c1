"""Windows of time: where they begin, how many rows they have, how many requests were refused."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.monitoring.gather import Asked, Record
from src.monitoring.windows import cut, floor, length_of, moment, once, refusals, volume
from src.shared.measure import Predictions
from src.shared.params import Monitor

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)  # a Wednesday
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = NOON - 12 * HOUR


def limits(**keys: Any) -> Monitor:
    return Monitor(leave_out=[], **keys)


def record_of(answered: list[datetime], refused: list[datetime]) -> Record:
    no, yes = (
        np.array([one.replace(tzinfo=None) for one in some], "datetime64[us]")
        for some in (refused, answered)
    )
    return Record(None, no, yes, yes, Counter())


@pytest.mark.parametrize(
    ("length", "begin"),
    [("1h", NOON), ("1d", TODAY), ("7d", TODAY - 2 * DAY)],
)
def test_a_window_begins_at_a_whole_hour_a_day_or_a_monday(length: str, begin: datetime) -> None:
    assert floor(NOON + timedelta(minutes=5), length_of(length)) == begin
    assert floor(begin, length_of(length)) == begin


def test_a_moment_may_be_told_in_three_ways() -> None:
    assert moment("SINCE", "12h", NOON) == NOON - 12 * HOUR
    assert moment("SINCE", "2026-11-20", NOON) == datetime(2026, 11, 20, tzinfo=UTC)
    assert moment("SINCE", "2026-11-20T02:00+02:00", NOON) == datetime(2026, 11, 20, tzinfo=UTC)


def test_windows_are_those_that_are_over_from_the_first_with_rows_on() -> None:
    rows = record_of([NOON - 3 * DAY], [NOON - DAY])
    assert cut(rows, TODAY - 9 * DAY, NOON, limits()) == [TODAY - ago * DAY for ago in (3, 2, 1)]
    assert cut(rows, TODAY - DAY, NOON, limits()) == [TODAY - DAY]
    assert cut(rows, TODAY - DAY, NOON - DAY, limits()) == []
    assert cut(record_of([], []), TODAY, NOON, limits()) == []


@pytest.mark.parametrize(
    ("counts", "at", "told"),
    [
        ([1000, 900, 1100, 99], 3, "99 rows, where other windows have about 1,000"),
        ([1000, 900, 1100, 0], 3, "no rows, where other windows have about 1,000"),
        ([1000, 900, 1100, 10_001], 3, "10,001 rows, where other windows have about 1,000"),
        ([1000, 900, 1100, 101], 3, ""),
        ([1, 1000, 900, 1100], 0, ""),  # the record may begin in the middle of it
        ([1000, 1000, 0], 2, ""),  # two others are too few
        ([50, 50, 50, 0], 3, ""),  # so few rows vary by chance
    ],
)
def test_a_number_of_rows_unlike_the_others_is_found(counts: list[int], at: int, told: str) -> None:
    assert [one.text for one in volume(counts, at, limits())] == ([told] if told else [])


def test_refused_requests_are_found_where_they_are_surely_too_many() -> None:
    for refused, found in ((10, False), (14, False), (30, True)):
        rows = record_of([NOON] * (100 - refused), [NOON] * refused)
        assert bool(refusals(rows, TODAY, limits(), 1 / 400)) is found
        assert refusals(rows, TODAY - DAY, limits(), 1 / 400) == []


def test_a_row_that_is_asked_again_counts_once() -> None:
    keys = pd.DataFrame({"id": ["1", "2", "1", None, None]})
    said = Predictions(np.full(5, None), np.arange(5.0))
    ids, times = pd.DataFrame(index=keys.index), np.arange(5).astype("datetime64[us]")
    assert once(Asked(ids, keys, times, ids, said)).said.predicted.tolist() == [1, 2, 3, 4]
    assert len(once(Asked(ids, keys[[]], times, ids, said)).times) == 5
