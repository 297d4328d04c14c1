"""Gradient boosting on rows that no single process holds: XGBoost and LightGBM on a Dask cluster.

The rows go from the split's file to the workers batch by batch, and stay there as 32-bit numbers in
blocks, one for each fold. What is trained there is put back into an ordinary estimator.
"""

import io
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from src import splits
from src.shared import cluster, sample
from src.shared.errors import UserError
from src.shared.estimators import require_classes
from src.shared.hashes import Mask
from src.shared.measure import Predictions, headline, predict
from src.shared.model import EncodedClassifier
from src.shared.params import Params
from src.shared.paths import TRAIN
from src.shared.tables import Split, to_frame

TRAINERS = {
    "xgboost.XGBClassifier": "xgboost.dask.DaskXGBClassifier",
    "xgboost.XGBRegressor": "xgboost.dask.DaskXGBRegressor",
    "lightgbm.LGBMClassifier": "lightgbm.DaskLGBMClassifier",
    "lightgbm.LGBMRegressor": "lightgbm.DaskLGBMRegressor",
}
SAMPLE = 100_000  # rows of which the transformers learn, in this process
ATTEMPTS = 3  # how often a training is begun, where workers die in it


@dataclass(frozen=True)
class Part:
    """A block of some rows, on a worker: its features and its target, both Dask's futures."""

    block: int
    size: int
    rows: Any
    target: Any


def require(settings: Params) -> None:
    """Check that the estimator can be trained on a cluster, and that there is one.

    Raises:
        UserError: it cannot, or there is none.
    """
    path = settings.train.estimator
    if path not in TRAINERS:
        raise UserError(
            f"train.distributed: {path} cannot be trained on rows that are spread over workers; "
            f"set it to false, or use {', '.join(TRAINERS)}"
        )
    if not os.environ.get(cluster.ADDRESS):
        raise UserError(
            f"train.distributed: needs a cluster; start one (docs/scale.md) and set "
            f"{cluster.ADDRESS} to its scheduler's address"
        )


def train(
    client: Any, model: Pipeline, frame: pd.DataFrame, chosen: Mask, settings: Params
) -> list[tuple[dict[str, float], Predictions]]:
    """Cross-validate and fit a pipeline whose estimator is trained on the cluster.

    Args:
        client: Dask's.
        model: its last step becomes a fitted estimator, which needs no Dask.
        frame: some rows, of which the other steps learn here.
        chosen: the rows of the train split to train on.
        settings: the sections task, data, prepare and train.

    Returns:
        The metrics of each fold, and the predictions for its rows.

    Raises:
        UserError: the folds cannot be made, or workers died again and again.
    """
    target, known = settings.data.target, {settings.data.target, settings.prepare.column}
    width = cluster.learn_here(model, frame, frame[target]).shape[1]
    file = Split(TRAIN).file
    columns = [name for name in file.schema_arrow.names if name in known]
    rows = to_frame(file.read(columns).filter(pa.array(chosen)))
    estimator = clone(model[-1])
    encoded = isinstance(estimator, EncodedClassifier)
    codes = estimator.encode(rows[target]) if encoded else rows[target].to_numpy(float)
    blocks, folds = in_blocks(rows, settings)
    if encoded:
        classes = estimator.classes_
        for fit_on, _ in folds:
            there = np.unique(codes[np.isin(blocks, list(fit_on))])
            require_classes(classes.tolist(), classes[there].tolist())
    del rows
    for left in reversed(range(ATTEMPTS)):
        workers = cluster.workers_of(client)
        try:
            with cluster.keeping(client, workers):
                parts = _send(client, workers, model[:-1], chosen, codes, blocks)
                scores = []
                for fit_on, held_out in tqdm(folds, desc="cross-validation", disable=None):
                    learned = [one for one in parts if one.block in fit_on]
                    fitted = _fit(estimator, learned, width, settings)
                    judged = [one for one in parts if one.block == held_out]
                    predictions = _predict(client, fitted, judged, settings)
                    scores.append((headline(predictions), predictions))
                model.steps[-1] = ("estimator", _fit(estimator, parts, width, settings))
                return scores
        except TimeoutError:  # Dask gives a worker whose memory is full nothing more
            raise UserError(
                f"{cluster.ADDRESS}: workers have no memory left for the rows: start more, or give "
                "them more (docs/scale.md)"
            ) from None
        except cluster.WorkerLostError as error:
            lost = str(error)  # not the error: it keeps what was under way
        parts = []
        # With LightGBM the others wait for the dead one, and after a minute end themselves.
        hanging = settings.train.estimator.startswith("lightgbm.")
        if hanging and not cluster.restart(client, workers):
            raise UserError(
                f"{cluster.ADDRESS}: {lost}, and with LightGBM the others end, too; start workers "
                "with their nanny, as `dask worker` does by itself, and it replaces them"
            )
        print(f"{lost}{'; sending the rows again' if left else ''}")
    raise UserError(
        f"{cluster.ADDRESS}: workers died in each of the {ATTEMPTS} attempts, probably for want "
        "of memory: give them more (docs/scale.md)"
    )


def in_blocks(
    frame: pd.DataFrame, settings: Params
) -> tuple[np.ndarray, list[tuple[set[int], int]]]:
    """Put the rows in blocks, so that each fold is fitted on whole blocks and scored on one.

    Args:
        frame: the train split, with the columns that decide on the folds.
        settings: the sections task, data, prepare and train.

    Returns:
        The block of each row, shape (rows,), and for each fold the blocks to fit on and the one to
        score on. The folds are those that training in one process has.

    Raises:
        UserError: the folds cannot be made, or not of whole blocks.
    """
    blocks, last = np.full(len(frame), -1), -1
    for last, (_, held_out) in enumerate(splits.folds(frame, settings)):
        blocks[held_out] = last
    blocks[blocks < 0] = last + 1  # rows that are never scored, as the earliest ones
    sizes = np.bincount(blocks, minlength=last + 2)
    folds = []
    for number, (learned, held_out) in enumerate(splits.folds(frame, settings)):
        counts = np.bincount(blocks[learned], minlength=last + 2)
        if (counts * (sizes - counts)).any() or (blocks[held_out] != number).any():
            raise UserError(
                f"train.distributed: the folds of the split '{settings.prepare.split}' share rows "
                "in parts; set it to false, or use another prepare.split"
            )
        folds.append((set(np.flatnonzero(counts).tolist()), number))
    return blocks, folds


def _send(
    client: Any,
    workers: list[str],
    transformer: Pipeline,
    chosen: Mask,
    codes: np.ndarray,
    blocks: np.ndarray,
) -> list[Part]:
    """Send the rows to the workers in turn, a few batches at a time, and have them transformed."""
    from distributed import wait

    file = Split(TRAIN).file
    transform = client.scatter(transformer, broadcast=True, hash=False)
    size = max(1, min(sample.BATCH, math.ceil(len(chosen) / len(workers))))
    parts: list[Part] = []
    under_way: deque[Any] = deque()
    read = sent = 0
    with tqdm(total=len(codes), desc="sending rows", unit="row", disable=None) as bar:
        for number, batch in enumerate(sample.batches(file, size=size)):
            table = batch.filter(pa.array(chosen[read : read + len(batch)]))
            read += len(batch)
            here = slice(sent, sent + len(table))
            sent += len(table)
            at = {"workers": [workers[number % len(workers)]], "pure": False}
            waiting = {"workers": at["workers"], "timeout": cluster.RETURN}
            rows = client.scatter(table, hash=False, **waiting)
            ready = client.submit(_transformed, transform, rows, codes[here], blocks[here], **at)
            for block, count in zip(*np.unique(blocks[here], return_counts=True), strict=True):
                futures = [client.submit(_part, ready, block, one, **at) for one in (0, 1)]
                parts.append(Part(int(block), int(count), *futures))
            under_way.append((ready, len(table)))
            if len(under_way) >= 2 * len(workers):
                _await(under_way.popleft(), bar, wait)
            del ready, rows, futures
        while under_way:
            _await(under_way.popleft(), bar, wait)
    return parts


def _await(sent: tuple[Any, int], bar: Any, wait: Callable[[Any], Any]) -> None:
    future, rows = sent
    wait(future)
    if future.status == "error":
        future.result()  # raises it
    bar.update(rows)


def _transformed(
    transformer: Pipeline, table: pa.Table, codes: np.ndarray, blocks: np.ndarray
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return the features and the target of each block; run by a worker."""
    rows = np.asarray(transformer.transform(to_frame(table)), dtype=np.float32)
    return {int(one): (rows[blocks == one], codes[blocks == one]) for one in np.unique(blocks)}


def _part(parts: dict[int, Any], block: int, which: int) -> np.ndarray:
    return np.asarray(parts[block][which])


def _fit(estimator: Any, parts: list[Part], width: int, settings: Params) -> Any:
    """Return a copy of the estimator, fitted on the cluster."""
    import dask
    import dask.array

    def spread(futures: Iterable[Any], shapes: Iterable[tuple[float, ...]], kind: Any) -> Any:
        arrays = [
            dask.array.from_delayed(dask.delayed(future), shape, kind)
            for future, shape in zip(futures, shapes, strict=True)
        ]
        return dask.array.concatenate(arrays)

    fitted = clone(estimator)
    plain = fitted.estimator if isinstance(fitted, EncodedClassifier) else fitted
    module, _, name = TRAINERS[settings.train.estimator].rpartition(".")
    # Else LightGBM waits two hours for a worker that died.
    patience = {"time_out": 1} if module.startswith("lightgbm") else {}
    trainer = getattr(import_module(module), name)(**patience | plain.get_params())
    sizes = [one.size for one in parts]
    rows = spread((one.rows for one in parts), ((size, width) for size in sizes), np.float32)
    kind = np.int64 if plain is not fitted else np.float64
    targets = spread((one.target for one in parts), ((size,) for size in sizes), kind)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # LightGBM tells of its ports
        warnings.filterwarnings("ignore", "Parameter .* will be ignored", UserWarning)
        trainer.fit(rows, targets)
    if hasattr(trainer, "to_local"):
        local = trainer.to_local()
    else:
        local = clone(plain)
        local.load_model(bytearray(trainer.get_booster().save_raw("ubj")))
    if plain is fitted:
        return local
    fitted.classes_, fitted.estimator_ = estimator.classes_, local
    return fitted


def _predict(client: Any, fitted: Any, parts: list[Part], settings: Params) -> Predictions:
    """Let workers predict the rows that they have."""
    model = client.scatter(fitted, broadcast=True, hash=False)
    task, positive = settings.task, settings.data.positive
    futures = [
        client.submit(_judged, model, one.rows, one.target, task, positive, pure=False)
        for one in parts
    ]
    found: list[Predictions] = client.gather(futures)
    first = found[0]
    return Predictions(
        np.concatenate([one.actual for one in found]),
        np.concatenate([one.predicted for one in found]),
        first.classes,
        None if first.scores is None else np.concatenate([one.scores for one in found]),
        first.probabilities,
        first.binary,
    )


def _judged(
    model: Any, rows: np.ndarray, target: np.ndarray, task: str, positive: Any
) -> Predictions:
    actual = target if task == "regression" else model.classes_[target]
    return predict(model, rows, actual, task, positive)
