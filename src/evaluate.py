"""Stage 4: score the model on the test split."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from src import splits
from src.metrics import METRICS
from src.shared import errors, files, params, provenance, sidecar, tables
from src.shared.intervals import Interval, intervals
from src.shared.measure import Predictions, baseline, headline, predict
from src.shared.model import load_model
from src.shared.paths import (
    BASELINE,
    EVALUATION,
    INTERVALS,
    MODEL,
    PREDICTIONS,
    SIDECAR,
    TEST,
    TRAIN,
)
from src.shared.predictions import as_frame
from src.shared.recorder import StageLive

# Plots are kept in Git, so they hold no more points than an eye can tell apart.
CURVE_POINTS = 200
SCATTER_ROWS = 1_000
CONFUSION_ROWS = 10_000

# The axes of each plot; dvc.yaml says how it is drawn.
AXES = {
    "roc": ("fpr", "tpr"),
    "precision_recall": ("recall", "precision"),
    "calibration": ("predicted", "observed"),
    "confusion_matrix": ("actual", "predicted"),
    "predicted": ("actual", "predicted"),
    "residuals": ("predicted", "residual"),
}


def curve_points(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Choose the points of a curve to draw: all, or `CURVE_POINTS` evenly along its length."""
    if len(x) <= CURVE_POINTS:
        return np.arange(len(x))
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, length[-1], CURVE_POINTS)
    return np.unique(np.append(np.searchsorted(length, wanted).clip(max=len(x) - 1), len(x) - 1))


def plots(predictions: Predictions, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Compute the points of every plot.

    Args:
        predictions: what the model says of the test split.
        seed: for the choice of rows where there are more than a plot shows.

    Returns:
        For each plot in `AXES` its points; none for a plot that the task does not have.
    """
    if predictions.classes is None:
        found = _regression_plots(predictions, seed)
    else:
        found = _classification_plots(predictions, seed)
    return {name: found.get(name, []) for name in AXES}


def _sample(rows: int, limit: int, seed: int) -> np.ndarray:
    """Choose the numbers of the rows to draw, in order: all, or `limit` of them at random."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:limit])


def _classification_plots(predictions: Predictions, seed: int) -> dict[str, list[dict[str, Any]]]:
    from sklearn.metrics import precision_recall_curve, roc_curve

    rows = _sample(len(predictions.actual), CONFUSION_ROWS, seed)
    pairs = zip(predictions.actual[rows], predictions.predicted[rows], strict=True)
    found = {"confusion_matrix": [{"actual": str(a), "predicted": str(p)} for a, p in pairs]}
    if predictions.scores is None:
        return found
    # Several classes share one curve: each row counts once for each class (micro-average).
    labels = np.column_stack([predictions.actual == label for label in predictions.classes or []])
    shown = slice(1, None) if predictions.binary else slice(None)
    label, score = labels[:, shown].ravel(), predictions.scores[:, shown].ravel()
    fpr, tpr, _ = roc_curve(label, score)
    precision, recall, _ = precision_recall_curve(label, score)
    found["roc"] = _points(fpr=fpr, tpr=tpr)
    # From low recall to high: a drawing program keeps the order of points of equal recall.
    found["precision_recall"] = _points(recall=recall[::-1], precision=precision[::-1])
    if predictions.probabilities and predictions.binary:
        from sklearn.calibration import calibration_curve

        real, said = calibration_curve(label, score, n_bins=10, strategy="quantile")
        found["calibration"] = _points(predicted=said, observed=real)
    return found


def _regression_plots(predictions: Predictions, seed: int) -> dict[str, list[dict[str, Any]]]:
    rows = _sample(len(predictions.actual), SCATTER_ROWS, seed)
    actual, predicted = predictions.actual[rows], predictions.predicted[rows]
    return {
        "predicted": _rows(actual=actual, predicted=predicted),
        "residuals": _rows(predicted=predicted, residual=actual - predicted),
    }


def _points(**columns: np.ndarray) -> list[dict[str, Any]]:
    shown = curve_points(*columns.values())
    return _rows(**{name: values[shown] for name, values in columns.items()})


def _rows(**columns: np.ndarray) -> list[dict[str, Any]]:
    values = zip(*(column.round(6).tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def main() -> None:
    """Read the model and the test split, write the predictions and what they are worth."""
    settings = params.load()
    split, column, seed = splits.find(settings), settings.prepare.column, settings.evaluate.seed
    known = sidecar.read(SIDECAR)
    model = load_model(MODEL, known)
    columns = [known.target, *known.key, *(feature.name for feature in known.features)]
    columns += [column] if column else []
    frame = tables.read_split(TEST, *columns)
    actual = frame[known.target].to_numpy()
    target = tables.read_split(TRAIN, known.target)[known.target].to_numpy()
    predictions = predict(model, frame, actual, known.task, known.positive)
    values = headline(predictions)
    decides = frame[column].to_numpy() if column else None
    groups, order = (None, decides) if split.ordered else (decides, None)
    found = intervals(predictions, settings.evaluate.resamples, seed, groups, order)
    plain = baseline(predictions, target, known.positive)
    with files.replacing(EVALUATION, PREDICTIONS) as (draft, table_draft):
        with StageLive(draft) as live:
            for name, value in values.items():
                live.log_metric(name, value, plot=False)
            for name, points in plots(predictions, seed).items():
                live.log_plot(name, points, *AXES[name])
        files.write_json(draft / INTERVALS.name, {name: asdict(one) for name, one in found.items()})
        files.write_json(draft / BASELINE.name, plain)
        told = as_frame(predictions, frame, known.key, decides)
        # Without the versions that pandas notes, the same answers are the same bytes.
        kept = pa.Table.from_pandas(told, preserve_index=False).replace_schema_metadata()
        pa.parquet.write_table(kept, table_draft)
        provenance.write(draft, table_draft)
    print(table_of(values, found, plain))
    absent = [name for name in METRICS if known.task in METRICS[name].tasks and name not in values]
    if absent:
        print(f"not defined for this model on these rows: {', '.join(absent)}")


def table_of(values: dict[str, float], found: dict[str, Interval], plain: dict[str, float]) -> str:
    """Return the metrics, their intervals and the baseline's metrics as a text table."""
    width = max(map(len, values))
    lines = [f"{'metric':{width}}  {'value':>10}  {'95 % interval':24}  {'baseline':>10}"]
    for name, value in values.items():
        one = found[name]
        ends = "-" if one.low is None else f"{one.low:.4g} to {one.high:.4g}"
        other = f"{plain[name]:.4g}" if name in plain else "-"
        line = f"{name:{width}}  {value:>10.4g}  {f'{ends} ({one.method})':24}  {other:>10}"
        lines += [line, *([f"  {one.note}"] if one.note else [])]
    return "\n".join(lines)


if __name__ == "__main__":
    errors.run(main)
