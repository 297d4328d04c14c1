"""Stage 3: cross-validate and fit the model."""

import math
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from src import features, splits
from src.shared import (
    cluster,
    distributed,
    errors,
    fields,
    files,
    params,
    reference,
    sample,
    search,
    sidecar,
    tables,
)
from src.shared.errors import UserError
from src.shared.estimators import distributions, make_estimator, paths, require_classes, told
from src.shared.fields import Format
from src.shared.hashes import Mask
from src.shared.measure import Predictions, headline, predict, six_digits
from src.shared.model import answers, versions
from src.shared.params import Data, Params, Train
from src.shared.paths import DVC_YAML, MODEL, SIDECAR, TRAIN, TRAINING, VALIDATION
from src.shared.recorder import StageLive
from src.shared.search import Candidate
from src.shared.sidecar import Artifact, Example, Feature, Sidecar
from src.shared.tables import Split

# How many candidates of a search the plot shows.
SHOWN = 30

# Each stage that makes or loads a model depends on this module.
LOADER = Path("src/shared/model.py")


def cross_validate(
    model: BaseEstimator, frame: pd.DataFrame, settings: Params
) -> tuple[dict[str, list[float]], list[Predictions]]:
    """Fit and score the model on each fold, in parallel; a search is parallel within each fold.

    Args:
        model: an unfitted pipeline.
        frame: the train split.
        settings: the sections task, data, prepare and train.

    Returns:
        For each metric its value in each fold; a metric that is not defined in all of them has
        none. And what is said of the rows of each fold.

    Raises:
        UserError: a fold cannot be fitted, or the folds cannot be made.
    """
    target = frame[settings.data.target]
    folds = list(splits.folds(frame, settings))
    searching = search.find(model["estimator"]) is not None
    # Threads: a process would import scikit-learn anew, which takes longer than a small fit.
    pool = joblib.Parallel(1 if searching else -1, prefer="threads", return_as="generator")
    # A cluster is sent what stands here as an argument, and the same object once.
    task, positive = settings.task, settings.data.positive
    running = pool(
        joblib.delayed(score_fold)(model, frame, target, *fold, task, positive) for fold in folds
    )
    desc = "cross-validation of the search" if searching else "cross-validation"
    return by_metric(tqdm(running, desc, len(folds), unit=" folds", disable=None))


def by_metric(
    folds: Iterable[tuple[dict[str, float], Predictions]],
) -> tuple[dict[str, list[float]], list[Predictions]]:
    """Return for each metric its value in each fold, and what was said of the rows of each.

    Args:
        folds: the metrics of each fold, of which it may lack some, and the predictions.
    """
    ran = list(folds)
    found = [values for values, _ in ran]
    names = dict.fromkeys(name for fold in found for name in fold)
    scores = {name: [fold.get(name, math.nan) for fold in found] for name in names}
    for name, values in scores.items():
        if lost := sum(map(math.isnan, values)):
            print(f"{name}: not defined in {lost} of {len(found)} folds, so it has no mean")
    whole = {name: values for name, values in scores.items() if not any(map(math.isnan, values))}
    return whole, [predictions for _, predictions in ran]


def score_fold(
    model: BaseEstimator,
    frame: pd.DataFrame,
    target: pd.Series,
    learned: np.ndarray,
    held_out: np.ndarray,
    task: str,
    positive: Any,
) -> tuple[dict[str, float], Predictions]:
    """Fit a copy of the model on some rows; return its metrics on others, and what it says of them.

    Args:
        model: an unfitted pipeline.
        frame: the train split.
        target: its target.
        learned: numbers of the rows to fit on.
        held_out: numbers of the rows to score on.
        task: binary, multiclass or regression.
        positive: for a binary task the class that counts as positive.

    Raises:
        UserError: the rows to fit on lack a class.
    """
    if task != "regression":
        require_classes(target, target.iloc[learned])
    fitted = fit(clone(model), frame.iloc[learned], target.iloc[learned])
    rows, actual = frame.iloc[held_out], target.iloc[held_out].to_numpy()
    predictions = predict(fitted, rows, actual, task, positive)
    return headline(predictions), predictions


@contextmanager
def told_once() -> Iterator[None]:
    """Print each warning once: scikit-learn's jobs forget which ones were printed before."""
    seen = set[tuple[Any, str]]()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_new(message: Any, category: Any, *where: Any) -> None:
            if (category, str(message)) not in seen:
                seen.add((category, str(message)))
                show(message, category, *where)

        warnings.showwarning = show_new  # type: ignore[assignment]
        yield


def fit(model: Pipeline, frame: pd.DataFrame, target: pd.Series) -> Pipeline:
    """Fit a pipeline, its estimator where jobs run now, and return it."""
    model[-1].fit(cluster.learn_here(model, frame, target), target)
    return model


def describe(
    model: BaseEstimator,
    frame: pd.DataFrame,
    described: list[Feature],
    settings: Params,
    artifact: Artifact,
    held_out: list[Predictions],
    rows: list[int],
) -> Sidecar:
    """Describe a fitted model for those who load it.

    Args:
        model: the fitted pipeline.
        frame: the train split.
        described: the columns that the model takes.
        settings: the sections task, data, train and monitor.
        artifact: the file that the model is in.
        held_out: what was said of the rows of each fold.
        rows: how many rows it was trained on, and of how many.
    """
    group = settings.prepare.column if splits.find(settings).grouped else None
    independent = frame[group].nunique() if group else len(frame)
    names = [one.name for one in described if one.name not in settings.monitor.leave_out]
    return Sidecar(
        task=settings.task,
        target=settings.data.target,
        positive=settings.data.positive,
        classes=None if settings.task == "regression" else model.classes_.tolist(),
        features=described,
        categories=features.categories(frame, described),
        estimator=settings.train.estimator,
        versions=versions(packages(settings.train)),
        example=example(model, frame, described, settings.task),
        key=settings.data.key or [],
        ignored=[
            *filter(None, [settings.data.target, settings.prepare.column]),
            *settings.data.drop,
            *settings.train.leave_out,
        ],
        form=written(settings.data, is_csv=tables.is_from_csv(TRAIN)),
        data={TRAIN.as_posix(): files.sha256(TRAIN)},
        model=artifact,
        unrecorded=settings.monitor.leave_out,
        reference=reference.describe(frame, names, held_out, independent),
        rows=rows,
    )


def packages(train: Train) -> list[str]:
    """Return the packages that a model is made of, by the names that pip knows."""
    made_of = distributions(train.estimator, train.arguments)
    return list(dict.fromkeys(["scikit-learn", "numpy", "pandas", "joblib", *made_of]))


def written(data: Data, *, is_csv: bool) -> Format:
    """Return how the fields of the raw table are written, so that others are read like them."""
    always = fields.MISSING if is_csv else {""}
    missing = sorted(always | {str(text).strip(fields.BLANKS) for text in data.missing})
    return Format(data.separator, data.decimal, missing=tuple(missing))


def example(
    model: BaseEstimator, frame: pd.DataFrame, described: list[Feature], task: str
) -> Example:
    """Return a row to try the model with, and what the model answers for it.

    The first row of the train split without missing values, or if there is none the first one.
    """
    rows = frame[[feature.name for feature in described]]
    row = pd.concat([rows.dropna(), rows]).head(1)
    values = row.astype("object").iloc[0]
    plain = {str(name): _plain(value) for name, value in values.items()}
    return Example(plain, answers(model, row, task)[0])


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: dates as text, None for missing."""
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else value


def own_files(modules: Iterable[str]) -> list[Path]:
    """Return the files of those modules that are the project's own, and not empty.

    Args:
        modules: names of modules that were imported.
    """
    root = Path.cwd()
    names = {getattr(sys.modules.get(name), "__file__", None) for name in modules}
    found = [Path(name) for name in names if name]
    return sorted(
        path.relative_to(root)
        for path in found
        # What is installed may lie in the project's folder too, in .venv.
        if path.is_relative_to(root) and not path.is_relative_to(sys.prefix) and path.stat().st_size
    )


def require_dependencies(own: Iterable[Path]) -> None:
    """Check that dvc.yaml names the model's own modules in each stage that makes or loads it.

    Without that, DVC would call the pipeline up to date after a change to one of them.

    Args:
        own: their files, from the project's root.

    Raises:
        UserError: it does not. The message has the lines to add.
    """
    own = list(own)
    if not own or not DVC_YAML.exists():
        return
    from ruamel.yaml import YAML

    stages = YAML(typ="safe").load(DVC_YAML.read_text("utf-8"))["stages"]
    lines = []
    for path in own:
        lacking = [
            name
            for name, stage in stages.items()
            if LOADER in _dependencies(stage) and not {path, *path.parents} & _dependencies(stage)
        ]
        if lacking:
            lines.append(f"`- {path.as_posix()}` to `deps` of {' and '.join(lacking)}")
    if lines:
        raise UserError(
            f"{DVC_YAML}: the model is made of modules that it does not name, so a change to them "
            f"would rerun nothing; add the line {', '.join(lines)}"
        )


def _dependencies(stage: dict[str, Any]) -> set[Path]:
    """Return what a stage of dvc.yaml reads."""
    return {Path(one if isinstance(one, str) else next(iter(one))) for one in stage.get("deps", [])}


def read_rows(settings: Params) -> tuple[pd.DataFrame, Mask]:
    """Read the rows of the train split that this process learns from.

    Args:
        settings: the sections task, data, prepare and train.

    Returns:
        The rows, and which of the split's are trained on. These are more where workers train on
        them: then this process learns from a sample what the pipeline does to columns.

    Raises:
        UserError: the split cannot be read, or `train.distributed` is not possible.
    """
    train = settings.train
    if train.distributed:
        distributed.require(settings)
    file = Split(TRAIN, *filter(None, [settings.data.target, settings.prepare.column])).file
    chosen = sample.choose(file, train.rows, settings)
    if train.rows:
        print(f"{chosen.sum():,} of {len(chosen):,} rows to train on, drawn by their hash")
    here = chosen
    if train.distributed:
        here = chosen & sample.choose(file, distributed.SAMPLE, settings)
        print(f"what is done to columns is learned from {here.sum():,} rows of {chosen.sum():,}")
    count = int(here.sum())
    for said in filter(None, (sample.warning(file, count), sample.slow(count, train.estimator))):
        print(said, file=sys.stderr)
    return sample.read(file, here), chosen


def main() -> None:
    """Read the train split, write the model, its sidecar and what DVCLive records."""
    settings = params.load()
    data, train = settings.data, settings.train
    verdict = files.read_json(VALIDATION, "run `dvc repro`")
    if not (isinstance(verdict, dict) and verdict.get("passed") is True):
        raise UserError(f"{VALIDATION.as_posix()}: the data did not pass; run `dvc repro`")
    frame, chosen = read_rows(settings)
    for name in train.leave_out:
        tables.require_column(name, frame.columns, TRAIN, "train.leave_out")
    for name in set(settings.monitor.leave_out) - set(data.drop):
        tables.require_column(name, frame.columns, TRAIN, "monitor.leave_out")
    if settings.prepare.column and splits.find(settings).ordered:
        frame = frame.sort_values(settings.prepare.column, kind="stable", ignore_index=True)
    before = set(sys.modules)
    estimator = make_estimator(
        train.estimator, train.arguments, train.seed, settings.task, data.positive
    )
    modules = {path.rpartition(".")[0] for path in paths(train.estimator, train.arguments)}
    own = own_files(modules | set(sys.modules) - before)
    require_dependencies(own)
    left_out = (data.target, settings.prepare.column, *(data.key or ()), *train.leave_out)
    described = features.describe(frame, left_out)
    if not described:
        raise UserError(f"{TRAIN.as_posix()}: has no column left to learn from")
    model = features.build_pipeline(described, estimator)
    try:
        with told_once(), cluster.joined(packages(train), own) as client, search.running(estimator):
            if train.distributed:
                ran = distributed.train(client, model, frame, chosen, settings)
                scores, held_out = by_metric(ran)
            else:
                scores, held_out = cross_validate(model, frame, settings)
                fit(model, frame, frame[data.target])
    except UserError:
        raise
    except Exception as error:  # whatever an estimator raises for a wrong argument
        raise UserError(f"train: {train.estimator} cannot be fitted: {told(error)}") from error
    tried = search.candidates(model, frame, frame[data.target])
    with files.replacing(MODEL, SIDECAR, TRAINING) as (model_draft, sidecar_draft, records_draft):
        joblib.dump(model, model_draft)
        artifact = Artifact(MODEL.name, files.sha256(model_draft))
        rows = [int(chosen.sum()), len(chosen)]
        known = describe(model, frame, described, settings, artifact, held_out, rows)
        sidecar.write(sidecar_draft, known)
        record(records_draft, settings, scores, tried)
        search.write(records_draft, tried)
    what = "cross-validation of the whole search" if tried else "cross-validation"
    print(f"{what} in {train.folds} folds ({settings.prepare.split}):")
    width = max([20, *map(len, scores)])
    for name, values in scores.items():
        print(f"  {name:{width}} {np.mean(values):8.4g} +- {np.std(values):.2g}")
    for line in search.summary(tried):
        print(line)


def record(
    folder: Path, settings: Params, scores: dict[str, list[float]], tried: list[Candidate]
) -> None:
    """Record parameters, cross-validation metrics and what a search tried, with DVCLive.

    Args:
        folder: where to.
        settings: the section train.
        scores: for each metric its value in each fold.
        tried: by a search, the best first; empty if the estimator is not a search.
    """
    with StageLive(folder) as live:
        live.log_params(
            {
                "estimator": settings.train.estimator,
                "arguments": settings.train.arguments,
                "folds": settings.train.folds,
                "seed": settings.train.seed,
            }
        )
        if chosen := next((one for one in tried if one.chosen), None):
            live.log_params({"candidates": len(tried), "best": str(chosen)})
        points = []
        for name, values in scores.items():  # under the names that evaluate gives them
            mean, spread = six_digits(float(np.mean(values))), six_digits(float(np.std(values)))
            live.log_metric(name, mean, plot=False)
            points.append({"metric": name, "mean": mean, "std": spread, "folds": values})
        live.log_plot("cross_validation", points, x="mean", y="metric")
        drawn = [{"parameters": str(one), "score": one.mean} for one in tried[:SHOWN]]
        live.log_plot("search", drawn, x="score", y="parameters")


if __name__ == "__main__":
    errors.run(main)
