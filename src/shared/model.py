"""The trained model: loading it, and what it answers for rows."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from src.shared import files
from src.shared.errors import UserError
from src.shared.sidecar import REMEDY, Sidecar

# What these call `predict` is their likeliest class: scoring rows once is half the work.
LIKELIEST = {"ForestClassifier", "BaggingClassifier", "Trees"}


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


def answers(model: Any, rows: Any, task: str) -> list[dict[str, Any]]:
    """Return for each row its class, with probabilities where the model has them, or its value.

    Args:
        model: a fitted scikit-learn estimator.
        rows: the features, shape (rows, features).
        task: binary, multiclass or regression.
    """
    if task == "regression":
        return [{"value": float(value)} for value in model.predict(rows)]
    if not hasattr(model, "predict_proba"):
        return [{"class": label} for label in model.predict(rows).tolist()]
    scores = model.predict_proba(rows)
    if LIKELIEST & {base.__name__ for base in type(model).__mro__}:
        predicted = model.classes_[scores.argmax(axis=1)]
    else:
        predicted = model.predict(rows)
    names = [str(label) for label in model.classes_.tolist()]
    return [
        {"class": label, "probabilities": dict(zip(names, row, strict=True))}
        for label, row in zip(predicted.tolist(), scores.tolist(), strict=True)
    ]
