"""Ways past the gate, by malice or by accident, one line each.

Each is stopped; or, where it is its author's right, named in the report, and where it touches a
bound or the test split it needs a reason in the same change.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from src.shared import files, loosened, provenance, revisions
from src.shared.errors import UserError
from src.shared.loosened import Loosened
from src.shared.paths import (
    DVC_LOCK,
    EVALUATION,
    METRICS,
    MODEL,
    PREDICTIONS,
    PROVENANCE,
    TEST,
    TRAIN,
    VALIDATION,
    VERDICTS,
)
from src.shared.pipeline import Stage
from src.workflow import pull, push, reasons, source, stages, state
from tests.dvc_runs import commit, git
from tests.projects import ROOT, run_stage
from tests.workflow.runs import change, edit, noted, step

# 1. dvc.yaml runs something else.

PIPELINE: dict[str, Callable[[dict[str, Any]], object]] = {
    "evaluate is removed": lambda s: s.pop("evaluate"),
    "gate is removed": lambda s: s.pop("gate"),
    "evaluate and gate are removed": lambda s: (s.pop("evaluate"), s.pop("gate")),
    "validate is removed": lambda s: s.pop("validate"),
    "train is removed": lambda s: s.pop("train"),
    "prepare is removed": lambda s: s.pop("prepare"),
    "all are removed": lambda s: s.clear(),
    "evaluate has another name": lambda s: s.update(evaluate2=s.pop("evaluate")),
    "evaluate is a matrix": lambda s: s["evaluate"].update(matrix={"x": [1]}),
    "evaluate is a loop": lambda s: s.update(evaluate={"foreach": [1], "do": s["evaluate"]}),
    "train is frozen": lambda s: s["train"].update(frozen=True),
    "evaluate is frozen": lambda s: s["evaluate"].update(frozen=True),
    "gate may fail": lambda s: s["gate"].update(cmd="python -m src.gate || true"),
    "gate does nothing": lambda s: s["gate"].update(cmd="python -c pass"),
    "evaluate is another program": lambda s: s["evaluate"].update(cmd="python -m src.score"),
    "a second command writes": lambda s: s["evaluate"].update(cmd=["python -m src.evaluate", "cp"]),
    "evaluate runs elsewhere": lambda s: s["evaluate"].update(wdir="other"),
    "metrics are no output": lambda s: s["evaluate"].pop("metrics"),
    "predictions are no output": lambda s: s["evaluate"].pop("outs"),
    "the verdict is no output": lambda s: s["gate"].pop("outs"),
    "a stage is no mapping": lambda s: s.update(gate="python -m src.gate"),
}


@pytest.mark.parametrize("attack", PIPELINE.values(), ids=PIPELINE)
def test_pipeline_that_does_not_judge_is_refused(tmp_path, attack):
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "dvc.yaml").read_text("utf-8"))
    path = tmp_path / "dvc.yaml"
    yaml.dump(content, path)
    stages.require(path)
    attack(content["stages"])
    yaml.dump(content, path)
    with pytest.raises(UserError, match=r"dvc\.yaml: .*; put it back as main has it"):
        stages.require(path)


# 2. A commit holds what a run should find out.


def link(path: Path) -> None:
    """Put a link in a folder's place, to one with forged results in it."""
    if path.is_dir():
        shutil.rmtree(path)
    Path("elsewhere").mkdir(exist_ok=True)
    Path("elsewhere/state.json").write_text('{"pulled": true, "seconds": {"evaluate": 1}}')
    path.symlink_to(Path("elsewhere").resolve())


def forge(path: Path) -> None:
    """Write something into a file's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"accuracy": 0.999, "pulled": true}')


NOTES: dict[str, Callable[[], None]] = {
    "notes in report/": lambda: forge(Path("report/state.json")),
    "a verdict in report/": lambda: forge(Path("report/gate.json")),
    "report is a link": lambda: link(Path("report")),
    "an earlier run's notes": lambda: forge(state.path()),
    "an earlier run's verdict": lambda: forge(state.compared()),
}


@pytest.mark.parametrize("attack", NOTES.values(), ids=NOTES)
def test_notes_of_others_are_not_read(clone, monkeypatch, attack):
    monkeypatch.chdir(clone)
    attack()
    source.main()
    assert not Path("report").exists()
    assert not state.compared().exists()
    assert not state.read().pulled
    assert not state.read().seconds


RESULTS: dict[str, tuple[Path, Callable[[Path], None]]] = {
    "metrics": (METRICS, forge),
    "provenance": (PROVENANCE, forge),
    "predictions, by force": (PREDICTIONS, forge),
    "a verdict": (VERDICTS, forge),
    "a validation": (VALIDATION, forge),
    "metrics through a link": (EVALUATION, link),
    "a verdict through a link": (VERDICTS, link),
}


@pytest.mark.parametrize(("path", "attack"), RESULTS.values(), ids=RESULTS)
def test_results_of_others_do_not_count(tmp_path, monkeypatch, path, attack):
    monkeypatch.chdir(tmp_path)
    path.parent.mkdir(parents=True)
    attack(path)
    stages.remove_results(stages.JUDGING)
    assert not path.is_symlink()
    assert not path.exists()


LOCK = {
    "prepare": Stage({}, {TRAIN.as_posix(): "1", TEST.as_posix(): "2"}),
    "train": Stage({}, {MODEL.as_posix(): "3", "models/model.json": "4"}),
}


@pytest.mark.parametrize(
    ("stage", "name", "again"),
    [
        pytest.param("train", MODEL.as_posix(), ["train"], id="a model from the remote"),
        pytest.param("train", "models/model.json", ["train"], id="a sidecar that fits it"),
        pytest.param("prepare", TEST.as_posix(), ["prepare"], id="a test split from the remote"),
        pytest.param("prepare", TRAIN.as_posix(), ["prepare"], id="a train split that leaks"),
        pytest.param("", "", ["prepare", "train"], id="a main without results"),
    ],
)
def test_what_main_has_not_made_is_made_again(monkeypatch, stage, name, again):
    there: dict[str, Any] = {}
    if stage:
        held = LOCK | {stage: Stage({}, LOCK[stage].outs | {name: "other"})}
        for key, one in held.items():
            outs = [{"path": path, "md5": md5} for path, md5 in one.outs.items()]
            there[key] = {"outs": outs}
    monkeypatch.setattr(revisions, "read_yaml", lambda *_: {"stages": there})
    assert pull.other_results(LOCK, "main") == again


# 3. The judgement is made less strict.

SETTINGS: dict[str, Any] = {
    "task": "binary",
    "data": {"raw": "data/raw.csv", "target": "y", "positive": "yes", "drop": [], "missing": [],
             "missing_target": "error", "drop_rare_classes": None},
    "prepare": {"split": "stratified", "test_size": 0.2, "seed": 42, "duplicates": "keep"},
    "validate": {"min_test_rows": 20, "max_drift": 0.2, "accept": []},
    "evaluate": {"resamples": 1000, "slices": ["sex"], "slice_rows": 30},
    "gate": {"accuracy": {"min": 0.9, "max_drop": 0.02, "slice_min": 0.8, "undecided": "reject"},
             "rmse": {"max": 5.0}},
}  # fmt: skip


def with_setting(name: str, value: Any) -> dict[str, Any]:
    """Give the settings with another value; without the key where that is `...`."""
    content: dict[str, Any] = json.loads(json.dumps(SETTINGS))
    *parts, key = name.split(".")
    section = content
    for part in parts:
        section = section[part]
    section[key] = value
    if value is ...:
        del section[key]
    return content


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("gate.accuracy.min", 0.5, True),
        ("gate.accuracy.min", ..., True),
        ("gate.accuracy.max_drop", 0.5, True),
        ("gate.accuracy.max_drop", ..., True),
        ("gate.accuracy.slice_min", 0.1, True),
        ("gate.accuracy.undecided", "pass", True),
        ("gate.rmse.max", 50.0, True),
        ("gate.rmse", ..., True),
        ("prepare.test_size", 0.02, True),
        ("prepare.seed", 4, True),
        ("prepare.split", "random", True),
        ("prepare.duplicates", "drop", True),
        ("data.drop_rare_classes", 50, True),
        ("data.missing_target", "drop", True),
        ("evaluate.slices", [], True),
        ("evaluate.slice_rows", 10_000, True),
        ("evaluate.resamples", 100, False),
        ("data.drop", ["hard"], False),
        ("data.missing", ["1"], False),
        ("data.target", "easier", False),
        ("data.positive", "no", False),
        ("data.raw", "data/other.csv", False),
        ("validate.max_drift", 1.0, False),
        ("validate.min_test_rows", 1, False),
        ("validate.accept", ["leak"], False),
        ("task", "regression", False),
    ],
)
def test_looser_settings_are_named(name, value, needs):
    found = loosened.settings(SETTINGS, with_setting(name, value))
    assert found
    assert found[0].what.startswith(name)
    assert all(one.needs_reason is needs for one in found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gate.accuracy.min", 0.95),
        ("gate.accuracy.max_drop", 0.01),
        ("gate.rmse.max", 4.0),
        ("gate.r2", {"min": 0.5}),
        ("validate.max_drift", 0.1),
        ("evaluate.slices", ["sex", "age"]),
        ("train", {"seed": 1}),
    ],
)
def test_stricter_settings_are_not_named(name, value):
    assert loosened.settings(SETTINGS, with_setting(name, value)) == []


SCHEMA = {"columns": {"age": {"dtype": "int64", "nullable": False, "in_range": {"min_value": 0}}}}


def age(**checks: Any) -> dict[str, Any]:
    """Give the schema with other checks of the one column."""
    return {"columns": {"age": SCHEMA["columns"]["age"] | checks}}


@pytest.mark.parametrize(
    ("schema", "count"),
    [
        pytest.param({}, 3, id="all checks are removed"),
        pytest.param(age(nullable=True), 1, id="values may be missing"),
        pytest.param(age(in_range={"min_value": -9}), 1, id="a range is wider"),
        pytest.param(age(in_range={"min_value": 1}), 0, id="a range is narrower"),
    ],
)
def test_a_looser_schema_is_named(schema, count):
    assert len(loosened.schema(SCHEMA, schema)) == count


DEPS = {
    "gate": ["src/gate.py", "src/metrics.py", "metrics/evaluate/metrics.json"],
    "evaluate": ["src/evaluate.py", "src/shared/measure.py"],
    "validate": ["src/validate.py"],
    "prepare": ["src/prepare.py", "src/splits.py"],
}


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("src/gate.py", "the gate's code"),
        ("src/metrics.py", "the gate's code"),
        ("src/evaluate.py", "evaluate's code"),
        ("src/shared/measure.py", "evaluate's code"),
        ("src/validate.py", "validate's code"),
        ("src/splits.py", "prepare's code, which makes the test split"),
        ("src/workflow/champion.py", "the workflow"),
        ("src/workflow/report.py", "the workflow"),
        (".github/workflows/ci.yml", "the workflow"),
        (".github/CODEOWNERS", "the workflow"),
        ("Makefile", "the workflow"),
        ("mine.mk", "the workflow"),
        ("dvc.yaml", "which stages there are"),
        (".dvc/config", "where the data comes from"),
        ("data/raw.csv.dvc", "another raw table"),
        ("msgspec.py", "a module that may be taken for another one"),
        ("dvc/__main__.py", "a module that may be taken for another one"),
    ],
)
def test_code_that_judges_is_named(path, role):
    assert [str(one) for one in reasons.code([path], DEPS)] == [f"{path}: {role}"]
    others = ["docs/data.md", "src/schema.py", ".github/loosened.yaml"]
    assert reasons.code(others, DEPS) == []


def test_another_split_of_the_same_table_needs_a_reason():
    old = {"data/raw.csv": "1", "test": "2"}
    [found] = reasons.split(old, old | {"test": "3"}, "data/raw.csv", "test")
    assert found.unexplained
    assert reasons.split(old, {"data/raw.csv": "9", "test": "3"}, "data/raw.csv", "test") == []


@pytest.mark.parametrize(
    ("before", "now", "explained"),
    [
        ({}, {"gate.a.min": "because"}, True),
        ({}, {}, False),
        ({}, {"gate.a.min": "  "}, False),
        ({}, {"gate.a.min": None}, False),
        ({}, {"gate.b.min": "because"}, False),
        ({"gate.a.min": "because"}, {"gate.a.min": "because"}, False),  # of an earlier change
        ({"gate.a.min": "because"}, {"gate.a.min": "another reason"}, True),
    ],
)
def test_a_reason_is_one_of_this_change(before, now, explained):
    found = [Loosened("gate.a.min", "0.9", "0.8", needs_reason=True)]
    [one] = reasons.explain(found, before, now)
    assert one.unexplained is not explained
    bounds = loosened.tightest({"a": {"min": 0.8}}, {"a": {"min": 0.9}}, [one])
    assert bounds == {"a": {"min": 0.8 if explained else 0.9}}


# 4. A model that was not judged, or was rejected, is handed on.


@contextlib.contextmanager
def refused(word: str) -> Iterator[None]:
    """Expect that nothing is handed on, with this in the message."""
    with pytest.raises(UserError, match=word):
        yield


def rewrite(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


HANDED_ON: dict[str, tuple[Callable[[], object], str]] = {
    "the gate rejected it": (lambda: rewrite(VERDICTS, passed=False), "rejected this model"),
    "the verdict is no word": (lambda: rewrite(VERDICTS, passed="yes"), "rejected this model"),
    "there is no verdict": (VERDICTS.unlink, "gate.json: not found"),
    "a verdict by hand": (lambda: rewrite(VERDICTS, verdicts=[]), "not the file that dvc.lock"),
    "another model": (lambda: MODEL.write_bytes(b"model"), "not the file that dvc.lock"),
    "another test split": (lambda: append(TEST), "the metrics are of data/prepared/test"),
    "metrics by hand": (lambda: rewrite(METRICS, accuracy=1), "the metrics are of metrics/"),
    "other predictions": (lambda: append(PREDICTIONS), "the metrics are of models/predictions"),
    "another evaluate": (lambda: append(Path("src/evaluate.py")), "of src/evaluate.py as it was"),
    "another measure": (lambda: append(Path("src/shared/measure.py")), "of src/shared/measure"),
    "no provenance": (PROVENANCE.unlink, "provenance.json: not found"),
    "an empty provenance": (lambda: PROVENANCE.write_text("{}"), "not what evaluate writes"),
    "a lock without the gate": (
        lambda: DVC_LOCK.write_text(DVC_LOCK.read_text().replace("metrics/gate.json", "x")),
        "not the file that dvc.lock names",
    ),
}


@pytest.mark.parametrize(("attack", "word"), HANDED_ON.values(), ids=HANDED_ON)
def test_only_a_model_that_passed_is_handed_on(clone, monkeypatch, attack, word):
    """Push, image, publish and promotion all ask this."""
    monkeypatch.chdir(clone)
    provenance.require_passed()
    attack()
    with refused(word):
        provenance.require_passed()


def test_a_model_that_the_check_has_not_passed_is_not_pushed(clone, monkeypatch):
    monkeypatch.chdir(clone)
    state.note(source="embedded", sources={"embedded": "../data/remote"}, judged="another")
    with refused("the metrics check has not passed this model"):
        push.main()


@pytest.mark.parametrize("file", [MODEL, TEST, PREDICTIONS, METRICS])
def test_the_gate_does_not_judge_metrics_of_other_files(clone, monkeypatch, capsys, file):
    monkeypatch.chdir(clone)
    file.write_bytes(file.read_bytes() + b"\n")
    assert run_stage("gate") == 2
    assert f"the metrics are of {file.as_posix()} as it was" in capsys.readouterr().err


# 5. In a project with a history: what the metrics check says.

LOOSER = {"accuracy": {"min": 0.5, "max_drop": 0.05}}


def looser(clone: Path, *lines: str) -> None:
    """Lower a bound on a branch, with these lines as reasons."""
    git(clone, "switch", "--quiet", "--create", "looser")
    change(clone, gate=LOOSER)
    (clone / ".github/loosened.yaml").write_text("".join(f"{line}\n" for line in lines))
    step(clone, "src.gate")
    commit(clone)


def test_a_lower_bound_without_a_reason_is_red(clone):
    looser(clone)
    said = step(clone, "src.workflow.champion", "main", status=1)
    assert "gate.accuracy.min: 0.6 → 0.5. Add to .github/loosened.yaml" in said
    assert ">= 0.6" in said  # judged by main's bound
    [one] = json.loads(noted(clone).read_text("utf-8"))["loosened"]
    assert (one["what"], one["needs_reason"]) == ("gate.accuracy.min", True)


def test_a_lower_bound_with_a_reason_passes_and_is_named(clone):
    looser(clone, "gate.accuracy.min: the new laboratory measures less exactly")
    said = step(clone, "src.workflow.champion", "main")
    assert ">= 0.5" in said
    assert "(because: the new laboratory measures less exactly)" in said


def test_code_that_lets_all_pass_is_judged_by_mains(clone, tmp_path):
    """As ci.yml does: main's src, and nothing of the checkout on Python's path."""
    git(clone, "archive", "--output", str(tmp_path / "main.tar"), "main", "src")
    shutil.unpack_archive(tmp_path / "main.tar", tmp_path / "judge")
    git(clone, "switch", "--quiet", "--create", "lax")
    (clone / "msgspec.py").write_text("import sys\nsys.exit(0)\n")
    edit(clone / "src/workflow/champion.py", "    provenance.require()\n", "    return 0\n")
    edit(clone / "src/gate.py", "    settings = params.load()\n", "    return 0\n")
    (clone / METRICS).write_text('{"accuracy": 0.1}\n')
    hashes = json.loads((clone / PROVENANCE).read_text("utf-8"))
    with contextlib.chdir(clone):
        own = {path: files.md5(Path(path)) for path in hashes}
    (clone / PROVENANCE).write_text(json.dumps(own))
    commit(clone)
    variables = {"PYTHONPATH": str(tmp_path / "judge"), "PYTHONSAFEPATH": "1"}
    said = step(clone, "src.workflow.champion", "main", status=1, variables=variables)
    assert "REJECTED: too low" in said
    for line in (
        "less strict: src/gate.py: the gate's code",
        "less strict: src/workflow/champion.py: the workflow",
        "less strict: msgspec.py: a module that may be taken for another one",
    ):
        assert line in said
