"""What train writes beside the model, for all who load it: models/model.json as typed records."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from src.shared import files, reference
from src.shared.errors import UserError
from src.shared.fields import Format
from src.shared.paths import DVC_LOCK
from src.shared.reference import Reference

REMEDY = "run `dvc repro -f train`"

Kind = Literal["numeric", "boolean", "date", "categorical"]


@dataclass(frozen=True)
class Feature:
    """A column that the model takes, its kind and its pandas type in the training data."""

    name: str
    kind: Kind
    dtype: str


@dataclass(frozen=True)
class Example:
    """A row that the model can be tried with, and what it answers for that row."""

    row: dict[str, Any]
    answer: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A file and the hash of its content."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Sidecar:
    """What is known of a trained model.

    Attributes:
        task: binary, multiclass or regression.
        target: the column that it predicts.
        positive: the class that counts as positive, if the task is binary.
        classes: its classes, in its order; None for regression.
        features: the columns that it takes.
        categories: the known values of the text columns that do not have too many.
        estimator: its import path.
        versions: of the packages that it was trained with.
        example: a row of the train split, with its answer.
        key: the columns that say which row is which.
        ignored: the other columns of the raw table that are no features.
        form: how the raw table's fields are written, with all texts that stand for a missing value.
        data: the hash of each file that it was trained on.
        model: the model's own file.
        unrecorded: the columns that are never recorded of rows to come.
        reference: sketches of what it was trained on; None for a model from before there were any.
        rows: how many rows it was trained on, and of how many.
    """

    task: str
    target: str
    positive: Any
    classes: list[Any] | None
    features: list[Feature]
    categories: dict[str, list[str]]
    estimator: str
    versions: dict[str, str]
    example: Example
    key: list[str]
    ignored: list[str]
    form: Format
    data: dict[str, str]
    model: Artifact
    unrecorded: list[str] = field(default_factory=list)
    reference: Reference | None = None
    rows: list[int] = field(default_factory=list)


def read(path: Path) -> Sidecar:
    """Read what train wrote beside the model.

    Raises:
        UserError: the file is missing, is not a sidecar, or is not the one that dvc.lock names.
    """
    files.require_recorded(path, DVC_LOCK, REMEDY)
    return parse(path)


def parse(path: Path) -> Sidecar:
    """Read a sidecar, whoever vouches for it.

    Raises:
        UserError: the file is missing, or is not a sidecar.
    """
    content = files.read_json(path, REMEDY)
    try:
        return Sidecar(
            **content
            | {
                "features": [Feature(**feature) for feature in content["features"]],
                "example": Example(**content["example"]),
                "form": Format(**content["form"] | {"missing": tuple(content["form"]["missing"])}),
                "model": Artifact(**content["model"]),
                "reference": reference.parse(known)
                if (known := content.get("reference"))
                else None,
            }
        )
    except (TypeError, KeyError):
        raise UserError(f"{path.as_posix()}: not the sidecar of a model; {REMEDY}") from None


def write(path: Path, sidecar: Sidecar) -> None:
    """Write it as JSON, a list of numbers in one line."""
    text = json.dumps(asdict(sidecar), indent=2, ensure_ascii=False, allow_nan=False)
    text = re.sub(
        r"\[\n([-+.\de,\s]+)\n *\]", lambda found: f"[{' '.join(found[1].split())}]", text
    )
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
