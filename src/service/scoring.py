"""From checked columns to answers: the model's own, sooner.

What makes a request cheap: a model of numbers that are only filled in and scaled is given an array,
where its pipeline would take a DataFrame; the trees of a forest are asked without the thread and
the checks that scikit-learn has for each; requests that wait while others are scored are scored
together. All this happens in one thread, so that the event loop stays free.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from src import features
from src.service.requests import Columns, RequestError
from src.shared.model import outputs, told
from src.shared.sidecar import Sidecar

Answers = list[dict[str, Any]]

# The columns of rows that were scored together, each an array or all as one of shape (rows,
# columns); what was predicted; and the probabilities.
Together = tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray | None]

# Rows that are scored together: more give no more speed, and make the single ones wait.
GROUP_ROWS = 1_000


class Scored(NamedTuple):
    """The answers to a request's rows.

    Attributes:
        answers: one for each row, as the client gets it.
        together: the arrays that these rows are in, maybe with those of other requests: a column
            for each feature, in the sidecar's order (or one array, of shape (all rows, features)),
            and the predictions, of shape (all rows,); the probabilities, of shape (all rows,
            classes), or None.
        start: which row of the arrays is the request's first.
    """

    answers: Answers
    together: Together
    start: int = 0


FORESTS = {
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
}


class Trees:
    """A fitted forest of scikit-learn's, asked tree by tree: the same sums in the same order."""

    def __init__(self, forest: Any) -> None:
        """Take a RandomForestClassifier or an ExtraTreesClassifier."""
        self.classes_, self.trees = forest.classes_, [tree.tree_ for tree in forest.estimators_]

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """Average what the trees say."""
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
        if not np.isfinite(rows).all():
            raise ValueError("too large for float32")
        total = np.zeros((len(rows), len(self.classes_)))
        for tree in self.trees:
            total += tree.predict(rows)
        total /= len(self.trees)
        return total


class Scorer:
    """A fitted pipeline as a function from columns to answers."""

    def __init__(self, model: Any, sidecar: Sidecar) -> None:
        """Take a pipeline that `features.build_pipeline` made, and its sidecar."""
        self.task = sidecar.task
        self.names = [feature.name for feature in sidecar.features]
        self.transformer, self.estimator = model[:-1], model[-1]
        self.scaling = features.plain_scaling(model, self.names)
        path = f"{type(self.estimator).__module__}.{type(self.estimator).__name__}"
        if path in FORESTS:
            self.estimator = Trees(self.estimator)
        elif "n_jobs" in self.estimator.get_params():
            self.estimator.set_params(n_jobs=1)  # starting threads takes longer than a few rows

    def __call__(self, columns: Columns) -> Scored:
        """Answer each row.

        Raises:
            RequestError: the model cannot take these values.
        """
        kept = tuple(columns.values())
        try:
            if self.scaling is None:
                rows = self.transformer.transform(pd.DataFrame(columns))
            else:
                kept = (np.column_stack([columns[name] for name in self.names]),)
                rows = self.scaling(kept[0])
            predicted, scores = outputs(self.estimator, rows, self.task)
        except (ValueError, OverflowError):  # of scikit-learn, whose text is not the client's
            raise RequestError(422, "the model cannot take these values") from None
        if self.task == "regression" and not np.isfinite(predicted).all():
            raise RequestError(422, "the model gives no finite value for these values")
        answers = told(self.estimator, predicted, scores, self.task)
        return Scored(answers, (kept, predicted, scores))


class Batcher:
    """Scores requests in one thread, those that wait together."""

    def __init__(self, scorer: Scorer, max_rows: int) -> None:
        """Take the function that scores, and how many rows may wait."""
        self.scorer, self.max_rows = scorer, max_rows
        self.waiting: list[tuple[Columns, int, asyncio.Future[Scored]]] = []
        self.waiting_rows = 0
        self.running: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")

    async def score(self, columns: Columns) -> Scored:
        """Wait for the answers to a request's rows.

        Raises:
            RequestError: too many rows are waiting, or the model cannot take these.
        """
        rows = len(next(iter(columns.values())))
        if self.waiting_rows and self.waiting_rows + rows > self.max_rows:
            raise RequestError(503, "busy; try again in a moment")
        answered: asyncio.Future[Scored] = asyncio.get_running_loop().create_future()
        self.waiting.append((columns, rows, answered))
        self.waiting_rows += rows
        if self.running is None:
            self.running = asyncio.create_task(self._run())
        return await answered

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self.waiting:
                group = self._next_group()
                found = await loop.run_in_executor(
                    self.thread, self._score, [columns for columns, _, _ in group]
                )
                for (_, _, answered), one in zip(group, found, strict=True):
                    if answered.done():  # the client has gone
                        continue
                    if isinstance(one, Exception):
                        answered.set_exception(one)
                    else:
                        answered.set_result(one)
        finally:
            self.running = None

    def _next_group(self) -> list[tuple[Columns, int, asyncio.Future[Scored]]]:
        count = rows = 0
        for _, more, _ in self.waiting:
            if count and rows + more > GROUP_ROWS:
                break
            count, rows = count + 1, rows + more
        group, self.waiting = self.waiting[:count], self.waiting[count:]
        self.waiting_rows -= rows
        return group

    def _score(self, requests: Sequence[Columns]) -> list[Scored | Exception]:
        if len(requests) > 1:
            try:
                answers, together, _ = self.scorer(
                    {name: np.concatenate([one[name] for one in requests]) for name in requests[0]}
                )
            except Exception:  # noqa: S110 - found below, for the request that caused it
                pass
            else:
                ends = list(accumulate(len(next(iter(one.values()))) for one in requests))
                return [
                    Scored(answers[start:end], together, start)
                    for start, end in pairwise([0, *ends])
                ]
        return [self._score_one(one) for one in requests]

    def _score_one(self, columns: Columns) -> Scored | Exception:
        try:
            return self.scorer(columns)
        except Exception as error:  # it is the request's to report
            return error
