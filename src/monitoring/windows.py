"""The record, cut into windows of time, and what is found in each of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from src.monitoring.drifts import Gap, beyond_chance, compare, level
from src.monitoring.gather import Asked, Record
from src.monitoring.labels import Evaluated, Judged, with_class
from src.monitoring.labels import judge as judge_metrics
from src.shared import reference
from src.shared.errors import UserError
from src.shared.params import Monitor, Params
from src.shared.reference import Reference
from src.shared.wording import counted

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

BEGIN = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday, from which windows are counted
UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}
WINDOWS = 14  # that are looked at, unless SINCE says otherwise
OTHERS = 3  # windows to compare a window's number of rows with, at the least

FOUND, WELL, UNDECIDED = "found", "nothing found", "undecided"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong in a window.

    Attributes:
        kind: metric, label, drift, unseen, missing, schema, refused or volume.
        column: which column or metric; empty where it is none.
        text: what is wrong, as plain text.
    """

    kind: str
    column: str
    text: str


@dataclass
class Window:
    """A window of time, and what is found in it.

    Attributes:
        start: when it begins.
        end: when it ends; that moment is the next one's.
        rows: how many the model that is here answered.
        all_rows: how many any model answered.
        judged: whether enough of `rows` are distinct.
        gaps: how far each column lies from training, where they are enough.
        metrics: what the answers were worth, where enough of them have a label.
        findings: what is wrong.
    """

    start: datetime
    end: datetime
    rows: int
    all_rows: int
    judged: bool
    gaps: Sequence[Gap] = ()
    metrics: Sequence[Judged] = ()
    findings: list[Finding] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Found, nothing found or undecided."""
        return FOUND if self.findings else WELL if self.judged else UNDECIDED


def length_of(text: str) -> timedelta:
    """Return how long hours or days are, such as 12h or 7d."""
    return int(text[:-1]) * UNITS[text[-1]]


def moment(name: str, text: str, now: datetime) -> datetime:
    """Return the moment that SINCE or UNTIL names.

    Args:
        name: of the variable.
        text: so long before now, as 7d or 12h; or a date or a time, in UTC unless it has a zone.
        now: with a time zone.

    Raises:
        UserError: it is none of these.
    """
    if re.fullmatch(r"[0-9]{1,4}[hd]", text):
        return now - length_of(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        rule = "so long before now, as 7d or 12h, or a date, as 2026-11-20"
        raise UserError(f"{name} is {text!r}; allowed: {rule}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def floor(time: datetime, length: timedelta) -> datetime:
    """Return the beginning of the window that a moment is in."""
    return time - (time - BEGIN) % length


def cut(record: Record, since: datetime, until: datetime, limits: Monitor) -> list[datetime]:
    """Return where windows begin: those that are over, from the first one that has rows on.

    Args:
        record: the rows.
        since: no window begins earlier.
        until: what is over ends by then.
        limits: the section monitor of params.yaml.
    """
    if not len(record.times):
        return []
    length, first = length_of(limits.window), record.times.min().item().replace(tzinfo=UTC)
    start = floor(max(first, since), length)
    return [start + at * length for at in range(max(0, (until - start) // length))]


def judge(
    record: Record,
    starts: Sequence[datetime],
    known: Reference,
    limits: Monitor,
    schema: "DataFrameSchema | None" = None,
) -> list[Window]:
    """Judge each window by what was asked, without labels.

    Args:
        record: the rows.
        starts: where the windows begin.
        known: what the model was trained on.
        limits: the section monitor of params.yaml.
        schema: data/schema.yaml, where it is there.
    """
    length = length_of(limits.window)
    counts = [int(_within(record.answered, one, length).sum()) for one in starts]
    windows = []
    for at, start in enumerate(starts):
        asked = in_window(record.asked, start, length)
        rows = len(asked.times) if asked else 0
        distinct = once(asked) if asked else None
        enough = distinct is not None and len(distinct.times) >= limits.min_rows
        window = Window(start, start + length, rows, counts[at], enough)
        if distinct and enough:
            said = reference.output(distinct.said)
            window.gaps = list(compare(distinct.frame, said, known, limits, schema))
            window.findings += map(finding, beyond_chance(window.gaps))
        window.findings += refusals(record, start, limits, level(window.gaps))
        window.findings += volume(counts, at, limits)
        windows.append(window)
    return windows


def finding(gap: Gap) -> Finding:
    """Return a gap as what is wrong."""
    size, _, text = gap.measured
    told = f"{size:.2f} from training, allowed {gap.allowed:g}: {text}"
    return Finding(gap.kind, gap.column, told if gap.kind == "drift" else text)


def once(asked: Asked) -> Asked:
    """Return the last answer for each key: a row that is asked twice tells no more than once."""
    if asked.keys.empty:
        return asked
    unknown = asked.keys.isna().any(axis=1)
    return asked.take(np.asarray(unknown | ~asked.keys.duplicated(keep="last")))


def add_labels(
    windows: Sequence[Window], labelled: Asked, tested: Evaluated, settings: Params
) -> None:
    """Judge each window by the labels that have come.

    Args:
        windows: those to judge.
        labelled: the rows that have a label.
        tested: what evaluate measured.
        settings: the sections evaluate, gate and monitor.
    """
    for window in windows:
        asked = in_window(labelled, window.start, window.end - window.start)
        known = with_class(asked) if asked else None
        if asked and known and (others := len(asked.times) - len(known.times)):
            share = f"{counted(others, 'label')} of {len(asked.times):,} are no class of the model"
            window.findings.append(Finding("label", "", share))
        if not known or len(known.times) < settings.monitor.min_rows:
            continue
        window.metrics = list(judge_metrics(known, tested, settings.gate, settings.evaluate))
        for one in window.metrics:
            if one.wrong:
                where = f"{one.metric} where {one.slice}" if one.slice else one.metric
                window.findings.append(Finding("metric", where, f"{one}: {one.wrong}"))


def in_window(asked: Asked | None, start: datetime, length: timedelta) -> Asked | None:
    """Return the rows of a window; None where there are none."""
    within = _within(asked.times, start, length) if asked else np.array([])
    return asked.take(within) if asked and within.any() else None


def _within(times: np.ndarray, start: datetime, length: timedelta) -> np.ndarray:
    first, last = (np.datetime64(one.replace(tzinfo=None), "us") for one in (start, start + length))
    return (times >= first) & (times < last)


def refusals(record: Record, start: datetime, limits: Monitor, most: float) -> list[Finding]:
    """Say so where surely more requests were refused than is allowed.

    Args:
        record: the rows.
        start: where the window begins.
        limits: the section monitor of params.yaml.
        most: up to which chance it counts.
    """
    from scipy.special import bdtrc  # type: ignore[import-untyped]

    length = length_of(limits.window)
    refused, answered = (
        int(_within(times, start, length).sum()) for times in (record.refused, record.requests)
    )
    asked = refused + answered
    if not refused or bdtrc(refused - 1, asked, limits.max_refused) > most:
        return []
    share = f"{refused / asked:.1%} of {asked:,} requests were refused"
    return [Finding("refused", "", f"{share}, allowed {limits.max_refused:.1%}")]


def volume(counts: Sequence[int], at: int, limits: Monitor) -> list[Finding]:
    """Say so where a window has far fewer or more rows than the others.

    The first one is not called too short: the record may begin in the middle of it.

    Args:
        counts: how many rows each window has, whatever the model.
        at: which window.
        limits: the section monitor of params.yaml.
    """
    others = [*counts[:at], *counts[at + 1 :]]
    if limits.max_volume is None or len(others) < OTHERS:
        return []
    usual = float(np.median(others))
    few = at > 0 and counts[at] * limits.max_volume < usual
    many = counts[at] > usual * limits.max_volume
    if usual < limits.min_rows or not (few or many):
        return []
    rows = f"{counts[at]:,} rows" if counts[at] else "no rows"
    return [Finding("volume", "", f"{rows}, where other windows have about {usual:,.0f}")]
