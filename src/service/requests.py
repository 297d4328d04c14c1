"""Rows that clients send, checked against the model's sidecar."""

import contextlib
import csv
import difflib
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import orjson

from src.shared import fields
from src.shared.fields import Format
from src.shared.sidecar import Feature, Sidecar

Columns = dict[str, np.ndarray]
Record = dict[str, Any]
KEY_PROBLEM = "must be text or a whole number"


class RequestError(Exception):
    """A request that is answered with an error: status, one line, and what is wrong where."""

    def __init__(self, status: int, detail: str, problems: "Problems | None" = None) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.problems = problems or Problems(limit=0)


@dataclass(frozen=True)
class Problem:
    """One wrong field. Rows are counted from 0; `field` is None where the whole row is wrong."""

    row: int
    field: str | None
    problem: str


@dataclass
class Problems:
    """All wrong fields are counted, the first `limit` of them are kept."""

    limit: int
    kept: list[Problem] = field(default_factory=list)
    count: int = 0
    rows: set[int] = field(default_factory=set)

    def add(self, row: int, name: str | None, problem: str) -> None:
        """Note a wrong field."""
        self.count += 1
        self.rows.add(row)
        if len(self.kept) < self.limit:
            self.kept.append(Problem(row, name, problem))

    def listed(self) -> list[dict[str, Any]]:
        """Return what was kept, for JSON."""
        return [asdict(problem) for problem in self.kept]


@dataclass(frozen=True)
class Checked:
    """Rows that the model can answer.

    Attributes:
        columns: of equal length, one for each feature: floats for numbers and booleans, with NaN
            for missing; datetime64 with NaT; objects with None.
        keys: the columns of the key that came along, as text, with None for missing.
        warnings: what the train split did not have.
    """

    columns: Columns
    keys: dict[str, list[str | None]]
    warnings: Problems

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class Checker:
    """Turns a request's body into columns for the model, or refuses it."""

    def __init__(
        self, sidecar: Sidecar, max_rows: int, max_problems: int, *, strict: bool = False
    ) -> None:
        """Take the features and their known categories from the model's sidecar.

        Args:
            sidecar: the model's.
            max_rows: how many rows a request may have.
            max_problems: how many problems, and how many warnings, are told.
            strict: whether what the train split did not have (a category, fractions in a column of
                whole numbers) is refused. Otherwise the model answers, and there is a warning.
        """
        self.features, self.strict = sidecar.features, strict
        self.form, self.key = sidecar.form, sidecar.key
        self.ignored = {*sidecar.ignored} - {*self.key}
        self.names = {feature.name: feature for feature in self.features}
        self.with_key = {*self.names, *self.key}
        self.convert = {feature.name: _converter(feature) for feature in self.features}
        self.novelty = {
            feature.name: _novelty(feature, sidecar.categories.get(feature.name))
            for feature in self.features
        }
        self.max_rows, self.max_problems = max_rows, max_problems

    def check(self, body: bytes, *, is_csv: bool = False) -> Checked:
        """Read a body: one JSON record, a list of them, or CSV with a header line.

        Raises:
            RequestError: 400 for a body that cannot be read, 413 for one with too many rows,
                422 for wrong fields.
        """
        records = self._read_csv(body) if is_csv else self._read_json(body)
        problems, warnings = Problems(self.max_problems), Problems(self.max_problems)
        shape = "as many fields as the header" if is_csv else "the form {field: value}"
        for at, record in enumerate(records):
            if isinstance(record, dict):
                self._check_names(at, record, problems)
            else:
                problems.add(at, None, f"must have {shape}")
        columns = {
            feature.name: self._column(feature, records, problems, warnings)
            for feature in self.features
        }
        keys = {
            name: [self._key(at, record, name, problems) for at, record in enumerate(records)]
            for name in self.key
            if any(isinstance(record, dict) and name in record for record in records)
        }
        if problems.count:
            more = f", the first {problems.limit}" if problems.count > problems.limit else ""
            raise RequestError(422, f"wrong fields: {problems.count}{more}", problems)
        return Checked(columns, keys, warnings)

    def _read_json(self, body: bytes) -> list[Any]:
        # Millions of empty rows would take seconds and gigabytes to parse. Text may hold some.
        if body.count(b"}") + body.count(b"]") > 10 * self.max_rows:
            raise RequestError(413, f"too many rows; at most {self.max_rows} in one request")
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise RequestError(400, f"not valid JSON: {str(error)[:200]}") from None
        records = content if isinstance(content, list) else [content]
        if not records:
            raise RequestError(422, "no row: send a record or a list of records")
        if len(records) > self.max_rows:
            raise RequestError(413, f"{len(records)} rows; at most {self.max_rows} in one request")
        return records

    def _read_csv(self, body: bytes) -> list[Any]:
        """Read CSV as the raw table is read: the features, the key, and what is unknown."""
        try:
            text = io.StringIO(body.decode("utf-8-sig"), newline="")
            lines = csv.reader(text, delimiter=self.form.separator, strict=True)
            header = [name.strip(fields.BLANKS) for name in next(lines, [])]
            rows = []
            for line in lines:
                if line:
                    rows.append(line)
                if len(rows) > self.max_rows:
                    raise RequestError(413, f"more than {self.max_rows} rows in one request")
        except UnicodeDecodeError:
            raise RequestError(400, "not UTF-8") from None
        except csv.Error as error:
            raise RequestError(400, f"not valid CSV: {error}") from None
        if len(set(header)) < len(header):
            raise RequestError(422, "the CSV header names a column twice")
        if not rows:
            raise RequestError(422, "no row: send a header line and at least one row")
        features = [self.names.get(name) for name in header]
        return [
            {
                name: _from_text(text, feature, self.form)
                if feature
                else fields.read(text, "text", self.form.missing)
                for name, feature, text in zip(header, features, line, strict=True)
                if name not in self.ignored
            }
            if len(line) == len(header)
            else line
            for line in rows
        ]

    def _check_names(self, row: int, record: Record, problems: Problems) -> None:
        if record.keys() == self.names.keys() or record.keys() == self.with_key:
            return
        for name in record:
            if name not in self.with_key:
                # Looking for a near name is dear: only for what is shown.
                shown = problems.count < problems.limit
                near = difflib.get_close_matches(name[:100], self.names, n=1) if shown else []
                hint = f"; did you mean '{near[0]}'?" if near else ""
                problems.add(row, name[:100], f"unknown field{hint}")
        for name in self.names:
            if name not in record:
                problems.add(row, name, "missing field; null stands for a missing value")

    def _key(self, row: int, record: Any, name: str, problems: Problems) -> str | None:
        value = record.get(name) if isinstance(record, dict) else None
        if type(value) is float and value.is_integer() and abs(value) < 2**53:
            value = int(value)  # 501.0, as a client writes it whose column has gaps
        if value is None or type(value) is str:
            return value
        if type(value) is not int:
            problems.add(row, name, KEY_PROBLEM)
        return str(value)

    def _column(
        self, feature: Feature, records: list[Any], problems: Problems, warnings: Problems
    ) -> np.ndarray:
        name, convert = feature.name, self.convert[feature.name]
        novelty, noted = self.novelty[name], problems if self.strict else warnings
        values: list[Any] = []
        for at, record in enumerate(records):
            value = record.get(name) if isinstance(record, dict) else None
            try:
                values.append(None if value is None else convert(value))
            except ValueError as error:
                values.append(None)
                problems.add(at, name, str(error))
                continue
            if novelty and values[-1] is not None and (novel := novelty(values[-1])):
                noted.add(at, name, novel)
        if feature.kind == "date":
            return np.array(values, dtype="datetime64[us]")
        return np.array(values, dtype="object" if feature.kind == "categorical" else "float64")


def _novelty(feature: Feature, categories: list[str] | None) -> Callable[[Any], str] | None:
    """Return the function that says of a value what the train split did not have, if anything."""
    if feature.dtype.lower().startswith("int"):
        return lambda value: "" if value.is_integer() else "must be a whole number"
    if categories is None:
        return None
    shown = ", ".join(f"'{name[:30]}'" for name in categories[:10])
    text = f"unknown category; known: {shown}{', ...' if len(categories) > 10 else ''}"
    known = frozenset(categories)
    return lambda value: "" if value in known else text


def _converter(feature: Feature) -> Callable[[Any], Any]:
    """Return the function that turns a JSON value into the model's, or says what is wrong."""

    def number(value: Any) -> float:
        if type(value) is not float and type(value) is not int:
            raise ValueError("must be a number")
        if not -1e300 < value < 1e300:  # also what is not finite
            raise ValueError("must be a finite number")
        return float(value)

    def boolean(value: Any) -> float:
        if type(value) is not bool:
            raise ValueError("must be true or false")
        return float(value)

    def date(value: Any) -> Any:
        if type(value) is not str:
            raise ValueError("must be a date as text, such as 2024-03-01T12:00:00")
        return fields.read(value, "date", ())

    def category(value: Any) -> str:
        if type(value) is not str:
            raise ValueError("must be text")
        return value

    kinds = {"numeric": number, "boolean": boolean, "date": date, "categorical": category}
    return kinds[feature.kind]


def _from_text(text: str, feature: Feature, form: Format) -> Any:
    """Turn a field of CSV into what JSON would have; what cannot be turned stays text."""
    kinds: dict[str, tuple[fields.Kind, ...]] = {
        "numeric": ("whole", "number") if feature.dtype.lower().startswith("int") else ("number",),
        "boolean": ("boolean",),
    }
    for kind in kinds.get(feature.kind, ()):
        with contextlib.suppress(ValueError):
            return fields.read(text, kind, form.missing, form.decimal)
    return fields.read(text, "text", form.missing)
