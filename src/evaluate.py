"""Stage 4: score the model on the test split."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from src.shared import errors, files, params, sidecar, tables
from src.shared.intervals import intervals
from src.shared.measure import Predictions, headline, predict
from src.shared.model import load_model
from src.shared.paths import EVALUATION, MODEL, PREDICTIONS, SIDECAR, TEST
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
    """Read the model and the test split, write predictions, metrics, intervals and plots."""
    settings, unit = params.load().evaluate, params.load().prepare.column
    known = sidecar.read(SIDECAR)
    model = load_model(MODEL, known)
    columns = [known.target, *(feature.name for feature in known.features)]
    frame = tables.read_split(TEST, *columns)
    actual = frame[known.target].to_numpy()
    predictions = predict(model, frame, actual, known.task, known.positive)
    values = headline(predictions)
    ends = intervals(predictions, settings.resamples, settings.seed)
    with files.replacing(EVALUATION, PREDICTIONS) as (draft, table_draft):
        with StageLive(draft) as live:
            for name, value in values.items():
                live.log_metric(name, value, plot=False)
            for name, points in plots(predictions, settings.seed).items():
                live.log_plot(name, points, *AXES[name])
        files.write_json(draft / "intervals.json", ends)
        told = as_frame(predictions, frame, unit)
        # Without the versions that pandas notes, the same answers are the same bytes.
        plain = pa.Table.from_pandas(told, preserve_index=False).replace_schema_metadata()
        pa.parquet.write_table(plain, table_draft)
    for name, value in values.items():
        print(f"{name:20} {value:9.4f}   95 % from {ends[name]['low']} to {ends[name]['high']}")


if __name__ == "__main__":
    errors.run(main)
