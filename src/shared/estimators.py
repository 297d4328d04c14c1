"""Estimators as params.yaml writes them: an import path and arguments, which may hold more of them.

In the arguments, at any depth, a mapping `{estimator: IMPORT.PATH, arguments: {...}}` stands for an
object: an estimator, a splitter for cross-validation, a distribution of scipy.stats. Without
arguments it may also name a function, such as numpy.log1p.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor

from src.shared.errors import UserError
from src.shared.model import EncodedClassifier

PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")

# Where scikit-learn wants a consent before it hands out a class.
EXPERIMENTAL = {
    "sklearn.model_selection.HalvingGridSearchCV": "sklearn.experimental.enable_halving_search_cv",
    "sklearn.model_selection.HalvingRandomSearchCV": (
        "sklearn.experimental.enable_halving_search_cv"
    ),
    "sklearn.impute.IterativeImputer": "sklearn.experimental.enable_iterative_imputer",
}


def make_estimator(
    path: str, arguments: dict[str, Any], seed: int, task: str, positive: Any = None
) -> BaseEstimator:
    """Make the estimator that params.yaml names.

    Args:
        path: import path of a scikit-learn compatible class.
        arguments: its keyword arguments.
        seed: the random_state of each object that takes one and is given none.
        task: binary, multiclass or regression.
        positive: for a binary task the class that counts as positive.

    Returns:
        The estimator. A classifier that is not scikit-learn's own sees its classes as 0, 1, ...

    Raises:
        UserError: a class does not exist or refuses its arguments, or is for another task.
    """
    estimator = _make(path, arguments, seed, "train")
    if not hasattr(estimator, "get_params"):
        raise UserError(f"train.estimator: {path} is not an estimator: it has no get_params")
    try:
        suits = (is_regressor if task == "regression" else is_classifier)(estimator)
    except Exception as error:  # whatever an estimator raises
        raise UserError(f"train.arguments: {path} refuses them: {told(error)}") from error
    if not suits:
        kind = "regressor" if task == "regression" else "classifier"
        raise UserError(f"train.estimator: {path} is not a {kind}, which the task {task} needs")
    packages = {one.partition(".")[0] for one in paths(path, arguments)}
    if task != "regression" and packages - {"sklearn", "scipy", "numpy"}:
        return EncodedClassifier(estimator, positive)
    return estimator


def paths(path: str, arguments: Any) -> Iterator[str]:
    """Yield every import path that an estimator is made of, its own first."""
    yield path
    for value in arguments.values():
        yield from _paths_in(value)


def _paths_in(value: Any) -> Iterator[str]:
    if _is_object(value):
        yield from paths(value["estimator"], value.get("arguments") or {})
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _paths_in(one)


def distributions(path: str, arguments: dict[str, Any]) -> list[str]:
    """Return the installed packages, by the names that pip knows, that an estimator is made of."""
    packages = dict.fromkeys(one.partition(".")[0] for one in paths(path, arguments))
    known = _installed(tuple(sys.path))
    return [name for package in packages for name in known.get(package, [])]


@cache
def _installed(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the packages of each module; every package's list of files is read for that."""
    return packages_distributions()


def _is_object(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("estimator"), str)
        and value.keys() <= {"estimator", "arguments"}
    )


def _make(path: str, arguments: dict[str, Any], seed: int, where: str) -> Any:
    """Make an object; `where` is the key that holds its estimator and arguments."""
    maker = _import(path, f"{where}.estimator")
    if not callable(maker):
        raise UserError(f"{where}.estimator: {path} is not a class")
    values = {
        name: _value(value, seed, f"{where}.arguments.{name}") for name, value in arguments.items()
    }
    try:
        if not hasattr(maker, "get_params") and _draws(maker, values):
            values.setdefault("random_state", seed)  # a splitter
        made = maker(**values)
        own = made.get_params(deep=False) if hasattr(maker, "get_params") else {}
        if "random_state" in own and "random_state" not in arguments:
            made.set_params(random_state=seed)
    except Exception as error:  # whatever a class raises
        raise UserError(f"{where}.arguments: {path} refuses them: {told(error)}") from error
    return made


def _draws(maker: Any, values: dict[str, Any]) -> bool:
    """Tell whether a splitter draws at random: one with `shuffle` only where that is true."""
    known = inspect.signature(maker).parameters if inspect.isclass(maker) else {}
    return "random_state" in known and ("shuffle" not in known or values.get("shuffle") is True)


def _import(path: str, where: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        if path in EXPERIMENTAL:
            importlib.import_module(EXPERIMENTAL[path])
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise UserError(f"{where}: {path} does not exist: {error}") from None
    except Exception as error:  # whatever a module of one's own raises
        raise UserError(f"{where}: cannot import {path}: {told(error)}") from error


def _value(value: Any, seed: int, where: str) -> Any:
    """Turn an argument into what is meant: objects are made, all else stays as it is."""
    if _is_object(value):
        return _object(value, seed, where)
    if isinstance(value, dict):
        return {name: _value(one, seed, f"{where}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_value(one, seed, f"{where}.{at}") for at, one in enumerate(value)]
    if isinstance(value, str) and PATH.fullmatch(value) and _is_callable(value):
        wanted = "{estimator: " + value + ", arguments: {}}"
        raise UserError(
            f"{where} is the text '{value}', but an object is wanted; write {wanted} there"
        )
    return value


def _object(value: dict[str, Any], seed: int, where: str) -> Any:
    if "arguments" not in value:
        named = _import(value["estimator"], f"{where}.estimator")
        if callable(named) and not inspect.isclass(named):
            return named
    return _make(value["estimator"], value.get("arguments") or {}, seed, where)


def _is_callable(path: str) -> bool:
    try:
        return callable(_import(path, ""))
    except UserError:
        return False


def require_classes(labels: Iterable[Any], learned: Iterable[Any]) -> None:
    """Check that the rows that a fold is fitted on have every class.

    Args:
        labels: of all rows, or each class once.
        learned: of the rows to fit on, or each class once.

    Raises:
        UserError: they lack one.
    """
    if lacking := set(labels) - set(learned):
        raise UserError(
            "train: the training rows of a fold have none of the class "
            f"{', '.join(sorted(map(repr, lacking)))}; use fewer train.folds, another "
            "prepare.split, or more rows of it"
        )


def told(error: Exception) -> str:
    """Return the kind and the text of an error, in one line: of a long one both ends."""
    text = " ".join(str(error).split())
    return (
        f"{type(error).__name__}: {text if len(text) <= 300 else f'{text[:150]} ... {text[-150:]}'}"
    )
