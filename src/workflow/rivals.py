"""A model of Git's history and this one on the rows that both tested, from their predictions.

The predictions are a small file that `dvc.lock` of the rival's commit names by its hash; they are
taken from DVC's cache or a remote, and neither model is loaded.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src import splits
from src.shared import files, pipeline, predictions, revisions, store
from src.shared.params import Params
from src.shared.paths import DVC_LOCK, PARAMS, PREDICTIONS
from src.shared.predictions import UNIT
from src.shared.revisions import Place
from src.shared.verdicts import Drop
from src.shared.wording import are, counted
from src.workflow import source, state
from src.workflow.comparison import CHANCE, CHANCE_OF_SLICES, compare, compare_slices, draw
from src.workflow.remote import VARIABLES, cause_of


class IncomparableError(Exception):
    """Two models cannot be compared on the same rows; the message says why."""


def drops(rival: Place, metrics: Collection[str], settings: Params) -> dict[str, Drop]:
    """Return how much worse this model is than a rival, on the rows that both tested.

    On all of them, and on each slice of this model's that has `evaluate.slice_rows` of them.

    Args:
        rival: the commit of the rival.
        metrics: the names of the metrics to compare.
        settings: what params.yaml holds here.

    Raises:
        IncomparableError: nobody has the rival's predictions, or too few rows are shared.
    """
    _check_question(revisions.read_yaml_at(rival, PARAMS), settings)
    there = predictions_of(revisions.read_yaml_at(rival, DVC_LOCK))
    here = files.md5(PREDICTIONS) if PREDICTIONS.exists() else predictions_of(pipeline.read_lock())
    if there == here:
        raise IncomparableError("the predictions are the same")
    path = PREDICTIONS if PREDICTIONS.exists() else fetch(here)
    old, new = predictions.read(fetch(there)), predictions.read(path)
    if old is None or new is None:
        raise IncomparableError("its predictions do not say which rows they are of")
    old, new = predictions.share(old, new)
    fewest = settings.evaluate.gate_rows
    if len(new) < fewest:
        raise IncomparableError(
            f"{counted(len(new), 'row')} {are(len(new), 'was', 'were')} tested by both, "
            f"fewer than {fewest}"
        )
    split = splits.find(settings)
    unit = new[UNIT].to_numpy() if split.needs == "column" and UNIT in new else None
    if split.needs == "column" and unit is None:
        raise IncomparableError("the predictions do not say which rows depend on one another")
    one, other = (
        predictions.as_predictions(frame, settings.task, settings.data.positive)
        for frame in (old, new)
    )
    bootstrap = settings.evaluate
    resamples = draw(one, other, bootstrap.resamples, bootstrap.seed, unit, split.ordered)
    rows = predictions.rows_of_slices(new, bootstrap.slice_rows)
    chance = CHANCE - CHANCE_OF_SLICES if rows else CHANCE
    found = compare(one, other, list(metrics), resamples, chance)
    slices = compare_slices(one, other, list(found), rows, bootstrap, unit, split.ordered)
    return {name: replace(drop, slices=slices[name]) for name, drop in found.items()}


def _check_question(there: dict[str, Any], here: Params) -> None:
    data = there.get("data") or {}
    question = there.get("task"), data.get("target"), data.get("positive")
    if question != (here.task, here.data.target, here.data.positive):
        raise IncomparableError("its task, target or positive class is another")


def predictions_of(lock: dict[str, Any]) -> str:
    """Return the hash of the predictions that a dvc.lock names."""
    md5 = pipeline.made(lock, PREDICTIONS)
    if md5 is None:
        raise IncomparableError(f"its {DVC_LOCK} names no {PREDICTIONS.as_posix()}")
    return md5


def fetch(md5: str) -> Path:
    """Return a file of DVC's cache; fetch it there if it is lacking.

    Raises:
        IncomparableError: neither the cache nor a remote that this run can read has it.
    """
    cached = files.cached(md5)
    if not cached.exists():
        cached = _pull(md5, list(state.read().sources) or _default_remote())
    if files.md5(cached) != md5:
        raise IncomparableError(f"{cached.as_posix()} is damaged")
    return cached


def _default_remote() -> list[str]:
    return list(source.remotes(source.read_config(source.CONFIG, source.LOCAL)))[:1]


def _pull(md5: str, remotes: Sequence[str]) -> Path:
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    path, failed = store.fetch(md5, remotes)
    if path.exists():
        return path
    causes = [f"{remote}: {cause_of(error)}" for remote, error in failed.items()]
    asked = "; ".join(causes) or ", ".join(["the cache", *remotes])
    raise IncomparableError(f"nobody has its predictions (asked: {asked})")
