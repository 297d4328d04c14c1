"""Labels that arrive later: joined to the rows that were answered, to see what these were worth."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from src.metrics import better
from src.monitoring.drifts import FALSE_ALARMS
from src.monitoring.gather import REQUEST, ROW, Asked
from src.shared import fields, slices, store, tables
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Format, Kind
from src.shared.intervals import intervals
from src.shared.measure import headline
from src.shared.params import Bound, Evaluate
from src.shared.sidecar import Sidecar
from src.shared.slices import Estimate, Slice
from src.shared.verdicts import worse

LABEL = "label"
NORMAL = NormalDist()


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
    """

    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    slices: Sequence[Slice] = ()


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


def counted(count: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


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
        has = tables.listed(map(str, texts))[:200]
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
    parts = {"": np.arange(len(labelled.times))}
    known = [one for one in settings.slices if _column(one) in labelled.frame]  # recorded
    for names in slices.label(labelled.frame.reset_index(drop=True), known).values():
        for name in names.categories[np.unique(names.codes)]:
            rows = np.flatnonzero(names == name)
            if len(rows) >= settings.slice_rows:
                parts[name] = rows
    before = {"": tested.metrics} | {one.name: one.metrics for one in tested.slices}
    for name, rows in parts.items():
        limits = {
            metric: (one.slice_min, one.slice_max) if name else (one.min, one.max)
            for metric, one in bounds.items()
        }
        asked = [*(bounds[metric].max_drop for metric in bounds), *chain(*limits.values())]
        questions = max(1, sum(one is not None for one in asked))
        if len(parts) > 1:  # all rows take one half of the false alarms, the slices the other
            questions *= 2 * (len(parts) - 1 if name else 1)
        z = NORMAL.inv_cdf(1 - FALSE_ALARMS / 2 / questions)
        part = labelled.take(rows)
        values = headline(part.said)
        ends = intervals(part.said, settings.resamples, settings.seed, order=part.times)
        for metric, bound in bounds.items():
            if metric in values:
                now = Estimate(values[metric], ends[metric].low, ends[metric].high)
                limit = next((one for one in limits[metric] if one is not None), None)
                then = before.get(name, {}).get(metric)
                wrong = "; ".join(_wrong(metric, bound, limits[metric], now, then, z))
                yield Judged(metric, name, len(rows), now, limit, wrong)


def _column(one: Any) -> str:
    return one if isinstance(one, str) else str(one.column)


def _wrong(
    metric: str,
    bound: Bound,
    limits: tuple[float | None, float | None],
    now: Estimate,
    then: Estimate | None,
    z: float,
) -> Iterator[str]:
    """Say what is surely wrong with a metric.

    Source: Newcombe, Interval Estimation for the Difference Between Independent Proportions (1998),
    method 10, for the difference from the test split.

    Args:
        metric: its name.
        bound: of the gate, for max_drop.
        limits: the least and the greatest value allowed of these rows.
        now: the metric of these rows.
        then: the same of the test split, if it is known.
        z: how many standard errors are sure.
    """
    if now.low is None or now.high is None or now.low == now.high:
        return
    least, greatest = limits
    if least is not None and now.value + _reach(metric, now.value, now.high, z) < least:
        yield f"below {least:g}"
    if greatest is not None and now.value - _reach(metric, now.value, now.low, z) > greatest:
        yield f"above {greatest:g}"
    if bound.max_drop is None or then is None or then.low == then.high:
        return
    drop = worse(metric, bound, then.value, now.value)
    near, far = (now.high, then.low) if now.value < then.value else (now.low, then.high)
    ends = (now.value, near), (then.value, far)  # those that face each other
    margin = math.hypot(*(_reach(metric, value, end, z) for value, end in ends if end is not None))
    if drop > bound.max_drop and drop > margin:
        was = f"{drop:.3g} worse than in the test split, {then.value:.4g}"
        yield f"{was}, allowed {bound.max_drop:g}"


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
