"""The champion: the last model on a branch that its own gate let pass, and the best one so far."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import msgspec

from src.shared import revisions
from src.shared.errors import UserError
from src.shared.git import read_all
from src.shared.params import Bound
from src.shared.paths import DVC_LOCK, METRICS, PARAMS, SLICES
from src.shared.revisions import Place
from src.shared.slices import Slice, enough, parse
from src.shared.verdicts import judge, worse


@dataclass(frozen=True)
class Best:
    """The model that was best in one metric, of those that passed.

    Attributes:
        place: the commit that it is of.
        value: its metric.
        max_drop: the drop that the last model that passed was allowed.
    """

    place: Place
    value: float
    max_drop: float


@dataclass(frozen=True)
class Champion:
    """A model to beat: the commit that it is of, and its metrics.

    Attributes:
        place: the commit that it is of.
        metrics: what evaluate measured there.
        best: for each metric with a `max_drop` the best model up to there.
    """

    place: Place
    metrics: dict[str, Any]
    best: dict[str, Best] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        """The commit that it is of."""
        return self.place.commit


def find(revision: str, without: Collection[str] = ()) -> Champion | None:
    """Find the champion of a branch; None if no commit of it has a model yet.

    A model that was rejected on main is there in Git, but the next one has to beat the one before.

    Args:
        revision: where the branch ends; as for `revisions.history`.
        without: commits whose results are known to be wrong.

    Raises:
        UserError: there are models, but none that passed; or the history cannot be read.
    """
    # Another dvc.lock names other predictions, though the metrics may be the same.
    paths = [path.as_posix() for path in (METRICS, PARAMS, DVC_LOCK)]
    places = revisions.history(revision, *paths)
    read = [*paths, SLICES.as_posix()]
    texts = iter(read_all([place.path(path) for place in places for path in read]))
    found: Champion | None = None
    models = 0
    for place, metrics_text, params_text, lock, slices_text in zip(
        places, texts, texts, texts, texts, strict=False
    ):
        models += metrics_text is not None
        metrics, bounds = _metrics(metrics_text), _bounds(params_text)
        if metrics is None or not bounds or place.commit in without:
            continue
        if not _names(lock, metrics_text):  # written by hand
            continue
        before = found.metrics if found else None
        slices = _slices(slices_text, params_text)
        if all(verdict.passed for verdict in judge(metrics, bounds, before, slices=slices)):
            best = _best(found.best if found else {}, Champion(place, metrics), bounds)
            found = Champion(place, metrics, best)
    if models and not found:
        raise UserError(
            f"{revision or 'HEAD^'}: none of its {models} commits with metrics passed its own "
            "gate, so there is no champion to compare with; the first one on main that meets its "
            "bounds will be it"
        )
    return found


def _best(known: dict[str, Best], passed: Champion, bounds: dict[str, Bound]) -> dict[str, Best]:
    """Return the best models, now that another one has passed.

    Where `max_drop` was raised, its owner has accepted a drop: the best begins anew there.
    """
    found = {}
    for name, bound in bounds.items():
        if bound.max_drop is None:
            continue
        old, here = known.get(name), Best(passed.place, passed.metrics[name], bound.max_drop)
        found[name] = here
        if old and bound.max_drop <= old.max_drop and worse(name, bound, old.value, here.value) > 0:
            found[name] = replace(old, max_drop=bound.max_drop)
    return found


def _names(lock: str | None, metrics: str | None) -> bool:
    """Tell whether dvc.lock names these metrics by their hash."""
    content = (metrics or "").encode()
    return f"md5: {hashlib.md5(content, usedforsecurity=False).hexdigest()}" in (lock or "")


def _metrics(text: str | None) -> dict[str, Any] | None:
    try:
        content = json.loads(text or "null")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _slices(text: str | None, params_text: str | None) -> list[Slice] | None:
    """Read the slices of a commit that are large enough; None where it has none to read."""
    try:
        fewest = revisions.parse_yaml(params_text or "")["evaluate"]["slice_rows"]
        return enough(parse(json.loads(text or "null")), fewest)[0]
    except (TypeError, KeyError, ValueError):
        return None


@cache  # few commits change the bounds
def _bounds(text: str | None) -> dict[str, Bound]:
    """Read the bounds of a commit; empty where it has none that can be read."""
    try:
        return msgspec.convert(revisions.parse_yaml(text or "").get("gate"), dict[str, Bound])
    except msgspec.ValidationError:
        return {}
