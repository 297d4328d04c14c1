"""How far the rows of a window lie from what the model was trained on, and whether that is chance.

Each check gives a size, what params.yaml allows, and the chance of that size where nothing has
changed: then rows of the window and of the train split might change places. So the error of the
train split counts, and no distribution is presumed; only that rows do not depend on one another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from src.shared.params import Monitor
from src.shared.reference import Numbers, Reference, Sketch, Texts, as_floats, as_texts

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

# Of 200 windows in which nothing has changed one may have a finding: half by labels, half by the
# rest, which is the columns and the share of refused requests.
BY_LABELS = BY_ROWS = 1 / 400

PREDICTION = "prediction"


class Measured(NamedTuple):
    """A size from 0 to 1, its chance where nothing has changed, and what there is to say.

    The chance is a bound, which may be above 1.
    """

    size: float
    chance: float
    text: str


NOTHING = Measured(0.0, 1.0, "")


@dataclass(frozen=True)
class Gap:
    """How far a column of a window lies from training.

    Attributes:
        kind: drift, unseen, missing or schema.
        column: a feature, or PREDICTION.
        allowed: the largest size that params.yaml allows.
        measured: how far it lies.
    """

    kind: str
    column: str
    allowed: float
    measured: Measured


def compare(
    frame: pd.DataFrame,
    said: pd.Series,
    reference: Reference,
    limits: Monitor,
    schema: "DataFrameSchema | None" = None,
) -> Iterator[Gap]:
    """Compare the rows of a window with training.

    Args:
        frame: the features that are recorded, shape (rows, features).
        said: the predictions, as `reference.output` has them, shape (rows,).
        reference: the sketches of the train split.
        limits: the section monitor of params.yaml.
        schema: data/schema.yaml, where it is there.
    """
    weight = reference.independent / reference.rows  # of a row of the train split
    for name, sketch in reference.columns.items():
        if name not in frame or name in limits.accept:
            continue
        column, known = frame[name], frame[name].dropna()
        missing, before = weight * sketch.missing, weight * (reference.rows - sketch.missing)
        drift, unseen = _values(known, sketch, before)
        yield Gap("drift", name, limits.max_drift, drift)
        yield Gap("unseen", name, limits.max_unseen, unseen)
        yield Gap("missing", name, limits.max_missing, _missing(column, missing, before))
        if schema is not None and name in schema.columns:
            yield Gap("schema", name, 0, _broken(known, schema.columns[name].checks, before))
    drift, _ = _values(said, reference.prediction, reference.independent)
    yield Gap("drift", PREDICTION, limits.max_drift, drift)


def level(gaps: Sequence[Gap]) -> float:
    """Return up to which chance a check of a window counts: so that all of them keep to BY_ROWS.

    Source: Bonferroni's inequality, as in Dunn, Multiple Comparisons Among Means (1961).

    Args:
        gaps: those of the window; besides them the refused requests are checked.
    """
    return BY_ROWS / (len(gaps) + 1)


def beyond_chance(gaps: Sequence[Gap]) -> list[Gap]:
    """Return the gaps that are larger than is allowed, and surely so."""
    most = level(gaps)
    return [one for one in gaps if one.measured.size > one.allowed and one.measured.chance <= most]


def at_least(count: Any, rows: float, before: Any, rows_before: float) -> Any:
    """Return the chance that so many rows of a window have a property, or more.

    Source: Przyborowski and Wilenski, Homogeneity of Results in Testing Samples from Poisson Series
    (1940): given how many rows of both samples have it, the window's number is binomial. Of shares
    it is hypergeometric, which spreads less (Hoeffding, Probability Inequalities, 1963, section 6).

    Args:
        count: how many rows of the window have it.
        rows: of the window.
        before: how many rows of the train split do. Neither need be whole, as rows may weigh less.
        rows_before: of the train split.
    """
    from scipy.special import betainc  # type: ignore[import-untyped]

    share = rows / (rows + rows_before)
    return np.where(np.asarray(count) > 0, betainc(np.maximum(count, 1e-9), before + 1, share), 1.0)


def _values(known: pd.Series, sketch: Sketch, before: float) -> tuple[Measured, Measured]:
    """Compare the known values of a column with training: their drift, and what is unseen."""
    if known.empty:
        return NOTHING, NOTHING
    if isinstance(sketch, Numbers):
        return _numbers(known, sketch, before)
    return _texts(known, sketch, before)


def _numbers(known: pd.Series, sketch: Numbers, before: float) -> tuple[Measured, Measured]:
    """Compare numbers, truth values or dates.

    Returns:
        The largest gap between the cumulative distributions, at the sketch's cuts (the two-sample
        Kolmogorov-Smirnov statistic is at least that), and the share outside of training's range.

    Source: Smirnov's asymptotic bound, 2 exp(-2 d^2 n m / (n + m)). For the range: the values in
    the pool of both samples that lie outside of it are its least and greatest ones, split in one of
    count + 1 ways between the two ends.
    """
    if sketch.low is None or sketch.middle is None or sketch.high is None:
        return NOTHING, NOTHING
    values, rows = np.sort(as_floats(known)), len(known)
    below, above = (values < sketch.low).sum(), (values > sketch.high).sum()
    now = np.searchsorted(values, sketch.cuts, side="right") / rows
    then = np.array(sketch.below) / sketch.known
    size = max(np.abs(now - then).max(initial=0.0), below / rows, above / rows)
    chance = 2 * np.exp(-2 * size**2 / (1 / rows + 1 / before))

    def told(value: float) -> str:
        return f"{pd.Timestamp(value, unit='s')}" if known.dtype.kind == "M" else f"{value:.4g}"

    middle = told(float(np.median(values)))
    halves = f"half of the values lie below {middle}, in training below {told(sketch.middle)}"
    count = int(below + above)
    ends = f"{told(sketch.low)} to {told(sketch.high)}"
    text = f"{count / rows:.1%} of the values lie outside of training's range, {ends}"
    outside = Measured(count / rows, (count + 1) * float(at_least(count, rows, 0, before)), text)
    return Measured(float(size), float(chance), halves), outside


def _texts(known: pd.Series, sketch: Texts, before: float) -> tuple[Measured, Measured]:
    """Compare texts or classes.

    Returns:
        Half the sum of the gaps between the shares (the total variation distance), with the chance
        of the value whose share has moved most surely; and the share of values that training did
        not have, where the sketch has all that it did.

    Source: for many rare values the share of those seen once (Good and Turing) and Hoeffding's
    inequality, as in `src.shared.drift.chance_unseen`.
    """
    if not sketch.counts:
        return NOTHING, NOTHING
    rows, weight = len(known), before / sketch.known
    then = weight * np.array([*sketch.counts.values()], dtype=float)
    new = as_texts(known).value_counts().to_dict()
    now = np.array([new.pop(text, 0) for text in sketch.counts])
    fresh = np.array([*new.values()], dtype=int)
    gaps = np.abs(now / rows - then / before).sum()
    gaps += abs(fresh.sum() / rows - weight * sketch.rest / before)

    # A text that is not listed was in training at most as often as the last one that is.
    more_fresh = at_least(fresh, rows, then.min() if sketch.rest else 0.0, before)
    moved = np.minimum(at_least(now, rows, then, before), at_least(then, before, now, rows))
    chances = np.concatenate([2 * moved, more_fresh])
    values, at = sketch.distinct + len(new), int(chances.argmin())
    text = [*sketch.counts, *new][at]
    shares = [now[at] / rows, then[at] / before] if at < len(now) else [new[text] / rows, 0.0]
    told = f"{shares[0]:.1%} of the values are {text!r}, in training {shares[1]:.1%}"
    drift = Measured(float(gaps / 2), values * float(chances[at]), told)
    if sketch.rest or not new:
        return drift, NOTHING

    share, once = fresh.sum() / rows, weight * (then == weight).sum() / before
    many = np.exp(-2 * max(share - once, 0.0) ** 2 / (1 / rows + 1 / before))
    told = f"{share:.1%} of the values are new, such as {next(iter(new))!r}"
    return drift, Measured(float(share), 2 * min(values * float(more_fresh.min()), many), told)


def _missing(column: pd.Series, missing: float, before: float) -> Measured:
    """Return by how much more of a column is missing than in training.

    Args:
        column: of the window, at least one row.
        missing: how many rows of training lack it.
        before: how many have it.
    """
    lacking, rows, rows_before = int(column.isna().sum()), len(column), missing + before
    share, then = lacking / rows, missing / rows_before
    if share <= then:
        return NOTHING
    if lacking + missing <= (rows + rows_before) / 2:
        chance = at_least(lacking, rows, missing, rows_before)
    else:  # the rarer of the two tells more
        chance = at_least(before, rows_before, rows - lacking, rows)
    return Measured(
        share - then, float(chance), f"{share:.1%} of the rows lack it, in training {then:.1%}"
    )


def _broken(known: pd.Series, checks: list[Any], before: float) -> Measured:
    """Return the share of values that the schema does not allow, which training keeps to.

    Lists of values are left to what is unseen: the schema may know more than training had.
    """
    checks = [one for one in checks if one.name != "isin"]
    if known.empty or not checks:
        return NOTHING
    bad = ~np.logical_and.reduce(
        [np.asarray(one(known).check_output, dtype=bool) for one in checks]
    )
    count, rows = int(bad.sum()), len(known)
    if not count:
        return NOTHING
    text = f"{count / rows:.1%} of the values break data/schema.yaml, such as {known[bad].iloc[0]}"
    return Measured(count / rows, (count + 1) * float(at_least(count, rows, 0, before)), text)
