"""Stage 5: stop a model that misses a bound.

Exit status: 0 passed, 1 rejected, 2 could not decide. Run on its own, outside DVC, it judges the
metrics file as it is now; MIN_ACCURACY in the environment raises the bound on accuracy. With
`--champion REVISION` it also compares with the metrics of the last model that passed up to there.
"""

import argparse
import math
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from src import errors, files, params
from src.errors import UserError
from src.params import Bound

METRICS = Path("metrics/evaluate/metrics.json")
REPORT = Path("metrics/gate.json")
COMPARED = Path("report/gate.json")

# Which way a metric is better; one that is in neither is an error if it only has an upper bound.
ERRORS = {"rmse", "mae", "mape", "log_loss", "brier"}
SCORES = {"accuracy", "balanced_accuracy", "roc_auc", "average_precision", "r2"}
SCORES |= {f"{name}{ending}" for name in ("f1", "precision", "recall") for ending in ("", "_macro")}


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one metric. `value` is None where there is no finite number."""

    metric: str
    value: float | None
    min: float | None
    max: float | None
    passed: bool
    reason: str


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
            low_is_better = name in ERRORS or (name not in SCORES and bound.min is None)
            drop = (value - champion[name]) * (1 if low_is_better else -1)
            if round(drop, 6) > bound.max_drop:
                reason = f"{drop:.6g} worse than the champion, allowed {bound.max_drop:g}"
    return Verdict(name, value, bound.min, bound.max, not reason, reason)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def raise_accuracy(bounds: dict[str, Bound], text: str | None) -> dict[str, Bound]:
    """Raise the bound on accuracy to the value of MIN_ACCURACY; never lower it.

    Args:
        bounds: the bounds of params.yaml.
        text: the variable's value, None where it is not set.

    Raises:
        UserError: the value is not a number from 0 to 1.
    """
    if text is None:
        return bounds
    try:
        least = float(text)
    except ValueError:
        least = math.nan
    if not 0 <= least <= 1:
        raise UserError(f"MIN_ACCURACY is {text!r}; allowed: a number from 0 to 1, or unset it")
    bound = bounds.get("accuracy", Bound(min=0.0))
    raised = least if bound.min is None else max(least, bound.min)
    try:
        return bounds | {"accuracy": msgspec.structs.replace(bound, min=raised)}
    except ValueError:
        raise UserError(f"MIN_ACCURACY is {text!r}, above gate.accuracy.max {bound.max}") from None


def table_of(verdicts: list[Verdict]) -> str:
    """Lay the verdicts out as a text table."""
    width = max(len("metric"), *(len(verdict.metric) for verdict in verdicts))
    lines = [f"{'metric':{width}}  {'value':>10}  {'bound':20}  verdict"]
    for verdict in verdicts:
        value = "-" if verdict.value is None else f"{verdict.value:.6g}"
        least = [] if verdict.min is None else [f">= {verdict.min:g}"]
        most = [] if verdict.max is None else [f"<= {verdict.max:g}"]
        word = "passed" if verdict.passed else f"REJECTED: {verdict.reason}"
        lines.append(f"{verdict.metric:{width}}  {value:>10}  {', '.join(least + most):20}  {word}")
    return "\n".join(lines)


def find_champion(revision: str) -> tuple[str, dict[str, Any]] | None:
    """Find the last model up to a revision that its own gate let pass.

    A model that was rejected on main is there in Git, but the next one has to beat the one before.

    Returns:
        Its commit and its metrics; None if there is none.
    """
    from src import base  # what the stage itself has no use for

    found: tuple[str, dict[str, Any]] | None = None
    for commit in base.history(revision, METRICS.as_posix(), "params.yaml"):
        metrics = base.read_json(commit, METRICS.as_posix())
        try:
            gate = base.read_yaml(commit, "params.yaml").get("gate")
            bounds = msgspec.convert(gate, dict[str, Bound])
        except msgspec.ValidationError:
            continue
        champion = found[1] if found else None
        if isinstance(metrics, dict) and all(
            verdict.passed for verdict in judge(metrics, bounds, champion)
        ):
            found = commit, metrics
    return found


def main() -> int:
    """Judge metrics/evaluate/metrics.json, write metrics/gate.json, print the table."""
    parser = argparse.ArgumentParser(description="Stop a model that misses a bound.")
    parser.add_argument("--champion", metavar="REVISION", help="compare with its metrics as well")
    revision = parser.parse_args().champion
    bounds = raise_accuracy(params.load().gate, os.environ.get("MIN_ACCURACY"))
    metrics = files.read_json(METRICS, "run `dvc repro -f evaluate`")
    if not isinstance(metrics, dict):
        raise UserError(f"{METRICS.as_posix()}: not a JSON object; run `dvc repro -f evaluate`")
    champion = None if revision is None else find_champion(revision)
    if champion:
        print(f"the champion's metrics are those of {champion[0]}")
    elif revision is not None:
        print("no champion: this is the first model")
    verdicts = judge(metrics, bounds, champion[1] if champion else None)
    passed = all(verdict.passed for verdict in verdicts)
    # A comparison is this run's alone: what DVC and Git keep holds the bounds.
    target = REPORT if revision is None else COMPARED
    with files.replacing(target) as (draft,):
        report = {"passed": passed, "verdicts": [asdict(verdict) for verdict in verdicts]}
        files.write_json(draft, report)
    print(table_of(verdicts))
    print("gate: passed" if passed else "gate: REJECTED")
    return 0 if passed else 1


if __name__ == "__main__":
    errors.run(main, status=2)
