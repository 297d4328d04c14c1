"""A search as the estimator (GridSearchCV and the like): how far it is, and what it tried."""

import csv
import io
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from tqdm import tqdm

from src.shared.estimators import told
from src.shared.measure import six_digits
from src.shared.model import EncodedClassifier
from src.shared.paths import CANDIDATES

# The name of a scikit-learn task whose parts are fits, or with halving iterations.
SEARCH = "search"


@dataclass(frozen=True)
class Candidate:
    """Parameters that a search tried.

    Attributes:
        parameters: their values by name.
        mean: of the score over the search's own folds; None where it could not be scored.
        std: the standard deviation over the folds.
        rank: 1 is the best; those with equal scores have the same one.
        chosen: whether the search took it.
        iteration: with halving, the last one that it came to, from 0 on.
        resources: with halving, how many rows, or what else is doled out, it was given there.
        failed: why it could not be scored; empty if it was.
    """

    parameters: dict[str, Any]
    mean: float | None
    std: float | None
    rank: int
    chosen: bool
    iteration: int | None = None
    resources: int | None = None
    failed: str = ""

    def __str__(self) -> str:
        """Return the parameters as one line."""
        shown = {
            name: f"{value:.4g}" if isinstance(value, float) else _text(value)
            for name, value in self.parameters.items()
        }
        return ", ".join(f"{name}={value}" for name, value in shown.items())


class Progress:
    """What scikit-learn tells while a search runs, as a bar that counts fits or iterations.

    A copy in another process shows none: what a cluster has done is counted here.
    """

    def __init__(self) -> None:
        self.shown = True
        self.bar: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"shown": False, "bar": None}

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin the bar of one search."""
        if self.shown:
            self.bar = tqdm(desc="search", leave=False, disable=None)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Learn how many fits or iterations there will be."""
        if self.bar is not None and context.task_name == SEARCH:
            self.bar.unit = "iteration" if context.sequential_subtasks else "fit"
            self.bar.reset(context.max_subtasks)

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Count one that is done."""
        if self.bar is None:
            return
        if context.parent is not None and context.parent.task_name == SEARCH:
            self.bar.update()
        elif context.task_name == SEARCH:  # those that other processes did
            self.bar.update(context.max_subtasks - self.bar.n)

    def teardown(self, estimator: Any, context: Any) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def find(estimator: Any) -> Any:
    """Return the search that an estimator is, fitted if the estimator is; None for another one."""
    if isinstance(estimator, EncodedClassifier):
        estimator = getattr(estimator, "estimator_", estimator.estimator)
    return estimator if isinstance(estimator, BaseSearchCV) else None


@contextmanager
def running(estimator: Any) -> Iterator[None]:
    """Let a search run on threads, unless there is a cluster, and show how far it is.

    Threads: a process would import scikit-learn anew, which takes longer than a small fit. What
    scikit-learn warns of, candidates that fail, stands in the table of candidates.

    Args:
        estimator: what will be fitted, itself or copies of it; nothing happens if it is no search.
    """
    search = find(estimator)
    if search is None:
        yield
        return
    search.set_callbacks(Progress())
    if search.n_jobs is None:  # of the search alone: what it tries takes one thread
        search.set_params(n_jobs=-1)
    try:
        with ExitStack() as stack:
            if not os.environ.get("DASK_SCHEDULER_ADDRESS"):
                stack.enter_context(joblib.parallel_config("threading"))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", FitFailedWarning)
            warnings.filterwarnings("ignore", "One or more of the .* scores are non-finite")
            yield
    finally:
        for one in (search, find(estimator)):  # a fitted copy has it, too
            one.set_callbacks()
            _forget_times(one)


def _forget_times(search: Any) -> None:
    """Remove how long a search took: with that the model's file would be another in each run."""
    vars(search).pop("refit_time_", None)
    results = getattr(search, "cv_results_", {})
    for name in [name for name in results if name.endswith("_time")]:
        del results[name]


def candidates(model: Any, rows: Any, labels: Any) -> list[Candidate]:
    """Return what a search tried, the best first; [] where the estimator is not a search.

    scikit-learn does not keep why a candidate failed, so each of those is fitted once more, on the
    first fold.

    Args:
        model: a fitted pipeline, whose last step is the estimator.
        rows: what it was fitted on, shape (rows, columns).
        labels: the target's values, shape (rows,).
    """
    estimator = model[-1]
    search = find(estimator)
    if search is None:
        return []
    tried = ranked(search)
    if all(one.mean is not None for one in tried):
        return tried
    rows, labels = model[:-1].transform(rows), np.asarray(labels)
    if isinstance(estimator, EncodedClassifier):
        labels = pd.Index(estimator.classes_).get_indexer(labels)
    splitter = check_cv(search.cv, labels, classifier=is_classifier(search.estimator))
    fold, _ = next(iter(splitter.split(rows, labels)))
    rows = rows.iloc[fold] if hasattr(rows, "iloc") else rows[fold]
    return [
        replace(one, failed=_reason(search.estimator, one.parameters, rows, labels[fold]))
        if one.mean is None
        else one
        for one in tried
    ]


def ranked(search: Any) -> list[Candidate]:
    """Return the candidates of a fitted search, the best first.

    A search by halving gives a candidate more and more rows: its last score counts, and whoever
    came further is better.
    """
    found = search.cv_results_
    name = "score"
    if search.multimetric_:  # the one that it chose by
        name = search.refit if isinstance(search.refit, str) else next(iter(search.scorer_))
    doled = getattr(search, "resource", None)  # with halving it may be a parameter
    halving = "iter" in found
    last = {}
    for at, values in enumerate(found["params"]):
        given = {key: value for key, value in values.items() if key != doled}
        last[repr(given)] = Candidate(
            values,
            _number(found[f"mean_test_{name}"][at]),
            _number(found[f"std_test_{name}"][at]),
            rank=0,
            chosen=at == search.best_index_,
            iteration=int(found["iter"][at]) if halving else None,
            resources=int(found["n_resources"][at]) if halving else None,
        )
    ordered = sorted(last.values(), key=lambda one: (*_place(one), not one.chosen))
    places = [_place(one) for one in ordered]
    return [
        replace(one, rank=places.index(place) + 1)
        for one, place in zip(ordered, places, strict=True)
    ]


def _number(value: float) -> float | None:
    return six_digits(float(value)) if math.isfinite(value) else None


def _place(one: Candidate) -> tuple[bool, int, float]:
    """Return what orders candidates: those without a score stand last."""
    return one.mean is None, -(one.iteration or 0), -(one.mean or 0.0)


def _reason(estimator: Any, parameters: dict[str, Any], rows: Any, labels: Any) -> str:
    try:
        clone(estimator).set_params(**clone(parameters, safe=False)).fit(rows, labels)
    except Exception as error:  # whatever an estimator raises
        # A set that it names has another order in each process.
        return re.sub(r"(?<={)[^{}]+(?=})", _in_order, told(error))
    return "not scored in every fold"


def _in_order(found: re.Match[str]) -> str:
    return ", ".join(sorted(found[0].split(", ")))


def write(folder: Path, tried: Sequence[Candidate]) -> None:
    """Write candidates.csv into a folder, a row for each candidate; without any only its head.

    The columns: rank, chosen, mean, std, with halving iteration and resources, the parameters as
    `param_NAME`, and why a candidate failed.
    """
    halving = any(one.iteration is not None for one in tried)
    parameters = dict.fromkeys(name for one in tried for name in one.parameters)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    scores = ["rank", "chosen", "mean", "std", *(["iteration", "resources"] if halving else [])]
    table.writerow([*scores, *(f"param_{name}" for name in parameters), "failed"])
    for one in tried:
        table.writerow(
            [
                *(getattr(one, name) for name in scores),
                *(_text(one.parameters.get(name, "")) for name in parameters),
                one.failed,
            ]
        )
    (folder / CANDIDATES.name).write_text(text.getvalue(), encoding="utf-8")


def _text(value: Any) -> str:
    """Return a value in one line that is the same in every run: without addresses of memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(value).split()))


def summary(tried: Sequence[Candidate]) -> Iterator[str]:
    """Yield in words what the search chose, and how many candidates failed."""
    chosen = next((one for one in tried if one.chosen), None)
    if chosen is not None:
        yield f"the search chose of {len(tried)} candidates: {chosen} (mean score {chosen.mean:g})"
    failed = [one for one in tried if one.failed]
    if failed:
        yield f"{len(failed)} of them failed, {failed[0]}: {failed[0].failed}"
