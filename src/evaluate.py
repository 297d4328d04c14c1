"""Stage 4: score the model on the test split."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from src import splits
from src.metrics import METRICS, better
from src.shared import (
    errors,
    files,
    params,
    progress,
    provenance,
    sidecar,
    slices,
    tables,
    wording,
)
from src.shared.errors import UserError, plain
from src.shared.intervals import Interval, intervals
from src.shared.measure import (
    Array,
    Predictions,
    baseline,
    headline,
    joined,
    predict,
    six_digits,
)
from src.shared.model import load_model
from src.shared.params import Evaluate
from src.shared.paths import (
    BASELINE,
    EVALUATION,
    INTERVALS,
    MODEL,
    PREDICTIONS,
    SIDECAR,
    SLICES,
    TEST,
    TRAIN,
)
from src.shared.predictions import as_frame, long_numbers, row_hashes
from src.shared.recorder import StageLive
from src.shared.sidecar import Sidecar
from src.shared.slices import Slice
from src.shared.tables import Split

# Plots are kept in Git, so they hold no more points than an eye can tell apart.
CURVE_POINTS = 200
SCATTER_ROWS = 1_000
CONFUSION_ROWS = 10_000
COLUMNS = 30

# Rows times columns that the model predicts at once for the importances: 8 MB of float64.
CELLS = 1_000_000

# The axes of each plot; dvc.yaml says how it is drawn.
AXES = {
    "roc": ("fpr", "tpr"),
    "precision_recall": ("recall", "precision"),
    "calibration": ("predicted", "observed"),
    "confusion_matrix": ("actual", "predicted"),
    "predicted": ("actual", "predicted"),
    "residuals": ("predicted", "residual"),
    "importance": ("importance", "column"),
    "slices": ("value", "slice"),
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
        For each plot of the predictions its points; none for a plot that the task does not have.
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


def importances(
    model: Any, frame: pd.DataFrame, known: Sidecar, metric: str, settings: Evaluate
) -> list[dict[str, Any]]:
    """Measure how much worse the model is without what each raw column says.

    Source: Breiman, Random Forests (2001), section 10; the permutation importance of scikit-learn,
    which predicts once for each permuted column. Here many copies of the rows are predicted at
    once, 20 times as fast on a hundred rows.

    Args:
        model: the fitted pipeline, which takes raw rows.
        frame: the test split; at most `importance_rows` rows of it are used.
        known: the model's sidecar.
        metric: by which to measure.
        settings: importance_repeats, how often each column is permuted, importance_rows and seed.

    Returns:
        The points of the plot, the most important column first: the mean over the repeats of the
        drop in the metric, above 0 where it is worse, and its standard deviation. Without those
        columns with which the metric is not defined.
    """
    names = [feature.name for feature in known.features]
    chosen = frame.iloc[_sample(len(frame), settings.importance_rows, settings.seed)]
    rows, actual = chosen[names], chosen[known.target].to_numpy()
    random = np.random.default_rng(settings.seed)
    orders = [random.permutation(len(rows)) for _ in range(settings.importance_repeats)]
    copies = [(name, order) for name in names for order in orders]

    def measured(parts: list[pd.DataFrame]) -> list[float]:
        labels = np.tile(actual, len(parts))
        said = predict(model, pd.concat(parts), labels, known.task, known.positive)
        starts = range(0, len(labels), len(rows))
        pieces = [said.take(np.arange(start, start + len(rows))) for start in starts]
        return [headline(piece).get(metric, np.nan) for piece in pieces]

    size, values = max(1, CELLS // rows.size), list[float]()
    batches = (copies[start : start + size] for start in range(0, len(copies), size))
    for batch in progress.rows(batches, "importance", len(copies), " columns"):
        values += measured([rows.assign(**{n: rows[n].array.take(at)}) for n, at in batch])
    if not copies:
        return []
    drops = np.reshape(values, (len(names), -1)) - measured([rows])[0]
    drops = drops if better(metric) == "lower" else -drops
    means, spreads = drops.mean(axis=1), drops.std(axis=1)
    return [
        {
            "column": names[at],
            "importance": six_digits(float(means[at])),
            "std": six_digits(float(spreads[at])),
        }
        for at in np.argsort(-means, kind="stable")[:COLUMNS]
        if np.isfinite(means[at])
    ]


def _points(**columns: np.ndarray) -> list[dict[str, Any]]:
    shown = curve_points(*columns.values())
    return _rows(**{name: values[shown] for name, values in columns.items()})


def _rows(**columns: np.ndarray) -> list[dict[str, Any]]:
    values = zip(*(column.round(6).tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def predict_all(
    model: Any, test: Split, known: Sidecar, chosen: np.ndarray
) -> tuple[Predictions, Array, pd.DataFrame]:
    """Let the model predict the test split, which may be larger than memory, batch by batch.

    Args:
        model: the fitted pipeline, which takes raw rows.
        test: the test split.
        known: the model's sidecar.
        chosen: numbers of rows to give back.

    Returns:
        What the model says, a hash of each row (of its key, where there is one), and the rows that
        were chosen.
    """
    parts, hashes, rows, start = [], [], [], 0
    long, names = long_numbers(test), list(known.key or test.names)
    for batch in progress.rows(test.batches(), "predict", len(test)):
        actual = batch[known.target].to_numpy()
        parts.append(predict(model, batch, actual, known.task, known.positive))
        hashes.append(row_hashes(batch[names], long))
        places = chosen - start
        rows.append(batch.iloc[places[(places >= 0) & (places < len(batch))]])
        start += len(batch)
    return joined(parts), np.concatenate(hashes), pd.concat(rows, ignore_index=True)


def count_target(train: Split, known: Sidecar) -> tuple[Array, Array | None]:
    """Return the target of the train split: its classes and how many rows each has, or numbers."""
    target = train[known.target]
    if known.task == "regression":
        return target.to_numpy(), None
    counts = target.value_counts()
    return counts.index.to_numpy(), counts.to_numpy()


def main() -> None:
    """Read the model and the test split, write the predictions and what they are worth."""
    settings = params.load()
    split, column, seed = splits.find(settings), settings.prepare.column, settings.evaluate.seed
    known = sidecar.read(SIDECAR)
    model = load_model(MODEL, known)
    columns = [known.target, *known.key, *(feature.name for feature in known.features)]
    columns += [column] if column else []
    test, train = Split(TEST, *columns), Split(TRAIN, known.target)
    for one in settings.evaluate.slices:
        name = one if isinstance(one, str) else one.column
        tables.require_column(name, test.names, TEST, "evaluate.slices")
    labels = slices.label(test, settings.evaluate.slices)
    target, counts = count_target(train, known)
    chosen = _sample(len(test), settings.evaluate.importance_rows, seed)
    predictions, hashes, rows = predict_all(model, test, known, chosen)
    values = headline(predictions)
    metric = settings.evaluate.metric or next(iter(values))
    if metric not in values and known.task not in getattr(METRICS.get(metric), "tasks", ()):
        raise UserError(
            f"params.yaml: evaluate.metric is '{metric}'; this model has: {', '.join(values)}"
        )
    decides = test[column].to_numpy() if column else None
    groups, order = (None, decides) if split.ordered else (decides, None)
    found = intervals(predictions, settings.evaluate.resamples, seed, groups, order)
    parts = slices.score(predictions, labels, settings.evaluate, groups, order)
    plain_values = baseline(predictions, target, known.positive, counts)
    points = plots(predictions, seed) | {
        "importance": importances(model, rows, known, metric, settings.evaluate),
        "slices": slice_points(parts, metric),
    }
    with files.replacing(EVALUATION, PREDICTIONS) as (draft, table_draft):
        with StageLive(draft) as live:
            for name, value in values.items():
                live.log_metric(name, value, plot=False)
            for name, axes in AXES.items():
                live.log_plot(name, points[name], *axes)
        files.write_json(draft / INTERVALS.name, {name: asdict(one) for name, one in found.items()})
        files.write_json(draft / BASELINE.name, plain_values)
        slices.write(draft / SLICES.name, parts)
        keys = test.columns(*known.key) if known.key else pd.DataFrame(index=range(len(test)))
        told = as_frame(predictions, keys, known.key, decides, labels, hashes)
        # Without the versions that pandas notes, the same answers are the same bytes.
        kept = pa.Table.from_pandas(told, preserve_index=False).replace_schema_metadata()
        pa.parquet.write_table(kept, table_draft)
        provenance.write(draft, table_draft)
    print(table_of(values, found, plain_values))
    absent = [name for name in METRICS if known.task in METRICS[name].tasks and name not in values]
    if absent:
        print(f"not defined for this model on these rows: {', '.join(absent)}")
    if parts:
        print(slice_table(parts, metric))


def table_of(values: dict[str, float], found: dict[str, Interval], plain: dict[str, float]) -> str:
    """Return the metrics, their intervals and the baseline's metrics as a text table."""
    width = max(map(len, values))
    ends = {
        name: f"{'-' if one.low is None else f'{one.low:.4g} to {one.high:.4g}'} ({one.method})"
        for name, one in found.items()
    }
    wide = max(24, *map(len, ends.values()))
    lines = [f"{'metric':{width}}  {'value':>10}  {'95 % interval':{wide}}  {'baseline':>10}"]
    for name, value in values.items():
        one = found[name]
        other = f"{plain[name]:.4g}" if name in plain else "-"
        line = f"{name:{width}}  {value:>10.4g}  {ends[name]:{wide}}  {other:>10}"
        lines += [line, *([f"  {one.note}"] if one.note else [])]
    told = wording.of_sets(one.method for one in found.values())
    return "\n".join([*lines, *([told] if told else [])])


def slice_points(parts: list[Slice], metric: str) -> list[dict[str, Any]]:
    """Return the points of the plot of the slices: those in which the metric is defined."""
    return [
        {"slice": one.name, "value": found.value, "low": found.low, "high": found.high}
        for one in parts
        if (found := one.metrics.get(metric))
    ]


def slice_table(parts: list[Slice], metric: str) -> str:
    """Return one metric of each slice as a text table, indented."""
    names = [plain(one.name) for one in parts]
    width = max(map(len, [*names, "slice"]))
    lines = [f"  {'slice':{width}}  {'rows':>7}  {metric:>10}  95 % interval"]
    for name, one in zip(names, parts, strict=True):
        found = one.metrics.get(metric)
        value = "undefined" if found is None else f"{found.value:.4g}"
        ends = "-" if found is None or found.low is None else f"{found.low:.4g} to {found.high:.4g}"
        lines.append(f"  {name:{width}}  {one.rows:>7,}  {value:>10}  {ends}")
    return "\n".join(lines)


if __name__ == "__main__":
    errors.run(main)
