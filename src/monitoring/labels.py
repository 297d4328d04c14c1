"""Labels that arrive later: joined to the rows that were answered, to see what these were worth."""

import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from src.metrics import METRICS, better
from src.monitoring.drifts import BY_LABELS
from src.monitoring.gather import REQUEST, ROW, Asked
from src.shared import fields, slices, store, tables
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.intervals import intervals
from src.shared.measure import headline, shares
from src.shared.params import Bound, Evaluate
from src.shared.sidecar import Sidecar
from src.shared.slices import Estimate, Slice
from src.shared.verdicts import worse
from src.shared.wording import counted

LABEL = "label"
NORMAL = NormalDist()
# Means of losses that have no limit, so that a few rows may make up most of them.
UNLIMITED = {"log_loss", "rmse", "mae", "r2", "mape"}


@dataclass(frozen=True)
class Labels:
    """Labels, at most one for each row that was asked.

    Attributes:
        by: the columns that say of which row a label is: REQUEST and ROW, or those of the key.
        values: the labels, None for what is no class of the model; the index has `by` as texts.
        notes: what the reader should know of them.
    """

    by: list[str]
    values: pd.Series
    notes: list[str]


@dataclass(frozen=True)
class Evaluated:
    """What evaluate measured on the test split; empty where that is not known here.

    Attributes:
        metrics: each metric.
        slices: the same on parts of the test split.
        rows: how many the test split has; 0 where that is not known.
    """

    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    slices: Sequence[Slice] = ()
    rows: int = 0


@dataclass(frozen=True)
class Part:
    """What the answers of a window were worth, or those of a slice of it.

    Attributes:
        name: of the slice; empty for all rows.
        rows: how many.
        metrics: each metric, with its 95 % interval.
        exact: of the metrics that are shares of independent rows: of how many, and how many these
            are of them.
    """

    name: str
    rows: int
    metrics: Mapping[str, Estimate]
    exact: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Judged:
    """A metric of the labelled rows of a window, or of a slice of them.

    Attributes:
        metric: its name.
        slice: which rows these are; empty for all.
        rows: how many.
        now: the metric, with its 95 % interval.
        bound: the least or greatest value allowed; None where there is none.
        wrong: what is wrong with it; empty if nothing is.
    """

    metric: str
    slice: str
    rows: int
    now: Estimate
    bound: float | None
    wrong: str

    def __str__(self) -> str:
        """Say what it is."""
        low, high = self.now.low, self.now.high
        ends = "" if low is None or high is None else f"95 % interval {low:.4g} to {high:.4g}, "
        return f"{self.now.value:.4g} ({ends}{self.rows:,} labelled rows)"


def read(address: str, known: Sidecar) -> Labels:
    """Read a table of labels: the target, and `request_id` with `row`, or the columns of the key.

    Args:
        address: a .csv or .parquet file, here or at an s3:// address.
        known: the sidecar of the model: its target, its key, how fields are written.

    Raises:
        UserError: it cannot be read, does not say of which row a label is, or holds what is no
            number where the model predicts one.
    """
    texts = read_texts(address, known.form)
    by = [REQUEST, ROW] if REQUEST in texts else known.key
    if not by or not {known.target, *by} <= {*texts}:
        needs = f"'{known.target}', and {REQUEST} with {ROW} or the columns of data.key"
        has = textwrap.shorten(tables.listed(map(str, texts)), 200, placeholder=" ...")
        raise UserError(f"LABELS={address}: needs {needs}; it has: {has}")
    texts = texts[[*by, known.target]].drop_duplicates()
    whole = texts[~texts[known.target].isin(known.form.absent) & (texts[by] != "").all(axis=1)]
    twice = whole.duplicated(by, keep=False)
    notes = []
    if twice.any():
        count = whole[twice].groupby(by).ngroups
        notes.append(
            f"Not used: the labels of {counted(count, 'row')}, which contradict each other."
        )
    index = pd.MultiIndex.from_frame(whole.loc[~twice, by])
    found = whole.loc[~twice, known.target]
    try:
        meaning = {text: _label(text, known) for text in found.unique()}
    except ValueError as error:
        raise UserError(f"LABELS={address}: {known.target}: {error}") from None
    if strange := [text for text, label in meaning.items() if label is None]:
        notes.append(f"Labels that are no class of the model: {tables.listed(strange[:5])[:200]}.")
    return Labels(by, pd.Series([meaning[text] for text in found], index, dtype=object), notes)


def read_texts(address: str, form: Format) -> pd.DataFrame:
    """Read a table as texts without blanks around them; an empty one is missing.

    Args:
        address: a .csv or .parquet file, here or at an s3:// address.
        form: how a CSV file is written.

    Raises:
        UserError: it cannot be read.
    """
    folder, _, name = address.rpartition("/")
    with store.reached(address):
        system, path = store.folder(folder or ".")
        if not system.exists(f"{path}/{name}"):
            raise UserError(f"LABELS={address}: no such file")
        content = system.cat_file(f"{path}/{name}")
    try:
        return _texts(content, form, is_csv=not name.lower().endswith(".parquet"))
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"LABELS={address}: cannot be read: {reason}") from None


def _texts(content: bytes, form: Format, *, is_csv: bool) -> pd.DataFrame:
    if is_csv:
        lines = io.StringIO(content.decode(form.encoding).removeprefix("\ufeff"))
        frame = pd.read_csv(lines, sep=form.separator, dtype=str, keep_default_na=False)
    else:
        table = pa.parquet.read_table(pa.BufferReader(content))
        frame = table.to_pandas(integer_object_nulls=True).astype(object)
        frame = frame.where(frame.notna(), "").map(str)
    frame.columns = [str(name).strip(BLANKS) for name in frame]
    return frame.apply(lambda column: column.str.strip(BLANKS))


def _label(text: str, known: Sidecar) -> Any:
    """Return the class, or the number, that a text names; None for what is no class.

    Raises:
        ValueError: it is no number, where the model predicts one.
    """
    if known.classes is None:
        try:
            return fields.read(text, "number", (), known.form.decimal)
        except ValueError as error:
            raise ValueError(f"{text[:50]!r} {error}") from None
    kinds: dict[type, Kind] = {bool: "boolean", int: "number", float: "number", str: "text"}
    try:
        value = fields.read(text, kinds[type(known.classes[0])], ())
    except ValueError:
        return None
    return next((label for label in known.classes if label == value), None)


def join(asked: Asked, labels: Labels) -> Asked:
    """Return the rows that have a label, with it, in the order of time.

    Of rows with the same key the last one counts: the one that was relied on.
    """
    asked = asked.take(np.argsort(asked.times, kind="stable"))
    own = asked.ids if labels.by == [REQUEST, ROW] else asked.keys[labels.by]
    index = pd.MultiIndex.from_frame(own.astype(object).where(own.notna(), "").map(str))
    at = labels.values.index.get_indexer(index)
    rows = np.flatnonzero((at >= 0) & ~index.duplicated(keep="last"))
    found = asked.take(rows)
    return replace(found, said=replace(found.said, actual=labels.values.to_numpy()[at[rows]]))


def with_class(labelled: Asked) -> Asked:
    """Return the rows whose label is a class of the model, or a number."""
    found = labelled.take(np.array([one is not None for one in labelled.said.actual], dtype=bool))
    return replace(found, said=replace(found.said, actual=np.array(found.said.actual.tolist())))


def judge(
    labelled: Asked, tested: Evaluated, bounds: Mapping[str, Bound], settings: Evaluate
) -> Iterator[Judged]:
    """Compare what the answers of a window were worth with the gate's bounds and the test split.

    Args:
        labelled: the rows that have a label which is a class, or a number.
        tested: what evaluate measured.
        bounds: the gate's.
        settings: the section evaluate of params.yaml.

    Yields:
        Each metric with a bound, of all rows, then of each slice with enough of them.
    """
    yield from compare(measure(labelled, settings), tested, bounds)


def measure(labelled: Asked, settings: Evaluate) -> list[Part]:
    """Measure what the answers of a window were worth: all of them, then each slice.

    Args:
        labelled: the rows that have a label which is a class, or a number.
        settings: the section evaluate of params.yaml.
    """
    parts = {"": np.arange(len(labelled.times))}
    known = [one for one in settings.slices if _column(one) in labelled.frame]  # recorded
    for names in slices.label(labelled.frame.reset_index(drop=True), known).values():
        for name in names.categories[np.unique(names.codes)]:
            rows = np.flatnonzero(names == name)
            if len(rows) >= settings.slice_rows:
                parts[name] = rows
    found = []
    for name, rows in parts.items():
        part = labelled.take(rows)
        ends = intervals(part.said, settings.resamples, settings.seed, order=part.times)
        metrics = {
            metric: Estimate(value, ends[metric].low, ends[metric].high)
            for metric, value in headline(part.said).items()
        }
        exact = {
            metric: counts
            for metric, counts in shares(part.said).items()
            if metric in ends and ends[metric].method == "Wilson"
        }
        found.append(Part(name, len(rows), metrics, exact))
    return found


def compare(
    parts: Sequence[Part], tested: Evaluated, bounds: Mapping[str, Bound]
) -> Iterator[Judged]:
    """Compare the metrics of a window with the bounds and the test split.

    Args:
        parts: all rows of the window, then its slices.
        tested: what evaluate measured.
        bounds: the gate's.
    """
    before = {"": (tested.metrics, tested.rows)}
    before |= {one.name: (one.metrics, one.rows) for one in tested.slices}
    for part in parts:
        limits = {
            metric: (one.slice_min, one.slice_max) if part.name else (one.min, one.max)
            for metric, one in bounds.items()
        }
        asked = [*(one.max_drop for one in bounds.values()), *chain(*limits.values())]
        questions = max(1, sum(one is not None for one in asked))
        if len(parts) > 1:  # all rows take one half of the false alarms, the slices the other
            questions *= 2 * (len(parts) - 1 if part.name else 1)
        z = NORMAL.inv_cdf(1 - BY_LABELS / questions)
        estimates, rows = before.get(part.name, ({}, 0))
        times = math.sqrt(part.rows / rows) if rows else 0.0
        for metric, bound in bounds.items():
            if metric in part.metrics:
                now = part.metrics[metric]
                wrong: list[str] = []
                if reach := _reaches(metric, part, z):
                    wrong += _missed(now.value, reach, limits[metric])
                    if then := estimates.get(metric):
                        wrong += _fallen(metric, bound, now.value, reach, then, times, z)
                limit = next((one for one in limits[metric] if one is not None), None)
                yield Judged(metric, part.name, part.rows, now, limit, "; ".join(wrong))


def _column(one: Any) -> str:
    return one if isinstance(one, str) else str(one.column)


def _missed(
    value: float, reach: tuple[float, float], limits: tuple[float | None, float | None]
) -> Iterator[str]:
    """Say which bound a metric surely misses.

    Args:
        value: of the metric.
        reach: how far its interval reaches below and above it.
        limits: the least and the greatest value allowed.
    """
    (below, above), (least, greatest) = reach, limits
    if least is not None and value + above < least:
        yield f"below {least:g}"
    if greatest is not None and value - below > greatest:
        yield f"above {greatest:g}"


def _fallen(
    metric: str,
    bound: Bound,
    value: float,
    reach: tuple[float, float],
    then: Estimate,
    times: float,
    z: float,
) -> Iterator[str]:
    """Say that a metric has surely fallen since the test split, if so.

    Where a few rows make up most of a metric, a test split may have none of these and seem surer
    than it is: its error counts as that of as many rows that spread as the window's do, at least.

    Source: Newcombe, Interval Estimation for the Difference Between Independent Proportions (1998),
    method 10.

    Args:
        metric: its name.
        bound: of the gate, for max_drop.
        value: of the metric here.
        reach: how far its interval reaches below and above it.
        then: the same of the test split.
        times: how much larger the error of as many rows as the test split has is; 0 if not known.
        z: how many standard errors are sure.
    """
    if bound.max_drop is None or then.low is None or then.high is None or then.low == then.high:
        return
    below, above = reach
    near, far = (above, then.low) if value < then.value else (below, then.high)  # face each other
    away = _reach(metric, then.value, far, z)
    if metric in UNLIMITED or (metric in METRICS and METRICS[metric].function):
        away = max(away, near * times)
    drop = worse(metric, bound, then.value, value)
    if drop > bound.max_drop and drop > math.hypot(near, away):
        was = f"{drop:.3g} worse than in the test split, {then.value:.4g}"
        yield f"{was}, allowed {bound.max_drop:g}"


def _reaches(metric: str, part: Part, z: float) -> tuple[float, float] | None:
    """Return how far below and above a metric its interval reaches; None where it has none.

    That of a share is exact. Wilson's is good at 95 %, but at the few in 10,000 that are asked here
    it misses a share near 1 several times as often as it should.

    Source: Clopper and Pearson, The Use of Confidence or Fiducial Limits (1934).

    Args:
        metric: its name.
        part: which rows.
        z: how many standard errors are sure.
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    now = part.metrics[metric]
    if now.low is None or now.high is None or now.low == now.high:
        return None
    if metric not in part.exact:
        return _reach(metric, now.value, now.low, z), _reach(metric, now.value, now.high, z)
    hits, count = part.exact[metric]
    chance, misses = NORMAL.cdf(-z), count - hits
    low = float(betaincinv(hits, misses + 1, chance)) if hits else 0.0
    lacking = float(betaincinv(misses, hits + 1, chance)) if misses else 0.0
    return hits / count - low, misses / count - lacking


def _reach(metric: str, value: float, end: float, z: float) -> float:
    """Return how far from a metric a wider interval ends than its 95 % interval.

    It is widened in the logarithm of what the metric lacks to be perfect, as the error of a metric
    that is nearly perfect is skewed.
    """
    times, perfect = z / NORMAL.inv_cdf(0.975), float(better(metric) != "lower")
    lacking, most = (perfect - value, perfect - end) if perfect else (value, end)
    if lacking < 0 or most <= 0:  # a metric of one's own, with another range
        return times * abs(end - value)
    if lacking == 0:
        return most * times**2
    return abs(lacking * (most / lacking) ** times - lacking)
