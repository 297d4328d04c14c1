"""What the gate says of each metric, from its value, its bound and what the champion reached."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from src.metrics import better
from src.shared import files
from src.shared.bounds import bounds_in_words
from src.shared.errors import UserError, plain
from src.shared.params import Bound
from src.shared.paths import BASELINE, METRICS, PROVENANCE
from src.shared.slices import Slice
from src.shared.wording import counted

SHOWN = 3  # names of slices in one line


@dataclass(frozen=True)
class Drop:
    """How much worse the challenger is in one metric, on the rows that both models tested.

    Attributes:
        estimate: the paired difference; above 0 the challenger is worse, below 0 it is better.
        low: the lower end of its interval.
        high: the upper end.
        rows: how many rows both models tested.
        level: of the interval in per cent: 90, so that the drop is below it by chance in 5 % of
            cases; wider where there are slices, among which these 5 % are shared out.
        slices: the drop in each slice with enough of these rows, by the slice's name.
    """

    estimate: float
    low: float
    high: float
    rows: int
    level: float = 90
    slices: dict[str, "Drop"] = field(default_factory=dict)

    @property
    def interval(self) -> str:
        """The interval and the number of rows in words."""
        ends = f"{self.level:.4g} % interval {self.low:.4g} to {self.high:.4g}"
        return f"{ends}, {self.rows} shared rows"


class Finding(StrEnum):
    """What a comparison says of one metric."""

    PASSED = "passed"
    UNDECIDED = "undecided"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Worst:
    """The slice in which a metric with a bound on slices is worst.

    Attributes:
        name: which rows it holds.
        rows: how many.
        value: the metric.
        low: the lower end of its 95 % interval; None where there is none.
        high: the upper end.
    """

    name: str
    rows: int
    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Say all of it."""
        ends = "" if self.low is None else f", 95 % interval {self.low:.4g} to {self.high:.4g}"
        return f"{self.value:.6g} where {plain(self.name)} ({counted(self.rows, 'row')}{ends})"


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one metric.

    Attributes:
        metric: its name.
        value: what evaluate measured; None where that is no finite number.
        min: the least value allowed.
        max: the greatest value allowed.
        passed: whether all is well.
        reason: why it is not; empty if it is.
        warning: what passes, but may be worse than is allowed.
        drop: how much worse it is than the champion on the same rows, where that is known.
        drop_from_best: the same for the best model so far, where that is not the champion.
        slice_min: the least value allowed in a slice.
        slice_max: the greatest value allowed in a slice.
        worst: the worst slice of enough rows, where slices are bounded and the metric is defined.
    """

    metric: str
    value: float | None
    min: float | None
    max: float | None
    passed: bool
    reason: str
    warning: str = ""
    drop: Drop | None = None
    drop_from_best: Drop | None = None
    slice_min: float | None = None
    slice_max: float | None = None
    worst: Worst | None = None


def read_metrics() -> dict[str, Any]:
    """Read what evaluate measured.

    Raises:
        UserError: evaluate has not run, or something else wrote the file.
    """
    remedy = "run `dvc repro -f evaluate`"
    metrics = files.read_json(METRICS, remedy)
    if not isinstance(metrics, dict):
        raise UserError(f"{METRICS.as_posix()}: not a JSON object; {remedy}")
    return metrics


def judge(
    metrics: dict[str, Any],
    bounds: dict[str, Bound],
    champion: dict[str, Any] | None = None,
    drops: Mapping[str, Drop] | None = None,
    drops_from_best: Mapping[str, Drop] | None = None,
    slices: Sequence[Slice] | None = None,
) -> list[Verdict]:
    """Compare metrics with their bounds, and with the champion's.

    Args:
        metrics: what evaluate wrote. Only a finite number can pass.
        bounds: for each metric the least and the greatest value allowed, both inclusive, and how
            far it may fall behind the champion's.
        champion: the metrics of the model to beat, if there is one.
        drops: for a metric how much worse it is than the champion on the same rows. Without it the
            two tables of metrics are compared.
        drops_from_best: how much worse it is than the best model so far, on the same rows.
        slices: those with enough rows to be bounded; None where they are not known.

    Returns:
        One verdict a bound, in the order of the bounds.
    """
    return [
        _judge(
            name,
            metrics,
            bound,
            (champion or {}).get(name),
            (drops or {}).get(name),
            (drops_from_best or {}).get(name),
            slices,
        )
        for name, bound in bounds.items()
    ]


def _judge(
    name: str,
    metrics: dict[str, Any],
    bound: Bound,
    was: Any = None,
    drop: Drop | None = None,
    from_best: Drop | None = None,
    slices: Sequence[Slice] | None = None,
) -> Verdict:
    value, worst = None, None
    reasons, warnings = list[str](), list[str]()
    if name not in metrics:
        reasons.append("missing")
    elif isinstance(metrics[name], bool) or not isinstance(metrics[name], int | float):
        reasons.append("not a number")
    elif not _is_number(metrics[name]):
        reasons.append("not finite")
    else:
        value = metrics[name]
        if bound.min is not None and value < bound.min:
            reasons.append("too low")
        elif bound.max is not None and value > bound.max:
            reasons.append("too high")
        elif bound.max_drop is not None:
            reason = _fallen(name, bound, value, was, drop)
            if reason and drop and judge_champion(drop, bound.max_drop) is Finding.UNDECIDED:
                reason += "; it may be chance"
                if bound.undecided == "pass":
                    warnings.append(reason)
                    reason = ""
            if from_best and judge_best(from_best, bound.max_drop) is Finding.REJECTED:
                allowed = f"allowed {bound.max_drop:g} ({from_best.interval})"
                reason = (
                    reason
                    or f"{from_best.estimate:.6g} worse than the best model so far, {allowed}"
                )
            reasons += filter(None, [reason])
        if bound.max_drop is not None:
            reasons += _fallen_in_slices(bound.max_drop, drop, from_best)
            warnings += _undecided_slices(bound.max_drop, drop)
        if bound.of_slices and slices is not None:
            worst, outside = _judge_slices(name, bound, slices)
            reasons += outside
            warnings += _unjudged_slices(name, slices)
    return Verdict(
        name,
        value,
        bound.min,
        bound.max,
        not reasons,
        "; ".join(reasons),
        "; ".join(warnings),
        drop,
        from_best,
        bound.slice_min,
        bound.slice_max,
        worst,
    )


def _judge_slices(
    name: str, bound: Bound, slices: Sequence[Slice]
) -> tuple[Worst | None, list[str]]:
    """Return the worst slice, and which slices lie outside the bounds on slices."""
    found = [
        Worst(one.name, one.rows, estimate.value, estimate.low, estimate.high)
        for one in slices
        if (estimate := one.metrics.get(name))
    ]
    if not found:
        return None, []
    lowest, highest = (choose(found, key=lambda one: one.value) for choose in (min, max))
    outside = []
    if bound.slice_min is not None and lowest.value < bound.slice_min:
        outside.append((lowest, f"too low in a slice: {lowest}, allowed {bound.slice_min:g}"))
    if bound.slice_max is not None and highest.value > bound.slice_max:
        outside.append((highest, f"too high in a slice: {highest}, allowed {bound.slice_max:g}"))
    worst = highest if bound.slice_min is None else lowest
    return next((one for one, _ in outside), worst), [reason for _, reason in outside]


def _unjudged_slices(name: str, slices: Sequence[Slice]) -> Iterator[str]:
    """Say in which slices a metric is not defined, so that they are not taken for good ones."""
    lacking = [plain(one.name) for one in slices if name not in one.metrics]
    if len(lacking) == len(slices):
        yield "the bound on slices bounds nothing: no slice of enough rows has this metric"
    elif lacking:
        more = ", ..." if len(lacking) > SHOWN else ""
        shown = ", ".join(lacking[:SHOWN]) + more
        yield f"not defined in {len(lacking)} of {len(slices)} slices: {shown}"


def _fallen_in_slices(max_drop: float, drop: Drop | None, from_best: Drop | None) -> Iterator[str]:
    """Say in which slice a metric has surely fallen furthest."""
    for rival, against, judge_one in (
        ("the champion", drop, judge_champion),
        ("the best model so far", from_best, judge_best),
    ):
        yield from _furthest(against, rival, max_drop, judge_one, Finding.REJECTED)


def _undecided_slices(max_drop: float, drop: Drop | None) -> Iterator[str]:
    """Say in which slice a metric has fallen furthest, where that may be chance."""
    for told in _furthest(drop, "the champion", max_drop, judge_champion, Finding.UNDECIDED):
        yield f"{told}; it may be chance"


def _furthest(
    drop: Drop | None,
    rival: str,
    max_drop: float,
    judge_one: Callable[[Drop, float], Finding],
    wanted: Finding,
) -> Iterator[str]:
    slices = drop.slices if drop else {}
    found = [name for name, one in slices.items() if judge_one(one, max_drop) is wanted]
    if found:
        name = max(found, key=lambda one: slices[one].estimate)
        one = slices[name]
        yield (
            f"{one.estimate:.6g} worse than {rival} where {plain(name)}, allowed {max_drop:g} "
            f"({one.interval}; {len(found)} of {len(slices)} slices)"
        )


def _fallen(name: str, bound: Bound, value: float, was: Any, drop: Drop | None) -> str:
    """Say how far a metric has fallen behind the champion's; empty if no further than allowed."""
    if not drop and not _is_number(was):
        return ""
    fallen = drop.estimate if drop else worse(name, bound, was, value)
    if bound.max_drop is None or not _exceeds(fallen, bound.max_drop):
        return ""
    told = f"{fallen:.6g} worse than the champion, allowed {bound.max_drop:g}"
    return f"{told} ({drop.interval})" if drop else told


def worse(name: str, bound: Bound, old: float, new: float) -> float:
    """Return how much worse a value is than an older one; below 0 where it is better."""
    # A metric that is not measured here counts as an error if it only has an upper bound.
    way = better(name) or ("lower" if bound.min is None else "higher")
    return (new - old) * (1 if way == "lower" else -1)


def judge_champion(drop: Drop, max_drop: float) -> Finding:
    """Judge the drop against the champion: the last model that passed.

    A drop beyond `max_drop` rejects if it is more than chance: if the challenger is worse at all in
    95 % of the resamples. So an equal model is rejected in at most about 5 % of cases, however few
    the rows; of all rows and all slices together, where there are slices.
    """
    if not _exceeds(drop.estimate, max_drop):
        return Finding.PASSED
    return Finding.REJECTED if drop.low > 0 else Finding.UNDECIDED


def judge_best(drop: Drop, max_drop: float) -> Finding:
    """Judge the drop against the best model so far, so that many small drops do not add up.

    It rejects only where the drop is surely beyond `max_drop`: the best of many equal models was
    also the luckiest, and every challenger meets it, after it has met the champion.
    """
    return Finding.REJECTED if _exceeds(drop.low, max_drop) else Finding.PASSED


def _exceeds(drop: float, allowed: float) -> bool:
    return drop - allowed > 1e-9 * max(1.0, abs(drop))  # 0.95 - 0.93 is a little above 0.02


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def table_of(verdicts: list[Verdict]) -> str:
    """Return the verdicts as a text table."""
    width = max(len("metric"), *(len(verdict.metric) for verdict in verdicts))
    bounds = [bounds_in_words(vars(verdict), ">=", "<=") for verdict in verdicts]
    room = max(20, *map(len, bounds))
    lines = [f"{'metric':{width}}  {'value':>10}  {'bound':{room}}  verdict"]
    for verdict, allowed in zip(verdicts, bounds, strict=True):
        value = "-" if verdict.value is None else f"{verdict.value:.6g}"
        word = "passed" if verdict.passed else f"REJECTED: {verdict.reason}"
        if verdict.warning:
            word += f", WARNING: {verdict.warning}"
        elif verdict.passed and verdict.drop:
            word += f": {verdict.drop.estimate:.6g} worse than the champion"
            word += f" ({verdict.drop.interval})"
        if verdict.passed and verdict.worst:
            word += f", worst slice: {verdict.worst}"
        lines.append(f"{verdict.metric:{width}}  {value:>10}  {allowed:{room}}  {word}")
    return "\n".join(lines)


def met_by_baseline(verdicts: list[Verdict], baseline: Any) -> list[str]:
    """List the bounds that a model meets which does not look at the features.

    Args:
        verdicts: what the gate says of each metric.
        baseline: for each metric its value without a model.
    """
    found = []
    values = baseline if isinstance(baseline, dict) else {}
    for verdict in verdicts:
        value, name = values.get(verdict.metric), verdict.metric
        bound = Bound(min=verdict.min, max=verdict.max)
        if _is_number(value) and _judge(name, {name: value}, bound).passed:
            found.append(
                f"the bound on {name} is met without a model: always the same answer gives "
                f"{value:.6g}; a stricter bound, or one on another metric, would tell more"
            )
    return found


def announce(
    verdicts: list[Verdict], path: Path, notes: Sequence[str] = (), left_out: Sequence[str] = ()
) -> int:
    """Write the verdicts to a file and print them as a table.

    Args:
        verdicts: one for each bound.
        path: the file.
        notes: how this model was compared with others, for the report.
        left_out: which slices were not judged.

    Returns:
        The exit status: 0 if all bounds are met, otherwise 1.
    """
    passed = all(verdict.passed for verdict in verdicts)
    baseline = files.read_json(BASELINE, "run `dvc repro -f evaluate`") if BASELINE.exists() else {}
    warnings = met_by_baseline(verdicts, baseline)
    with files.replacing(path) as (draft,):
        report: dict[str, Any] = {"passed": passed, "provenance": files.md5(PROVENANCE)}
        report["verdicts"] = [asdict(verdict) for verdict in verdicts]
        if notes:
            report["notes"] = list(notes)
        if left_out:
            report["left_out"] = list(left_out)
        files.write_json(draft, report)
    print(table_of(verdicts))
    for line in left_out:
        print(line)
    for warning in warnings:
        print(f"warning: {warning}")
    print("gate: passed" if passed else "gate: REJECTED")
    return 0 if passed else 1
