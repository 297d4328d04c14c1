"""The table of experiments: what it shows, in which order, and whose metrics it does not trust."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from src import experiments
from src.experiments import Saved, differences, judged_lines, rank, read, report, table
from src.shared import params
from src.shared.params import Bound
from src.shared.paths import DVC_LOCK, METRICS, PARAMS
from src.shared.revisions import Place
from src.shared.verdicts import judge
from tests.dvc_runs import commit, git

ONE = Saved("one", Place("", ""), {}, {}, {"accuracy": 0.9}, {}, [])


@pytest.fixture
def here(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that has run, all committed; it is the current folder."""
    monkeypatch.chdir(pipeline)
    params.load.cache_clear()
    return pipeline


def save(name: str, **settings: Any) -> None:
    """Save what the workspace holds with other settings as an experiment, without running it."""
    yaml = YAML()
    content = yaml.load(PARAMS)
    for section, values in settings.items():
        content[section].update(values)
    yaml.dump(content, PARAMS)
    folder, head = Path.cwd(), git(Path.cwd(), "rev-parse", "HEAD").strip()
    commit(folder)
    git(folder, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
    git(folder, "reset", "--quiet", "--hard", head)


def rerecord(path: Path, old: str, new: str) -> None:
    """Change a file of the metrics, and its hash in dvc.lock, as a run would."""
    from src.shared.files import md5

    was = md5(path)
    path.write_text(path.read_text().replace(old, new))
    DVC_LOCK.write_text(DVC_LOCK.read_text().replace(was, md5(path)))


def test_none_yet(here: Path) -> None:
    assert list(report()) == [
        "no experiments in this clone yet; run one: `dvc exp run --temp -S KEY=VALUE evaluate`"
    ]


def test_the_gate_judges_all_by_the_bounds_here_and_the_best_stand_first(here: Path) -> None:
    value = json.loads(METRICS.read_text())["accuracy"]
    for name, other in (("worse", 0.1), ("better", 0.999)):
        rerecord(METRICS, f'"accuracy": {value}', f'"accuracy": {other}')
        save(name, gate={"accuracy": {"min": 0.05}})
    lines = list(report())
    text = "\n".join(lines)
    order = [line.split()[0] for line in lines[2:] if line[:1].strip()][:3]
    assert order == ["better", "main", "worse"]
    assert "(the commit here)" in text
    assert "gate.accuracy.min: 0.05" in text
    assert "accuracy 0.1 (" in text
    assert text.count("REJECTED: accuracy too low") == 1
    assert "Experiments compared on this test split: 2." in text


@pytest.mark.parametrize(
    ("section", "values"),
    [("train", {"seed": 99}), ("prepare", {"seed": 99}), ("train", {"arguments": {"C": 7}})],
)
def test_metrics_of_other_settings_are_not_shown(here: Path, section, values) -> None:
    """As where an experiment stopped before evaluate: its metrics are those of its beginning."""
    save("stopped", **{section: values})
    assert list(report())[-1] == "not shown: stopped (not run up to evaluate)"


def test_nor_those_that_dvc_lock_was_made_to_say_are_its_own(here: Path) -> None:
    """`dvc exp save` writes the settings that are there into dvc.lock, whatever was run."""
    text = DVC_LOCK.read_text()
    assert text.count("C: 0.5") == 1
    DVC_LOCK.write_text(text.replace("C: 0.5", "C: 7"))
    save("saved", train={"arguments": {"C": 7}})
    assert list(report())[-1] == "not shown: saved (not run up to evaluate)"


def test_nor_those_of_other_code(here: Path) -> None:
    module = here / "src/features.py"
    module.write_text(module.read_text() + "\n")
    save("coded")
    assert list(report())[-1] == "not shown: coded (not run up to evaluate)"


def test_nor_those_on_another_test_split(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(here, "rev-parse", "HEAD").strip()

    def moved(name: str, revision: str) -> Saved:
        found = read(name, revision)
        return found if revision == head else replace(found, lock={})

    save("moved", gate={"accuracy": {"min": 0.1}})
    monkeypatch.setattr(experiments, "read", moved)
    assert list(report())[-1] == "not shown: moved (another test split)"


def test_what_differs_is_settings_and_code(here: Path) -> None:
    module = here / "src/features.py"
    module.write_text(module.read_text() + "\n")
    (here / "notes.md").write_text("What is no part of the pipeline.")
    save("other", train={"arguments": {"C": 7, "tol": 0.1}, "folds": 4})
    [(name, revision)] = experiments.listed()
    assert name == "other"
    there = read(name, revision)
    head = read("main", git(here, "rev-parse", "HEAD").strip())
    assert list(differences(head, there)) == [
        "C: 7",
        "tol: 0.1",
        "train.folds: 4",
        "src/features.py",
    ]


@pytest.mark.parametrize(
    ("metrics", "bounds"),
    [
        ([0.9, 0.95, 0.8], {"accuracy": Bound(min=0.5)}),
        ([0.5, 0.4, 0.7], {"rmse": Bound(max=1)}),
        ([0.5, 0.4, 0.7], {"mine": Bound(max=1)}),
        ([0.9, 0.5, None], {"accuracy": Bound(min=0.6)}),
    ],
    ids=["higher", "lower", "only bounded from above", "rejected and missing"],
)
def test_order(metrics, bounds) -> None:
    [name] = bounds
    found = [judge({} if value is None else {name: value}, bounds) for value in metrics]
    wanted = {0.95: [1, 0, 2], 0.4: [1, 0, 2], 0.5: [0, 1, 2]}[metrics[1]]
    assert sorted(range(3), key=lambda at: rank(found[at])) == wanted


def test_a_rejected_model_does_not_lead_however_good_its_first_metric_is() -> None:
    bounds = {"accuracy": Bound(min=0.5), "recall": Bound(min=0.5)}
    good, bad = ({"accuracy": 0.6, "recall": 0.6}, {"accuracy": 0.99, "recall": 0.1})
    assert rank(judge(good, bounds)) < rank(judge(bad, bounds))


def test_every_line_fits() -> None:
    long = "a_metric_with_a_name_that_is_longer_than_any_column_has_room_for"
    bounds = {long: Bound(min=0.95), "recall_a class": Bound(min=1)}
    one = replace(
        ONE,
        metrics={long: 0.912345678, "recall_a class": 0.5},
        intervals={long: {"low": 0.87654321, "high": 0.912345678}},
    )
    verdicts = judge(one.metrics or {}, bounds)
    changed = [f"estimator.arguments.{'x' * 90}: {'y' * 90}", "C: 7"]
    rows = [[["a"], ["b"], ["c"]], [["a-name-" * 8], changed, [*judged_lines(one, verdicts)]]]
    lines = list(table(rows))
    assert max(map(len, lines)) <= 80
    words = " ".join(lines).split()
    assert {"0.9123", "(0.8765", "0.9123)", "REJECTED:", "C:"} <= set(words)


def test_an_interval_that_is_not_there_costs_nothing_else() -> None:
    verdicts = judge({"accuracy": 0.9}, {"accuracy": Bound(min=0.5), "recall": Bound(min=0.5)})
    assert list(judged_lines(ONE, verdicts)) == [
        "accuracy 0.9",
        "recall   -",
        "REJECTED: recall missing",
    ]
