"""The champion: the last model on a branch that its own gate let pass."""

from dataclasses import dataclass
from typing import Any

import msgspec

from src.shared import revisions
from src.shared.params import Bound
from src.shared.paths import METRICS, PARAMS
from src.shared.verdicts import judge


@dataclass(frozen=True)
class Champion:
    """A model to beat: the commit that it is of, and its metrics."""

    commit: str
    metrics: dict[str, Any]


def find(revision: str) -> Champion | None:
    """Find the champion of a branch; None if there is none.

    A model that was rejected on main is there in Git, but the next one has to beat the one before.

    Args:
        revision: where the branch ends; as for `revisions.read`.
    """
    found: Champion | None = None
    for commit in revisions.history(revision, METRICS.as_posix(), PARAMS.as_posix()):
        metrics = revisions.read_json(commit, METRICS.as_posix())
        try:
            gate = revisions.read_yaml(commit, PARAMS.as_posix()).get("gate")
            bounds = msgspec.convert(gate, dict[str, Bound])
        except msgspec.ValidationError:
            continue
        if isinstance(metrics, dict) and all(
            verdict.passed for verdict in judge(metrics, bounds, found.metrics if found else None)
        ):
            found = Champion(commit, metrics)
    return found
