"""params.yaml as typed objects. A key or a value that they do not know is refused."""

import codecs
import difflib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from src.shared.errors import UserError
from src.shared.paths import PARAMS

Label = str | int | float | bool
Text = Annotated[str, Meta(min_length=1)]
Seed = Annotated[int, Meta(ge=0, lt=2**32, description="a whole number from 0 to 4294967295")]
Count = Annotated[int, Meta(ge=1, description="a whole number, at least 1")]
# NaN and the infinities lie outside: no comparison with them holds.
Finite = Annotated[float, Meta(ge=-1.7e308, le=1.7e308)]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
NotNegative = Annotated[float, Meta(ge=0, le=1.7e308)]


class Section(Struct, frozen=True, kw_only=True):
    """Base of every section. The description of each field's type says what is allowed."""


S = TypeVar("S", bound=Section)


class Data(Section, frozen=True, kw_only=True):
    """Where the raw table is and what its columns mean."""

    raw: Annotated[
        str,
        Meta(
            pattern=r"\.(csv|parquet)$|^([^\\]*/)?[^./\\]+$",
            description="the path of a .csv or .parquet file, or of a folder without a dot",
        ),
    ]
    target: Annotated[str, Meta(min_length=1, description="the name of a column")]
    positive: Annotated[
        Label | None, Meta(description="a class of the target, or null if not binary")
    ]
    drop: Annotated[list[str], Meta(description="a list of column names")]
    key: Annotated[
        list[Text] | None,
        Meta(description="the columns that say which row is which, or null"),
    ]
    separator: Annotated[
        str, Meta(min_length=1, max_length=1, description="the one sign between two fields")
    ]
    decimal: Annotated[Literal[".", ","], Meta(description='the sign before fractions, "." or ","')]
    encoding: Annotated[str, Meta(description="an encoding such as utf-8 or cp1252")]
    missing: Annotated[
        list[str | int | float],
        Meta(description='a list of texts that stand for a missing value, such as ["?", "-"]'),
    ]
    missing_target: Annotated[
        Literal["error", "drop"],
        Meta(description="error, or drop to leave out rows without a target"),
    ]
    drop_rare_classes: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        Meta(description="the fewest rows that a class must have to stay, at least 2, or null"),
    ]

    def __post_init__(self) -> None:
        """Refuse a format that no CSV file can have."""
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            rule = "allowed: an encoding that Python knows, such as utf-8 or cp1252"
            raise ValueError(f"encoding is '{self.encoding}'; {rule}") from None
        if self.separator == self.decimal or not self.separator.isascii():
            raise ValueError(f"separator is '{self.separator}'; allowed: a sign unlike decimal")


class Prepare(Section, frozen=True, kw_only=True):
    """How the table is split."""

    split: Annotated[Text, Meta(description="the name of a split that src/splits.py knows")]
    column: Annotated[
        Text | None, Meta(description="the column that groups or dates the rows, or null")
    ]
    test_size: Annotated[float, Meta(gt=0, lt=1, description="a number between 0 and 1")]
    seed: Seed
    duplicates: Annotated[
        Literal["keep", "together", "drop"] | None,
        Meta(description="keep, together, drop or null"),
    ]


class Validate(Section, frozen=True, kw_only=True):
    """What the splits must hold beyond the schema."""

    min_train_rows: Count
    min_test_rows: Count
    max_drift: Share
    max_category_drift: Share
    accept: Annotated[
        list[str], Meta(description="a list of columns whose warnings somebody has looked at")
    ]


class Train(Section, frozen=True, kw_only=True):
    """The estimator and how it is cross-validated."""

    estimator: Annotated[
        str,
        Meta(
            pattern=r"^[^.\s]+(\.[^.\s]+)+$",
            description="an import path such as sklearn.linear_model.LogisticRegression",
        ),
    ]
    arguments: Annotated[
        dict[Text, Any], Meta(description="the estimator's keyword arguments, {} for none")
    ]
    folds: Annotated[int, Meta(ge=2, description="a whole number, at least 2")]
    seed: Seed
    leave_out: Annotated[
        list[Text], Meta(description="a list of columns that are kept, but are no features")
    ]
    rows: Annotated[
        Count | None, Meta(description="how many rows to train on at most, or null for all")
    ]
    distributed: Annotated[bool, Meta(description="true or false")]


class Bins(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of numbers, cut where the bins begin."""

    column: Text
    bins: Annotated[list[Finite], Meta(min_length=1)]

    def __post_init__(self) -> None:
        """Refuse edges that are not in their order."""
        if sorted(set(self.bins)) != self.bins:
            raise ValueError("bins must rise")


class Evaluate(Section, frozen=True, kw_only=True):
    """How the model is measured: intervals, slices, importance, and the rows that decide."""

    resamples: Annotated[int, Meta(ge=100, description="a whole number, at least 100")]
    seed: Seed
    metric: Annotated[Text | None, Meta(description="the name of a metric, or null")]
    slices: Annotated[
        list[Text | Bins],
        Meta(
            description="a list of columns, each its name or {column: age, bins: [30, 50]} with "
            "bins that rise"
        ),
    ]
    slice_rows: Count
    importance_repeats: Annotated[int, Meta(ge=0, description="a whole number, 0 for none")]
    importance_rows: Count
    gate_rows: Count

    def __post_init__(self) -> None:
        """Refuse a column that is sliced twice, as two slices of a name could not be told apart."""
        names = self.sliced
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"slices: '{twice}' stands there twice; keep one")

    @property
    def sliced(self) -> list[str]:
        """The names of the columns of the slices."""
        return [one if isinstance(one, str) else one.column for one in self.slices]


class Monitor(Section, frozen=True, kw_only=True):
    """What `make monitor` allows of rows that came in.

    A project without that has `leave_out` only, as train reads it.
    """

    leave_out: Annotated[list[Text], Meta(description="a list of columns that are never recorded")]
    window: Annotated[
        str, Meta(pattern=r"^[1-9][0-9]{0,3}[hd]$", description="hours or days, such as 12h or 7d")
    ] = "1d"
    min_rows: Count = 100
    max_drift: Share = 0.1
    max_missing: Share = 0.05
    max_unseen: Share = 0.01
    max_refused: Share = 0.1
    max_volume: Annotated[
        Annotated[float, Meta(gt=1)] | None, Meta(description="a number above 1, or null")
    ] = 10
    accept: Annotated[
        list[Text], Meta(description="a list of columns that may differ from training")
    ] = []


class Bound(Section, frozen=True, kw_only=True, omit_defaults=True):
    """The range that a metric must lie in, and how far it may fall behind the champion's."""

    min: Annotated[Finite | None, Meta(description="a finite number")] = None
    max: Annotated[Finite | None, Meta(description="a finite number")] = None
    max_drop: Annotated[NotNegative | None, Meta(description="a finite number, at least 0")] = None
    # What becomes of a drop beyond max_drop that may be chance.
    undecided: Annotated[Literal["pass", "reject"], Meta(description="pass or reject")] = "pass"
    # The same as min and max for each slice of at least evaluate.slice_rows rows.
    slice_min: Annotated[Finite | None, Meta(description="a finite number")] = None
    slice_max: Annotated[Finite | None, Meta(description="a finite number")] = None

    def __post_init__(self) -> None:
        """Refuse a bound that says nothing or that nothing can meet."""
        if self.min is None and self.max is None:
            raise ValueError("min: a bound needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: {self.min} is above max {self.max}")
        low, high = self.slice_min, self.slice_max
        if low is not None and high is not None and low > high:
            raise ValueError(f"slice_min: {low} is above slice_max {high}")

    @property
    def of_slices(self) -> bool:
        """Whether it bounds slices."""
        return self.slice_min is not None or self.slice_max is not None


Gate = Annotated[
    dict[Text, Bound],
    Meta(min_length=1, description="at least one metric with its bound, e.g. accuracy: {min: 0.9}"),
]


class Params(Section, frozen=True, kw_only=True):
    """The whole of params.yaml."""

    task: Annotated[
        Literal["binary", "multiclass", "regression"],
        Meta(description="binary, multiclass or regression"),
    ]
    data: Data
    prepare: Prepare
    validate: Validate
    train: Train
    evaluate: Evaluate
    gate: Gate
    monitor: Monitor

    def __post_init__(self) -> None:
        """Refuse sections that contradict each other."""
        if (self.task == "binary") != (self.data.positive is not None):
            rule = "needs a class" if self.task == "binary" else "has no such class: set it to null"
            raise ValueError(f"data.positive: the task '{self.task}' {rule}")
        for setting, column in (
            ("data.target", self.data.target),
            ("prepare.column", self.prepare.column),
            *(("data.key", column) for column in self.data.key or ()),
            *(("train.leave_out", column) for column in self.train.leave_out),
            *(("evaluate.slices", column) for column in self.evaluate.sliced),
        ):
            if column in self.data.drop:
                raise ValueError(f"data.drop: '{column}' is needed as {setting}")
        if self.prepare.column == self.data.target:
            raise ValueError("prepare.column: the target cannot group or date the rows")
        if self.data.target in (self.data.key or ()):
            raise ValueError("data.key: the target cannot say which row is which")
        if self.data.target in self.train.leave_out:
            raise ValueError("train.leave_out: the target is no feature anyway; take it out")
        for name, bound in self.gate.items():
            if bound.of_slices and not self.evaluate.slices:
                raise ValueError(f"gate.{name}: a bound on slices needs columns in evaluate.slices")
        if self.task == "regression" and self.data.drop_rare_classes:
            raise ValueError("data.drop_rare_classes: a regression has no classes; set it to null")


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
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run this in the project's root folder") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_yaml_problem(error)}") from None
    except ValueError as error:  # a date that does not exist
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold the sections {', '.join(Params.__struct_fields__)}")
    try:
        return parse(Params, content)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _yaml_problem(error: Exception) -> str:
    problem = getattr(error, "problem", None) or "cannot be parsed"
    mark = getattr(error, "problem_mark", None)
    return f"{problem} in line {mark.line + 1}" if mark else problem


def parse(section: type[S], content: dict[str, Any], path: str = "") -> S:
    """Turn what YAML holds into a section.

    Args:
        section: the class to make.
        content: its keys and values.
        path: what stands before its keys in a message, such as `train.`.

    Raises:
        ValueError: a key or a value is not allowed. The message names all of them.
    """
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    values: dict[str, Any] = {}
    problems = []
    for key in content:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {path}{near[0]}?" if near else f"allowed: {', '.join(fields)}"
            problems.append(f"unknown key {path}{key}; {hint}")
    for key, field in fields.items():
        try:
            if key in content:
                values[key] = _value(field.type, content[key], f"{path}{key}")
            elif field.required:
                problems.append(f"missing key {path}{key}; allowed: {_allowed(field.type)}")
        except ValueError as error:
            problems.append(str(error))
    if not problems:
        try:
            return section(**values)
        except ValueError as error:  # what the section itself refuses, from the key on
            problems.append(f"{path}{error}")
    raise ValueError("; ".join(problems))


def _value(kind: Any, value: Any, key: str) -> Any:
    """Turn one value into what its type says; refuse it with what was found and is allowed."""
    if kind == Gate and isinstance(value, dict) and value:
        return _bounds(value, f"{key}.")
    if _is_section(kind) and isinstance(value, dict):
        return parse(kind, value, f"{key}.")
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError):
        found = "null" if value is None else repr(value)[:80]
        raise ValueError(f"{key} is {found}; allowed: {_allowed(kind)}") from None


def _bounds(content: dict[str, Any], path: str) -> dict[str, Bound]:
    bounds, problems = {}, []
    for metric, value in content.items():
        if not isinstance(metric, str) or not metric:
            problems.append(f"{path}{metric} is not the name of a metric, such as accuracy")
        for key, bound in value.items() if isinstance(value, dict) else ():
            if bound is None:  # which would bound nothing
                problems.append(f"{path}{metric}.{key} is null; allowed: a finite number")
        try:
            bounds[metric] = _value(Bound, value, f"{path}{metric}")
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return bounds


def _allowed(kind: Any) -> str:
    if _is_section(kind):
        return f"a section with {', '.join(kind.__struct_fields__)}"
    return next(meta.description for meta in kind.__metadata__ if meta.description)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
