"""params.yaml as typed objects. What they do not know, they refuse."""

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from src.errors import UserError

PARAMS = Path("params.yaml")

Label = str | int | float | bool
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """Base of every section: frozen, strict about types, no unknown keys.

    Each field's description says what is allowed; the messages quote it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(Section):
    """Where the raw table is and what its columns mean."""

    raw: Text = Field(
        pattern=r"\.(csv|parquet)$", description="the path of a .csv or .parquet file"
    )
    target: Text = Field(description="the name of a column")
    positive: Label | None = Field(description="a class of the target, or null if not binary")
    drop: list[Text] = Field(description="a list of column names")


class Prepare(Section):
    """How the table is split."""

    split: Literal["stratified", "random", "group", "time"] = Field(
        description="stratified, random, group or time"
    )
    column: Text | None = Field(description="the column that groups or dates the rows, or null")
    test_size: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    seed: Seed = Field(description="a whole number from 0 to 4294967295")

    @model_validator(mode="after")
    def _column_goes_with_split(self) -> Self:
        needed = self.split in ("group", "time")
        if needed != (self.column is not None):
            rule = "needs the name of a column" if needed else "takes no column: set it to null"
            raise ValueError(f"prepare.column: the split '{self.split}' {rule}")
        return self


class Validate(Section):
    """What the splits must hold beyond the schema."""

    min_train_rows: int = Field(ge=1, description="a whole number, at least 1")
    min_test_rows: int = Field(ge=1, description="a whole number, at least 1")
    max_drift: float = Field(ge=0, le=1, description="a number from 0 to 1")


class Train(Section):
    """The estimator and how it is cross-validated."""

    estimator: Text = Field(
        pattern=r"^[^.\s]+(\.[^.\s]+)+$",
        description="an import path such as sklearn.linear_model.LogisticRegression",
    )
    arguments: dict[Text, Any] = Field(description="the estimator's keyword arguments, {} for none")
    folds: int = Field(ge=2, description="a whole number, at least 2")
    seed: Seed = Field(description="a whole number from 0 to 4294967295")


class Evaluate(Section):
    """The bootstrap of the confidence intervals."""

    resamples: int = Field(ge=100, description="a whole number, at least 100")
    seed: Seed = Field(description="a whole number from 0 to 4294967295")


class Bound(Section):
    """The range that a metric must lie in."""

    min: FiniteFloat | None = Field(default=None, description="a finite number")
    max: FiniteFloat | None = Field(default=None, description="a finite number")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a bound needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Params(Section):
    """The whole of params.yaml."""

    task: Literal["binary", "multiclass", "regression"] = Field(
        description="binary, multiclass or regression"
    )
    data: Data
    prepare: Prepare
    validate_: Validate = Field(alias="validate")  # `validate` is a method of BaseModel
    train: Train
    evaluate: Evaluate
    gate: dict[Text, Bound] = Field(
        min_length=1, description="at least one metric with its bound, e.g. accuracy: {min: 0.9}"
    )

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if (self.task == "binary") != (self.data.positive is not None):
            rule = "needs a class" if self.task == "binary" else "has no such class: set it to null"
            raise ValueError(f"data.positive: the task '{self.task}' {rule}")
        if self.task == "regression" and self.prepare.split == "stratified":
            raise ValueError("prepare.split: stratified needs classes; use random, group or time")
        for setting, column in (
            ("data.target", self.data.target),
            ("prepare.column", self.prepare.column),
        ):
            if column in self.data.drop:
                raise ValueError(f"data.drop: '{column}' is needed as {setting}")
        if self.prepare.column == self.data.target:
            raise ValueError("prepare.column: the target cannot group or date the rows")
        return self


@lru_cache
def load(path: Path = PARAMS) -> Params:
    """Read params.yaml.

    Raises:
        UserError: the file is missing, is not YAML, or holds a key or a value that is not allowed.
            The message names every such key, what was found and what is allowed.
    """
    # YAML 1.2 as DVC reads it: `yes` is text and 1e-3 is a number, unlike in YAML 1.1.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run this in the project's root folder") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold the sections {', '.join(_fields(Params))}")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        problems = dict.fromkeys(_describe(dict(problem)) for problem in error.errors())
        raise UserError(f"{path}: {'; '.join(problems)}") from None


def _yaml_problem(error: Exception) -> str:
    problem = getattr(error, "problem", None) or "cannot be parsed"
    mark = getattr(error, "problem_mark", None)
    return f"{problem} in line {mark.line + 1}" if mark else problem


def _describe(problem: dict[str, Any]) -> str:
    """Say in one phrase which key is wrong, what was found and what is allowed."""
    names, section = _locate(problem["loc"])
    key, allowed_keys = ".".join(names), ", ".join(_fields(section))
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(names[-1], _fields(section), n=1)
        right = ".".join([*names[:-1], *near])
        hint = f"did you mean {right}?" if near else f"allowed: {allowed_keys}"
        return f"unknown key {key}; {hint}"
    if problem["type"] == "value_error":  # raised by a validator above
        return ": ".join(filter(None, [key, str(problem["ctx"]["error"])]))
    field = _fields(section).get(names[-1])
    inner = Bound if field is None else field.annotation
    if isinstance(inner, type) and issubclass(inner, Section):
        allowed = f"a section with {', '.join(_fields(inner))}"
    else:
        allowed = field.description if field else problem["msg"]
    if problem["type"] == "missing":
        return f"missing key {key}; allowed: {allowed}"
    found = "null" if problem["input"] is None else repr(problem["input"])[:80]
    return f"{key} is {found}; allowed: {allowed}"


def _locate(loc: tuple[str | int, ...]) -> tuple[list[str], type[Section]]:
    """Split an error's location into the key's names and the section that the key stands in."""
    names = [str(part) for part in loc]
    if len(names) < 2:
        return names, Params
    if names[0] == "gate":
        return names[:3], Bound
    return names[:2], _fields(Params)[names[0]].annotation


def _fields(section: type[Section]) -> dict[str, Any]:
    """Give a section's fields by their keys in params.yaml."""
    return {field.alias or name: field for name, field in section.model_fields.items()}
