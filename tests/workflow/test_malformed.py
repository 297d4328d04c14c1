"""The report is made whatever is missing or malformed, and says so in that part's place."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from src import report
from src.shared.paths import (
    DVC_LOCK,
    DVC_YAML,
    INTERVALS,
    METRICS,
    PARAMS,
    SLICES,
    VALIDATION,
    VERDICTS,
)
from src.workflow import report as workflow

STATE = Path(".git/workflow/state.json")
ROC = Path("metrics/evaluate/plots/custom/roc.json")
PASSED = {"metric": "f1", "value": 0.9, "min": 0.8, "max": None, "passed": True, "reason": ""}
F1 = {"value": 0.9, "low": 0.7, "high": 0.95, "note": ""}
SLICE = {"name": "a = 1", "column": "a", "rows": 9, "metrics": {"f1": F1}, "undefined": []}
HEADINGS = ["Metrics", "Plots", "Slices", "Validation", "Parameters", "Stages"]

GOOD: dict[Path, str] = {
    METRICS: json.dumps({"f1": 0.9}),
    INTERVALS: json.dumps({"f1": {"low": 0.8, "high": 0.95}}),
    VALIDATION: json.dumps({"train_rows": 5, "test_rows": 2, "violations": []}),
    VERDICTS: json.dumps({"passed": True, "verdicts": [PASSED]}),
    SLICES: json.dumps([SLICE]),
    ROC: json.dumps([{"fpr": 0, "tpr": 0}, {"fpr": 1, "tpr": 1}]),
    PARAMS: "gate:\n  f1:\n    min: 0.8\n",
    DVC_YAML: "stages:\n  evaluate: {cmd: python}\nplots:\n  - PATH: "
    "{x: fpr, y: tpr, template: simple}\n".replace("PATH", ROC.as_posix()),
    DVC_LOCK: "schema: '2.0'\nstages:\n  evaluate: {cmd: python, deps: [], outs: []}\n",
    STATE: "{}",
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of which everything is there; it is the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BASE", "main")
    monkeypatch.setenv("STEPS", "{}")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for path, content in GOOD.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run(["git", *identity, *command], check=True)
    return tmp_path


def made() -> str:
    """Make the report of the workflow; give it."""
    workflow.main()
    assert "</html>" in report.HTML.read_text(encoding="utf-8")
    text = report.MARKDOWN.read_text(encoding="utf-8")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    wanted = HEADINGS if SLICES.exists() else [one for one in HEADINGS if one != "Slices"]
    assert headings[-len(wanted) :] == wanted
    return text


def test_good_files_make_all_parts(desk: Path) -> None:
    text = made()
    assert text.startswith("# ✅ Passed")
    assert "could not be made" not in text
    assert "0.8000 to 0.9500" in text
    assert "xychart" in text


NOT_JSON = ["", "{", "null", "3", '"text"', "\ufeff{}", "[" * 100_000]
SHAPES: dict[Path, list[Any]] = {
    METRICS: [{"f1": "high"}, {"f1": {"a": [1]}}, {"f1": None}, {"f1": True}, {"f1": 10**400}],
    INTERVALS: [{"f1": 3}, {"f1": {"low": 1}}, {"f1": {"low": "a", "high": []}}],
    VALIDATION: [
        *({key: 3} for key in ("violations", "warnings", "gaps")),
        *({key: ["x"]} for key in ("violations", "warnings", "gaps")),
        {"violations": [{"rows": {}}]},
        {"gaps": [{"what": "drift", "column": 3, "size": "x", "allowed": None}]},
        {"gaps": [{"what": "drift", "column": {}, "size": float("nan"), "allowed": 1}]},
    ],
    SLICES: [{}, [3], [{"name": 3}], [SLICE | {"rows": "x"}], [SLICE | {"metrics": {"f1": 3}}]],
    VERDICTS: [
        {},
        {"verdicts": 3},
        {"verdicts": ["x"]},
        {"verdicts": [{"metric": "f1"}]},
        {"verdicts": [PASSED | {"metric": []}]},
        {"verdicts": [PASSED | {"passed": "yes"}]},
    ],
    ROC: [
        {},
        [3],
        [{"fpr": [1], "tpr": 1}],
        [{"fpr": "a", "tpr": 1}],
        [{"fpr": {}, "tpr": 1}],
        [{"fpr": float("nan"), "tpr": 1}, {"fpr": 1, "tpr": float("inf")}],
    ],
    STATE: [{"seconds": "x"}, {"stale": 3}, {"problem": ["x"]}, {"seconds": {"a": "b"}}],
}
MALFORMED = [(path, text) for path in SHAPES for text in NOT_JSON]
MALFORMED += [(path, json.dumps(shape)) for path, shapes in SHAPES.items() for shape in shapes]
MALFORMED += [(path, text) for path in (PARAMS, DVC_YAML, DVC_LOCK) for text in ("", "a: [", "- a")]
MALFORMED += [
    (PARAMS, "gate: 3"),
    (PARAMS, "gate: {f1: 3}"),
    (PARAMS, "gate: {f1: {min: [1]}}"),
    (DVC_YAML, "plots: 3"),
    (DVC_YAML, "stages: 3\nplots: {a: b}"),
    (DVC_YAML, "stages: {}\nplots: [{a: {x: [], y: {}}}]"),
    (DVC_LOCK, "stages: 3"),
    (DVC_LOCK, "stages: {evaluate: 3}"),
    (DVC_LOCK, "stages: {evaluate: {deps: 3, outs: [a]}}"),
]


@pytest.mark.parametrize(
    ("path", "text"), MALFORMED, ids=[f"{path.name}-{at}" for at, (path, _) in enumerate(MALFORMED)]
)
def test_malformed_file_costs_its_own_part_only(desk: Path, path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    said = made()
    if path in (VERDICTS, STATE):  # without them nothing is passed
        assert said.startswith(("# ❌ Stopped", "# ✅ Passed") if text == "{}" else "# ❌ Stopped")
    else:
        assert said.startswith("# ✅ Passed")


@pytest.mark.parametrize("path", [path for path in GOOD if path != STATE])
@pytest.mark.parametrize("kind", ["missing", "folder", "not text"])
def test_missing_file_costs_its_own_part_only(desk: Path, path: Path, kind: str) -> None:
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "not text":
        path.write_bytes(b"\xff\xfe\x00")
    said = made()
    judged = "# ❔ Not judged" if kind == "missing" else "# ❌ Stopped"
    assert said.startswith(judged if path == VERDICTS else "# ✅ Passed")


@pytest.mark.parametrize("base", ["0" * 40, "", "1" * 40, "nothing", "--all"])
def test_revision_that_is_not_here(desk: Path, monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setenv("BASE", base)
    said = made()
    assert ("The champion is not known: " in said) == bool(base.strip("0"))
    assert "| `f1` | 0.9000 | 0.8000 to 0.9500 |" in said


def test_no_git(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "The champion is not known: " in made()
