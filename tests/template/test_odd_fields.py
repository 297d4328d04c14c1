"""One table of odd fields: generation reads of it what the first run reads."""

import csv
from collections import Counter
from pathlib import Path

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
