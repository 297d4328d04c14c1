"""The model's card: what machines read, what people read, and no markup from data."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src import card
from src.shared import sidecar
from src.shared.errors import UserError
from src.shared.paths import CARD, INTERVALS, METRICS, SIDECAR, SLICES, VALIDATION, VERDICTS
from tests.projects import ROOT

HOSTILE = '<img src=x> [a](https://example.org) | `b` "c" \u2028 😀'


def parts(text: str) -> tuple[dict[str, Any], str]:
    """Give the head of a card and its text."""
    _, head, body = text.split("---\n", 2)
    return dict(YAML(typ="safe").load(head)), body


def test_the_card_says_what_the_model_is(trained: Path) -> None:
    head, body = parts(card.compose())
    assert head["library_name"] == "sklearn"
    assert head["pipeline_tag"] == "tabular-classification"
    [model] = head["model-index"]
    [result] = model["results"]
    metrics = json.loads(METRICS.read_text())
    assert {one["type"]: one["value"] for one in result["metrics"]} == metrics
    known = sidecar.read(SIDECAR)
    assert known.model.sha256 in body
    for feature in known.features:
        assert f"| `{feature.name}` | {feature.kind} |" in body
    for name in metrics:
        assert re.search(rf"^\| `{name}` \| [\d.]+ \| ", body, re.MULTILINE)
    report = json.loads(VALIDATION.read_text())
    assert f"On the {report['test_rows']} rows" in body
    assert f"{report['train_rows']} rows, of these files" in body
    assert "estimator: sklearn.linear_model.LogisticRegression" in body


def test_the_row_in_the_card_can_be_tried(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)\n```", card.compose(), re.DOTALL)
    monkeypatch.syspath_prepend(str(ROOT))
    lines = code.splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines[:-1], f"answer = {lines[-1]}"]), names)  # noqa: S102
    assert names["answer"].tolist() == [sidecar.read(SIDECAR).example.answer["class"]]


@pytest.mark.parametrize("path", [INTERVALS, VALIDATION, VERDICTS, SLICES])
def test_what_is_missing_is_left_out_and_what_is_malformed_is_told(
    trained: Path, path: Path
) -> None:
    path.unlink()
    assert "# Model card of" in card.compose()
    odd = {"gaps": 3, "verdicts": 3, "accuracy": 3}
    for text in ("{", "3", json.dumps([odd] if path == SLICES else odd)):
        path.write_text(text)
        with pytest.raises(UserError, match="run `dvc repro -f`"):
            card.compose()


def test_names_of_the_data_are_no_markup(trained: Path) -> None:
    known = json.loads(SIDECAR.read_text())
    known |= {"target": HOSTILE, "positive": HOSTILE, "classes": [HOSTILE, "b"]}
    known["features"][0]["name"] = HOSTILE
    known["example"]["row"] = {HOSTILE: "```\n# no heading\x1b"}
    known["categories"] = {HOSTILE: ["a"]}
    SIDECAR.write_text(json.dumps(known))
    odd = {"column": HOSTILE, "what": HOSTILE, "rows": 1, "values": HOSTILE, "remedy": ""}
    gap = {"column": HOSTILE, "what": "drift", "size": 0.5, "allowed": 1}
    VALIDATION.write_text(json.dumps({"warnings": [odd], "gaps": [gap]}))
    head, body = parts(card.compose())
    assert HOSTILE in head["model-index"][0]["results"][0]["task"]["name"]
    assert "\x1b" not in body
    assert "\u2028" not in body
    outside = re.sub(r"^(`{3,}).*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert "no heading" not in outside
    from markdown_it import MarkdownIt

    page = MarkdownIt("gfm-like", {"linkify": False}).render(body)
    assert "<img" not in page
    assert "<a " not in page
    assert page.count("<h1>") == 1


def test_slices_are_in_the_card(trained: Path) -> None:
    measured = {"accuracy": {"value": 0.85, "low": 0.7, "high": 0.93, "note": ""}}
    part = {"name": HOSTILE, "column": "sex", "rows": 41, "metrics": measured, "undefined": []}
    SLICES.write_text(json.dumps([part, part | {"name": "sex = m", "metrics": {}}]))
    VERDICTS.write_text(json.dumps({"verdicts": [{"metric": "accuracy", "slice_min": 0.8}]}))
    _, body = parts(card.compose())
    assert "41 | 0.85 (0.7 to 0.93) |" in body
    assert "| sex = m | 41 | not defined |" in body
    assert re.search(r"\| `accuracy` \|.*\| slices ≥ 0.8 \|", body)


def test_the_card_needs_only_python(trained: Path) -> None:
    command = [sys.executable, "-S", "-I", "-c"]
    program = f"import sys; sys.path.append({str(ROOT)!r}); from src import card; card.write()"
    subprocess.run([*command, program], check=True)
    assert CARD.read_text(encoding="utf-8") == card.compose()


def test_fewer_words_for_another_task(trained: Path) -> None:
    known = json.loads(SIDECAR.read_text())
    known |= {"task": "regression", "positive": None, "classes": None}
    SIDECAR.write_text(json.dumps(known))
    head, body = parts(card.compose())
    assert head["pipeline_tag"] == "tabular-regression"
    assert "positive class" not in body
