from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from src.shared import params
from src.shared.errors import UserError
from tests.projects import settings_of, write_settings

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


@pytest.fixture
def refused(path: Path) -> Callable[[dict[str, Any]], str]:
    """Load settings that must be refused; give the message without the file's name."""

    def load(settings: dict[str, Any]) -> str:
        write_settings(path.parent, settings)
        with pytest.raises(UserError) as caught:
            params.load(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message.removeprefix(f"{path}: ")

    return load


def changed(key: str, value: Any, task: str = "binary") -> dict[str, Any]:
    settings = settings_of(task)
    *sections, last = key.split(".")
    inner = settings
    for section in sections:
        inner = inner[section]
    inner[last] = value
    return settings


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_right_settings_load(path, task):
    settings = settings_of(task)
    write_settings(path.parent, settings)
    assert msgspec.to_builtins(params.load(path).train) == settings["train"]


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("task", "clustering", "binary, multiclass or regression"),
        ("task", None, "binary, multiclass or regression"),
        ("data", [], "a section with raw, target, positive, drop"),
        ("data.raw", "data/raw.xlsx", ".csv or .parquet"),
        ("data.raw", 5, ".csv or .parquet"),
        ("data.target", "", "name of a column"),
        ("data.target", None, "name of a column"),
        ("data.positive", [], "a class of the target"),
        ("data.drop", "size", "list of column names"),
        ("data.drop", None, "list of column names"),
        ("prepare.split", 7, "the name of a split that src/splits.py knows"),
        ("prepare.column", 3, "column that groups or dates"),
        ("prepare.test_size", 0, "between 0 and 1"),
        ("prepare.test_size", 1.0, "between 0 and 1"),
        ("prepare.test_size", NAN, "between 0 and 1"),
        ("prepare.test_size", "0.2", "between 0 and 1"),
        ("prepare.test_size", True, "between 0 and 1"),
        ("prepare.seed", -1, "whole number from 0"),
        ("prepare.seed", 2**32, "to 4294967295"),
        ("prepare.seed", 1.0, "whole number"),
        ("validate", None, "a section with min_train_rows"),
        ("validate.min_train_rows", 0, "at least 1"),
        ("validate.min_test_rows", 2.5, "whole number"),
        ("validate.max_drift", -0.1, "from 0 to 1"),
        ("validate.max_drift", INF, "from 0 to 1"),
        ("validate.max_drift", NAN, "from 0 to 1"),
        ("train.estimator", "LogisticRegression", "import path such as"),
        ("train.estimator", "sklearn..svm.SVC", "import path such as"),
        ("train.arguments", None, "{} for none"),
        ("train.arguments", ["C"], "{} for none"),
        ("train.folds", 1, "at least 2"),
        ("train.folds", False, "whole number"),
        ("evaluate.resamples", 99, "at least 100"),
        ("evaluate.seed", "42", "whole number"),
        ("gate", {}, "at least one metric"),
        ("gate", None, "at least one metric"),
        ("gate.accuracy", 0.9, "a section with min, max"),
        ("gate.accuracy", None, "a section with min, max"),
        ("gate.accuracy.min", "0.9", "a finite number"),
        ("gate.accuracy.min", True, "a finite number"),
        ("gate.accuracy.min", NAN, "a finite number"),
        ("gate.accuracy.max", INF, "a finite number"),
        ("gate.accuracy.max", -INF, "a finite number"),
        ("gate.accuracy.max", 10**400, "a finite number"),
        ("gate.accuracy.max_drop", -0.1, "a finite number, at least 0"),
        ("gate.accuracy.max_drop", INF, "a finite number, at least 0"),
    ],
)
def test_wrong_value_is_refused_with_key_and_what_is_allowed(refused, key, value, allowed):
    message = refused(changed(key, value))
    found = "null" if value is None else repr(value)[:80]
    assert message.startswith(f"{key} is {found}; allowed: ")
    assert allowed in message


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("tasks", "did you mean task?"),
        ("validation", "did you mean validate?"),
        ("data.tagret", "did you mean data.target?"),
        ("prepare.test_sise", "did you mean prepare.test_size?"),
        ("train.jobs", "allowed: estimator, arguments, folds, seed, leave_out, rows, distributed"),
        ("gate.accuracy.mim", "did you mean gate.accuracy.min?"),
        ("zzz", f"allowed: {', '.join(params.Params.__struct_fields__)}"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest_right_one(refused, key, hint):
    assert refused(changed(key, 1)) == f"unknown key {key}; {hint}"


@pytest.mark.parametrize(
    ("section", "key", "allowed"),
    [
        (None, "task", "binary, multiclass or regression"),
        (None, "evaluate", "a section with resamples, seed"),
        ("data", "positive", "null if not binary"),
        ("prepare", "seed", "whole number"),
        ("train", "arguments", "{} for none"),
    ],
)
def test_missing_key_is_refused(refused, section, key, allowed):
    settings = settings_of()
    del (settings[section] if section else settings)[key]
    message = refused(settings)
    assert message.startswith(f"missing key {section + '.' if section else ''}{key}; allowed: ")
    assert allowed in message


@pytest.mark.parametrize(
    ("task", "sections", "expected"),
    [
        ("binary", {"data": {"positive": None}}, "data.positive: the task 'binary' needs a class"),
        ("multiclass", {"data": {"positive": 1}}, "data.positive: the task 'multiclass' has no"),
        ("regression", {"data": {"positive": 1}}, "data.positive: the task 'regression' has no"),
        ("binary", {"data": {"drop": ["ripe"]}}, "data.drop: 'ripe' is needed as data.target"),
        (
            "binary",
            {"data": {"drop": ["farm"]}, "prepare": {"split": "group", "column": "farm"}},
            "data.drop: 'farm' is needed as prepare.column",
        ),
        (
            "binary",
            {"prepare": {"split": "group", "column": "ripe"}},
            "prepare.column: the target cannot group",
        ),
        ("binary", {"gate": {"accuracy": {}}}, "gate.accuracy.min: a bound needs min, max or both"),
        ("binary", {"gate": {"r2": {"min": 0.9, "max": 0.1}}}, "gate.r2.min: 0.9 is above max 0.1"),
    ],
)
def test_settings_that_contradict_are_refused(refused, task, sections, expected):
    message = refused(settings_of(task, **sections))
    assert expected in message
    assert message.count(expected.partition(":")[0] + ":") == 1


def test_wrong_item_of_a_list_is_refused(refused):
    assert refused(changed("data.drop", ["a", 1])) == (
        "data.drop is ['a', 1]; allowed: a list of column names"
    )


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"accuracy": {"min": None, "max": 1.0}}, "gate.accuracy.min is null; allowed: a finite"),
        ({1: {"min": 0.5}}, "gate.1 is not the name of a metric, such as accuracy"),
        ({"": {"min": 0.5}}, "gate. is not the name"),
    ],
)
def test_gate_that_says_nothing_is_refused(refused, gate, message):
    assert refused(settings_of(gate=gate)).startswith(message)


def test_every_mistake_is_named_at_once(refused):
    settings = settings_of(train={"folds": "five"}, gate={"accuracy": {"min": True}})
    settings["evalaute"] = settings.pop("evaluate")
    message = refused(settings)
    for part in (
        "train.folds is 'five'",
        "gate.accuracy.min is True",
        "missing key evaluate",
        "unknown key evalaute; did you mean evaluate?",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"task: [binary\n", "not valid YAML: "),
        (b"task: 2024-99-99\n", "not valid YAML: "),
        (b"task: binary\ntask: binary\n", "not valid YAML: "),
        (b"task: binary\n\tdata: 1\n", "in line 2"),
        (b"", "must hold the sections task, data, prepare"),
        (b"- task\n", "must hold the sections"),
        (b"binary\n", "must hold the sections"),
        ("task: bin\xe4r".encode("latin-1"), "not UTF-8"),
    ],
)
def test_file_that_is_no_mapping_is_refused(path, content, expected):
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        params.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_file_is_refused(path):
    with pytest.raises(UserError, match=r"not found; run this in the project's root"):
        params.load(path)


@pytest.mark.parametrize(
    ("line", "yaml_1_2", "get"),
    [
        ("positive: 'yes'", ("positive: yes", "yes"), lambda found: found.data.positive),
        ("positive: 'yes'", ("positive: off", "off"), lambda found: found.data.positive),
        ("positive: 'yes'", ("positive: true", True), lambda found: found.data.positive),
        ("max_drift: 0.3", ("max_drift: 1e-3", 0.001), lambda found: found.validate.max_drift),
    ],
)
def test_yaml_is_read_as_dvc_reads_it(path, line, yaml_1_2, get):
    write_settings(path.parent, settings_of())
    text = path.read_text().replace("positive: yes", "positive: 'yes'")
    assert text.count(line) == 1
    path.write_text(text.replace(line, yaml_1_2[0]))
    assert get(params.load(path)) == yaml_1_2[1]
    assert type(get(params.load(path))) is type(yaml_1_2[1])
