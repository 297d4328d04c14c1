"""The raw lines of the training file, posted as CSV, get the answers of the model on its table."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from src.service.app import Limits, Service
from src.shared import params, raw, tables
from src.shared.model import answers, load_model
from src.shared.paths import MODEL
from tests.projects import STAGES, run_stage, settings_of, write_settings

ROWS = 300


def mixed(separator: str, decimal: str) -> str:
    """Write a table in which every kind of column has gaps and odd fields."""
    random = np.random.default_rng(3)

    def number(value: float) -> str:
        return f"{value:.3f}".replace(".", decimal)

    out = io.StringIO()
    lines = csv.writer(out, delimiter=separator)
    lines.writerow(["id", " x", "ok", "city", "zip", "count", "at", "day", "note", "size ", "y"])
    for at in range(ROWS):
        x, hour = random.normal(), int(random.integers(24))
        lines.writerow(
            [
                f"c{at:04}",
                "?" if at % 17 == 0 else f" {number(x)}",
                ["True", "FALSE", "", "true"][random.integers(4)],
                "NA" if at % 9 == 0 else f"town {random.integers(120)}",
                f"{random.integers(40):05}",
                "" if at % 11 == 0 else f"{random.integers(50)}{decimal}0" if at % 2 else at % 50,
                f"2024-03-{at % 28 + 1:02}T{hour:02}:30" + ["", "Z", "+02:00"][at % 3],
                "" if at % 13 == 0 else f"2024-{at % 12 + 1:02}-01",
                ["plain", "two\nlines", f"a{separator}b", 'a "quote"', "n/a"][at % 5],
                "?" if at % 19 == 0 else number(at % 7),
                "yes" if x + (8 < hour < 16) > 0.4 else "no",
            ]
        )
    return out.getvalue()


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ",")])
def test_raw_lines_are_answered_as_the_pipeline_answers_them(
    project, tmp_path: Path, separator: str, decimal: str
):
    project()
    form = {"separator": separator, "decimal": decimal, "missing": ["?"]}
    settings = settings_of(
        data=form | {"key": ["id"], "target": "y"}, gate={"accuracy": {"min": 0}}
    )
    write_settings(tmp_path, settings)
    text = mixed(separator, decimal)
    (tmp_path / "data/raw.csv").write_text(text, encoding="utf-8", newline="")
    assert [run_stage(stage) for stage in ("schema", *STAGES)] == [0] * (1 + len(STAGES))

    service = Service(Limits())
    columns = service.checker.check(text.encode(), is_csv=True).columns
    found = service.batcher.scorer(columns).answers
    table = tables.to_frame(raw.read(params.load().data, raw.read_kinds()))
    expected = answers(load_model(MODEL, service.sidecar), table, "binary")
    assert len(found) == ROWS
    assert [one["class"] for one in found] == [one["class"] for one in expected]
    for label in ("yes", "no"):
        np.testing.assert_allclose(
            [one["probabilities"][label] for one in found],
            [one["probabilities"][label] for one in expected],
            rtol=1e-9,
        )
    kinds = {feature.name: feature.dtype for feature in service.sidecar.features}
    assert (kinds["ok"], kinds["zip"], kinds["at"][:10]) == ("boolean", "str", "datetime64")
