"""The trained model: its classes, loading it, and what it answers for rows."""

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if

from src.shared import files
from src.shared.errors import UserError
from src.shared.sidecar import REMEDY, Sidecar

# What these predict is their likeliest class: scoring rows once is half the work. What is derived
# from them may predict another one, by a threshold of its own.
LIKELIEST = {"RandomForestClassifier", "ExtraTreesClassifier", "BaggingClassifier"}
# These do so but for rounding: rows whose two best classes are so near each other are scored again.
ROUNDED, NEAR = {"HistGradientBoostingClassifier", "LogisticRegression"}, 1e-9


def _has(method: str) -> Callable[[Any], bool]:
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), method)


class EncodedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that sees its classes as 0, 1, ..., whatever they are called.

    Some libraries want that (XGBoost), some give predictions of shape (rows, 1) (CatBoost). Outside
    of it nobody needs to know: labels go in and come out as they stand in the table.
    """

    def __init__(self, estimator: Any, positive: Any = None) -> None:
        """Take the estimator, and the class that is to be the last one (1 of two)."""
        self.estimator, self.positive = estimator, positive

    def fit(self, rows: Any, labels: Any) -> "EncodedClassifier":
        """Fit a copy of the estimator.

        Args:
            rows: the features, shape (rows, features).
            labels: the class of each row, shape (rows,).
        """
        self.estimator_ = clone(self.estimator).fit(rows, self.encode(labels))
        return self

    def encode(self, labels: Any) -> np.ndarray:
        """Learn the classes from labels, and return the number of each label, shape (rows,)."""
        known = sorted(set(labels), key=lambda label: (label == self.positive, label))
        codes = {label: code for code, label in enumerate(known)}
        self.classes_ = np.array(known, dtype=np.asarray(labels).dtype)
        return np.array([codes[one] for one in labels])

    def predict(self, rows: Any) -> Any:
        """Return the class of each row, shape (rows,)."""
        return self.classes_[np.asarray(self.estimator_.predict(rows)).ravel().astype(int)]

    @available_if(_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, rows: Any) -> Any:
        """Return the probability of each class, shape (rows, classes)."""
        return self.estimator_.predict_proba(rows)

    @available_if(_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, rows: Any) -> Any:
        """Return the score of the second class, or of each one where there are more than two."""
        return self.estimator_.decision_function(rows)


def load_model(model: Path, sidecar: Sidecar) -> Any:
    """Load a model whose hash is the one in its sidecar.

    Raises:
        UserError: the file is missing, or is another than the one that was trained. Nothing is
            unpickled then.
    """
    import joblib

    if not model.exists():
        raise UserError(f"{model.as_posix()}: not found; {REMEDY}")
    if files.sha256(model) != sidecar.model.sha256:
        raise UserError(f"{model.as_posix()}: not the file that its sidecar describes; {REMEDY}")
    return joblib.load(model)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an estimator of the project's own, or another name
            continue
    return found


def require_versions(trained: dict[str, str]) -> None:
    """Compare the installed packages with those that the model was trained with.

    Raises:
        UserError: one is missing or has another version. A pickle may then load and answer wrong.
    """
    here = versions(trained)
    wrong = [
        f"{name} {wanted} (here: {here.get(name, 'not installed')})"
        for name, wanted in trained.items()
        if here.get(name) != wanted
    ]
    if wrong:
        raise UserError(
            f"the model was trained with {', '.join(wrong)}; install these, or train anew"
        )


def outputs(model: Any, rows: Any, task: str) -> tuple[Any, Any]:
    """Return what a model predicts, shape (rows,), and its probabilities, shape (rows, classes).

    Args:
        model: a fitted scikit-learn estimator; one without probabilities gives None for them, one
            without `predict` predicts its likeliest class.
        rows: the features, shape (rows, features).
        task: binary, multiclass or regression.
    """
    if task == "regression" or not hasattr(model, "predict_proba"):
        return model.predict(rows), None
    scores = model.predict_proba(rows)
    estimator = model[-1] if isinstance(model, Pipeline) else model
    name = type(estimator).__name__ if type(estimator).__module__.startswith("sklearn.") else ""
    if name not in LIKELIEST | ROUNDED and hasattr(estimator, "predict"):
        return model.predict(rows), scores
    predicted = model.classes_[scores.argmax(axis=1)]
    if name in ROUNDED:
        best = np.partition(scores, -2, axis=1)[:, -2:]
        if (near := best[:, 1] - best[:, 0] < NEAR).any():
            predicted[near] = model.predict(rows[near])
    return predicted, scores


def answers(model: Any, rows: Any, task: str) -> list[dict[str, Any]]:
    """Return for each row its class, with probabilities where the model has them, or its value.

    Args:
        model: a fitted scikit-learn estimator.
        rows: the features, shape (rows, features).
        task: binary, multiclass or regression.
    """
    return told(model, *outputs(model, rows, task), task)


def told(model: Any, predicted: Any, scores: Any, task: str) -> list[dict[str, Any]]:
    """Return what `outputs` found in the form of `answers`.

    Args:
        model: the estimator that was asked.
        predicted: shape (rows,).
        scores: the probabilities, shape (rows, classes), or None.
        task: binary, multiclass or regression.
    """
    if task == "regression":
        return [{"value": float(value)} for value in predicted]
    if scores is None:
        return [{"class": label} for label in predicted.tolist()]
    names = [str(label) for label in model.classes_.tolist()]
    return [
        {"class": label, "probabilities": dict(zip(names, row, strict=True))}
        for label, row in zip(predicted.tolist(), scores.tolist(), strict=True)
    ]
