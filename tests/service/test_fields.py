"""One table of odd fields, read by all who read fields: the pipeline, the service, make predict."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from src.service.requests import Checker, RequestError
from src.shared import batches, columns, fields
from src.shared.fields import Format, Kind
from src.shared.sidecar import Feature

# Between bars, as blanks count.
LINE = (
    "|NA| NA | |nan|NAN|None|?|-|$5|95%|a\u00a0|0x1F|1_0|1|+1| 1 |-1|01|00501|0|-0|1.|.5|1.5|1,5|"
    "1.234,5|1e5|1e400|inf|-Infinity|2.0|9007199254740992|9007199254740993|9223372036854775807|"
    "9223372036854775808|true|TRUE|tRue|false|t|yes|2024-01-01|2024-01-01T10:00|2024-02-30|"
    "2024-01-01 10:00:00.123456789|2024-01-01T10:00Z|2024-01-01T10:00+02:00|0000-01-01|9999-12-31|"
    "31/12/2024|2024-1-1"
)
TEXTS = LINE.split("|")
MISSING = fields.MISSING | {"?"}
KINDS: list[Kind] = ["text", "whole", "number", "boolean", "date"]


def one(text: str, kind: Kind, decimal: str) -> Any:
    try:
        return fields.read(text, kind, MISSING, decimal)
    except ValueError:
        return "refused"


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_read_as_fields_are(kind: Kind, decimal: str):
    for text in TEXTS:
        try:
            array = pa.chunked_array([[text]])
            (found,) = columns.from_text(array, kind, MISSING, decimal).to_pylist()
        except pa.ArrowInvalid:
            found = "refused"
        expected = one(text, kind, decimal)
        assert (type(found), found) == (type(expected), expected), text


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    ("feature", "kind"),
    [("categorical", "text"), ("numeric", "number"), ("boolean", "boolean"), ("date", "date")],
)
def test_service_reads_csv_as_the_pipeline_does(feature: Any, kind: Kind, decimal: str):
    known: Any = SimpleNamespace(
        features=[Feature("x", feature, "")],
        categories={},
        form=Format(";", decimal, missing=tuple(MISSING)),
        ignored=["target"],
        key=["id"],
    )
    checker = Checker(known, 10, 10)
    for text in TEXTS:
        try:
            body = f'target;" x";id\nyes;"{text}";7\n'.encode()
            (found,) = checker.check(body, is_csv=True).columns["x"].tolist()
        except RequestError:
            found = "refused"
        found = None if found != found else found
        expected = one(text, kind, decimal)
        if expected in (float("inf"), float("-inf")):  # no client may send them
            expected = "refused"
        assert found == expected, text


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize(
    ("feature", "kind"),
    [("categorical", "text"), ("numeric", "number"), ("boolean", "boolean"), ("date", "date")],
)
def test_tables_to_score_are_read_as_the_pipeline_does(
    tmp_path: Path, feature: Any, kind: Kind, decimal: str
):
    form = Format(";", decimal, missing=tuple(MISSING))
    known: Any = SimpleNamespace(
        features=[Feature("x", feature, "")], categories={}, form=form, key=["id"]
    )
    lines = [f'yes;"{text}";{at}' for at, text in enumerate(TEXTS)]
    path = tmp_path / "odd.csv"
    path.write_text("\n".join(["target; x;id", *lines]), encoding="utf-8")
    (batch,) = batches.read(batches.find(str(path)), known)
    found: dict[int, Any] = dict(zip(batch.rows, batch.frame["x"].tolist(), strict=True))
    found |= {one.row: "refused" for one in batch.rejected}
    assert len(found) == len(TEXTS)
    for row, text in enumerate(TEXTS, start=1):
        expected = one(text, kind, decimal)
        if expected in (float("inf"), float("-inf")):  # as the service has it
            expected = "refused"
        assert (None if pd.isna(found[row]) else found[row]) == expected, text


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "", "-3"], "whole"),
        (["1", "2.5"], "number"),
        (["0", "1", "true"], "boolean"),
        (["0", "1"], "whole"),
        (["00501", "34399"], "text"),
        (["9007199254740993", ""], "whole"),
        (["9007199254740993", "1.5"], "text"),
        (["12345678901234567944"], "text"),
        (["2024-01-01", "2024-01-01T10:00Z"], "date"),
        (["2024-01-01", "2024-02-30"], "text"),
        (["20.78", "-"], "text"),
        (["", " "], "number"),
    ],
)
def test_kind_is_the_narrowest_that_loses_nothing(texts: list[str], kind: Kind):
    assert columns.infer(columns.clean(pa.chunked_array([texts]), MISSING)) == kind
    assert fields.infer({text.strip() for text in texts} - MISSING) == kind


@pytest.mark.parametrize("decimal", [".", ","])
def test_a_field_alone_has_the_kind_of_its_column(decimal: str):
    for one_more in ("", "1", "2.5", "true", "a", "2024-01-01"):
        for text in TEXTS:
            known = {one.strip(fields.BLANKS) for one in (text, one_more)} - MISSING
            column = columns.clean(pa.chunked_array([[text, one_more]]), MISSING)
            assert fields.infer(known, decimal) == columns.infer(column, decimal), (text, one_more)
