"""What the gate says of each metric, from its value, its bound and the champion's value."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.metrics import better
from src.shared import files
from src.shared.errors import UserError
from src.shared.params import Bound
from src.shared.paths import BASELINE, METRICS


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one metric. `value` is None where there is no finite number."""

    metric: str
    value: float | None
    min: float | None
    max: float | None
    passed: bool
    reason: str


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
    metrics: dict[str, Any], bounds: dict[str, Bound], champion: dict[str, Any] | None = None
) -> list[Verdict]:
    """Compare metrics with their bounds, and with the champion's.

    Args:
        metrics: what evaluate wrote. Only a finite number can pass.
        bounds: for each metric the least and the greatest value allowed, both inclusive, and how
            far it may fall behind the champion's.
        champion: the metrics of the model to beat, if there is one.

    Returns:
        One verdict a bound, in the order of the bounds.
    """
    return [_judge(name, metrics, bound, champion or {}) for name, bound in bounds.items()]


def _judge(name: str, metrics: dict[str, Any], bound: Bound, champion: dict[str, Any]) -> Verdict:
    value, reason = None, ""
    if name not in metrics:
        reason = "missing"
    elif isinstance(metrics[name], bool) or not isinstance(metrics[name], int | float):
        reason = "not a number"
    elif not _is_number(metrics[name]):
        reason = "not finite"
    else:
        value = metrics[name]
        if bound.min is not None and value < bound.min:
            reason = "too low"
        elif bound.max is not None and value > bound.max:
            reason = "too high"
        elif bound.max_drop is not None and _is_number(champion.get(name)):
            # A metric that is not measured here counts as an error if it only has an upper bound.
            way = better(name) or ("lower" if bound.min is None else "higher")
            drop = (value - champion[name]) * (1 if way == "lower" else -1)
            if round(drop, 6) > bound.max_drop:
                reason = f"{drop:.6g} worse than the champion, allowed {bound.max_drop:g}"
    return Verdict(name, value, bound.min, bound.max, not reason, reason)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def table_of(verdicts: list[Verdict]) -> str:
    """Return the verdicts as a text table."""
    width = max(len("metric"), *(len(verdict.metric) for verdict in verdicts))
    lines = [f"{'metric':{width}}  {'value':>10}  {'bound':20}  verdict"]
    for verdict in verdicts:
        value = "-" if verdict.value is None else f"{verdict.value:.6g}"
        least = [] if verdict.min is None else [f">= {verdict.min:g}"]
        most = [] if verdict.max is None else [f"<= {verdict.max:g}"]
        word = "passed" if verdict.passed else f"REJECTED: {verdict.reason}"
        lines.append(f"{verdict.metric:{width}}  {value:>10}  {', '.join(least + most):20}  {word}")
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
        if _is_number(value) and _judge(name, {name: value}, bound, {}).passed:
            found.append(
                f"the bound on {name} is met without a model: always the same answer gives "
                f"{value:.6g}; a stricter bound, or one on another metric, would tell more"
            )
    return found


def announce(verdicts: list[Verdict], path: Path) -> int:
    """Write the verdicts to a file and print them as a table.

    Returns:
        The exit status: 0 if all bounds are met, otherwise 1.
    """
    passed = all(verdict.passed for verdict in verdicts)
    baseline = files.read_json(BASELINE, "run `dvc repro -f evaluate`") if BASELINE.exists() else {}
    warnings = met_by_baseline(verdicts, baseline)
    with files.replacing(path) as (draft,):
        report = {"passed": passed, "verdicts": [asdict(verdict) for verdict in verdicts]}
        files.write_json(draft, report)
    print(table_of(verdicts))
    for warning in warnings:
        print(f"warning: {warning}")
    print("gate: passed" if passed else "gate: REJECTED")
    return 0 if passed else 1
