"""One table of odd fields: generation reads of it what the first run reads."""

import csv
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from src.shared import columns, raw
from src.shared.fields import Format
from tests.service.test_fields import TEXTS
from tests.template.conftest import load_hook


def columns_of_odd_fields() -> dict[str, list[str]]:
    """Give a column with each odd text among plain ones of each kind, all of one length."""
    plain = ["1", "2.5", "x", "true", "2024-01-01", "007"]
    alone = {f"c{at}": [text, text] for at, text in enumerate(TEXTS)}
    return alone | {
        f"c{at}.{kind}": [text, one]
        for at, text in enumerate(TEXTS)
        for kind, one in enumerate(plain)
    }


@pytest.mark.parametrize("form", [Format(missing=("?",)), Format(";", ",", "utf-16", ("?", "-"))])
def test_generation_reads_odd_fields_as_prepare_does(tmp_path: Path, form: Format) -> None:
    path, table = tmp_path / "raw.csv", columns_of_odd_fields()
    with path.open("w", encoding=form.encoding, newline="") as file:
        writer = csv.writer(file, delimiter=form.separator)
        writer.writerows([[f" {name} " for name in table], *zip(*table.values(), strict=True)])
    read = raw.read_raw(path, form=form)
    hook = load_hook(
        separator=form.separator,
        decimal=form.decimal,
        encoding=form.encoding,
        missing=", ".join(form.missing),
    )
    for name in table:
        hook["ANSWERS"]["target"] = name
        found = hook["read_table"](path)
        assert found.header == read.column_names
        assert columns.TYPES[found.kind] == read[name].type, table[name]
        values = Counter(hook["_value"](text, found.kind) for text in found.counts.elements())
        expected = Counter(value for value in read[name].to_pylist() if value is not None)
        assert Counter(value for value in values.elements() if value is not None) == expected, name


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["1", "x", None] * 5).dictionary_encode(),
        pa.array([1, 2] * 5).dictionary_encode(),
        pa.array(["1", " x"] * 5, pa.string_view()),
        pa.array([b"1", b"x"] * 5),
        pa.array([True, False, None] * 5),
        pa.array([2**63 + 1, 2**63 + 3] * 5, pa.uint64()),
        pa.array([Decimal(1), Decimal(2)] * 5, pa.decimal128(5, 0)),
        pa.array([Decimal("1.5"), Decimal(2)] * 5, pa.decimal128(5, 2)),
        pa.array([1.5, float("nan")] * 5, pa.float32()),
        pa.array([date(2024, 1, 1), date(2024, 1, 2)] * 5),
        pa.array(["1", "02", "NA", "?"] * 5),
    ],
    ids=lambda array: str(array.type),
)
def test_generation_reads_columns_of_parquet_as_prepare_does(
    tmp_path: Path, array: pa.Array
) -> None:
    path, form = tmp_path / "raw.parquet", Format(missing=("?",))
    pyarrow.parquet.write_table(pa.table({"y": array}), path)
    hook = load_hook(target="y", separator=",", decimal=".", encoding="utf-8", missing="?")
    found, read = hook["read_table"](path), raw.read_raw(path, form=form)["y"]
    assert columns.TYPES[found.kind] == read.type
    assert found.missing == read.null_count
    if found.kind != "date":
        values = Counter(hook["_value"](text, found.kind) for text in found.counts.elements())
        assert values == Counter(read.drop_null().to_pylist())
