"""Each recipe of docs/extend.md, followed in a generated project that has run once."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cookiecutter.main import cookiecutter  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from tests.dvc_runs import call, commit, dvc, repro
from tests.projects import Result, fruit, write_table
from tests.template.conftest import ROOT, lend_environment, make
from tests.template.recipes import follow, recipes

# What the service and batch scoring answer, beside what the saved model and evaluate say.
COMPARE = """
import joblib, numpy as np, pandas as pd
from src.service.app import Limits, Service
from src.shared import sidecar
from src.shared.paths import MODEL, PREDICTIONS, SIDECAR, TEST, TRAIN
from src.shared.tables import read_split

model, known = joblib.load(MODEL), sidecar.read(SIDECAR)
service = Service(Limits())
names = [feature.name for feature in known.features]
for path in (TRAIN, TEST):
    rows = read_split(path)
    said = model.predict(rows)
    body = rows[names].to_json(orient="records", date_format="iso", date_unit="us").encode()
    checked = service.checker.check(body)
    assert not checked.warnings.count, checked.warnings
    answers = service.batcher.scorer(checked.columns).answers
    assert len(answers) == len(rows) > 20
    if known.task == "regression":
        np.testing.assert_allclose([one["value"] for one in answers], said, rtol=1e-9)
    else:
        assert [one["class"] for one in answers] == said.tolist()
        shares = [[*one["probabilities"].values()] for one in answers]
        np.testing.assert_allclose(shares, model.predict_proba(rows), rtol=1e-9, atol=1e-12)
    assert len({*map(str, answers)}) > 5
kept = read_split(PREDICTIONS)["predicted"]
assert kept.tolist() == said.tolist()
"""
MODEL_STAGES = ["train", "evaluate", "gate"]
ALL_STAGES = ["prepare", "validate", *MODEL_STAGES]


@pytest.fixture(scope="session")
def grown(
    template: Path, settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project generated for a small table, which has run once. Not to be changed: use `copy`."""
    folder = tmp_path_factory.mktemp("grown")
    write_table(folder / "fruit.csv", fruit().fillna({"colour": "none"}))
    answers = {
        "data": "fruit.csv",
        "target": "ripe",
        "positive": "yes",
        "metric": "accuracy",
        "bound": "0.6",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setenv("PWD", str(folder))
        patch.chdir(folder)
        project = Path(cookiecutter(str(template), no_input=True, extra_context=answers))
        set_params(
            project,
            train={"estimator": "sklearn.linear_model.LogisticRegression", "arguments": {}},
            evaluate={"resamples": 100},
        )
        lend_environment(project)
        make(project, "repro")
    commit(project)
    return project


@pytest.fixture
def copy(grown: Path, tmp_path: Path) -> Path:
    """A copy of `grown` for one test."""
    return Path(shutil.copytree(grown, tmp_path / "project", symlinks=True))


def set_params(project: Path, **sections: Any) -> None:
    """Set keys of params.yaml; `task` and `gate` as a whole."""
    yaml = YAML()
    content = yaml.load(project / "params.yaml")
    for section, keys in sections.items():
        if section in ("task", "gate"):
            content[section] = keys
        else:
            content[section].update(keys)
    yaml.dump(content, project / "params.yaml")


def metrics_of(project: Path, stage: str = "evaluate") -> dict[str, float]:
    """Read the metrics that a stage wrote."""
    found: dict[str, float] = json.loads((project / f"metrics/{stage}/metrics.json").read_text())
    return found


def report_of(project: Path) -> str:
    """Write the report and read it."""
    call(project, "python", "-m", "src.report")
    return (project / "report/report.md").read_text("utf-8")


def check_change(project: Path, before: Path) -> Result:
    """Check that metrics, plots and report show the change, and that the service answers it."""
    now, then = metrics_of(project), metrics_of(before)
    assert now != then
    assert metrics_of(project, "train") != metrics_of(before, "train")
    drawn = [
        {path.name: path.read_text() for path in (folder / "metrics").glob("*/plots/custom/*.json")}
        for folder in (project, before)
    ]
    assert drawn[0] != drawn[1]
    report = report_of(project)
    for name, value in now.items():
        assert re.search(rf"\| `{name}` \| ({value:.4f}|{re.escape(f'{value:.4g}')}) ", report), (
            report
        )
    assert repro(project) == []
    call(project, "python", "-m", "ruff", "check", "src")
    return call(project, "python", "-c", COMPARE)


def test_every_recipe_is_followed_by_a_test() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [name for name in recipes() if f'"{name}"' not in source] == []


@pytest.mark.parametrize(
    "heading",
    [
        "A feature computed from others",
        "A feature learned from the training rows",
        "Another transformation of the numbers",
    ],
)
def test_features(copy: Path, grown: Path, heading: str) -> None:
    follow(copy, heading)
    assert repro(copy) == MODEL_STAGES
    check_change(copy, grown)


def test_cleaning(copy: Path, grown: Path) -> None:
    follow(copy, "Cleaning the raw table")
    raw = copy / "data/raw.csv"
    text = raw.read_text("utf-8")
    raw.unlink()  # a link, or read-only
    raw.write_text(text.replace("green", "GREEN", 20), encoding="utf-8")
    call(copy, "python", "-m", "src.schema")
    assert repro(copy) == ALL_STAGES
    check_change(copy, grown)
    splits = [pd.read_parquet(copy / f"data/prepared/{name}.parquet") for name in ("train", "test")]
    rows = pd.concat(splits)
    expected = pd.read_csv(raw)
    assert len(rows) == (~(expected["size"] > 9)).sum() < len(expected)
    assert "GREEN" in set(expected["colour"])
    assert "GREEN" not in set(rows["colour"])
    run_tests(copy, "exact and prepare", "dvc_yaml")


def test_target(copy: Path, tmp_path: Path) -> None:
    set_params(
        copy,
        data={"target": "seeds", "positive": None},
        prepare={"split": "random"},
        train={"estimator": "sklearn.linear_model.Ridge"},
        evaluate={"metric": "rmse"},
    )
    set_params(copy, task="regression", gate={"rmse": {"max": 100}})
    repro(copy)
    commit(copy)
    before = Path(shutil.copytree(copy, tmp_path / "before", symlinks=True))
    follow(copy, "The logarithm of the target")
    assert repro(copy) == MODEL_STAGES
    check_change(copy, before)


def test_split(copy: Path, grown: Path) -> None:
    follow(copy, "Another split")
    assert repro(copy) == ALL_STAGES
    check_change(copy, grown)
    raw = pd.read_csv(copy / "data/raw.csv")
    test = pd.read_parquet(copy / "data/prepared/test.parquet")
    assert test["size"].tolist() == pytest.approx(raw["size"][::5].tolist(), nan_ok=True)


def test_estimator(copy: Path, grown: Path) -> None:
    """As the page says, but for dvc.yaml: train says what to add there, which then works."""
    own = {"estimator": "src.mine.Mine", "arguments": {"depth": 4}}
    listed = (copy / "dvc.yaml").read_text()
    follow(copy, "An estimator of your own")
    wanted = (copy / "dvc.yaml").read_text()
    (copy / "dvc.yaml").write_text(listed)
    set_params(copy, train=own)
    said = dvc(copy, "repro", status=255).err
    assert "add the line `- src/mine.py` to `deps` of train and evaluate" in said
    (copy / "dvc.yaml").write_text(wanted)
    assert repro(copy) == MODEL_STAGES
    check_change(copy, grown)
    module = copy / "src/mine.py"
    module.write_text(module.read_text().replace("max_iter=20", "max_iter=2"))
    assert repro(copy) == MODEL_STAGES


def test_a_stage_of_ones_own(copy: Path) -> None:
    before = metrics_of(copy)
    follow(copy, "A stage of your own between two others")
    set_params(copy, sample={"rows": 60})
    # All stages read params.py and paths.py.
    ran = repro(copy)
    assert set(ran) == {"prepare", "validate", "sample", "train", "evaluate", "gate"}
    assert ran.index("prepare") < ran.index("sample") < ran.index("train")
    commit(copy)
    assert repro(copy) == []
    assert metrics_of(copy) != before
    assert "| sample |" in report_of(copy)
    set_params(copy, sample={"rows": 61})
    assert repro(copy) == ["sample", "train", "evaluate", "gate"]
    set_params(copy, sample={"rows": "many"})
    told = dvc(copy, "repro", status=255).err
    assert "params.yaml: sample.rows is 'many'; allowed: a whole number, at least 1" in told
    set_params(copy, sample={"rows": 60})
    assert "every stage ran" in call(copy, "python", "-m", "src.workflow.smoke").out
    run_tests(copy, "exact and sample or room or refused", "dvc_yaml", "rooms", "params")


def test_a_metric_of_ones_own(copy: Path) -> None:
    follow(copy, "A metric of your own")
    assert repro(copy) == ["train", "evaluate", "gate"]
    for stage in ("train", "evaluate"):
        assert {"cost", "mcc", "accuracy"} <= metrics_of(copy, stage).keys()
    ends = json.loads((copy / "metrics/evaluate/intervals.json").read_text())
    for name in ("cost", "mcc"):
        assert ends[name]["low"] < metrics_of(copy)[name] < ends[name]["high"]
    verdicts = json.loads((copy / "metrics/gate.json").read_text())["verdicts"]
    assert "cost" in [verdict["metric"] for verdict in verdicts]
    report = report_of(copy)
    assert re.search(r"\| `cost` \|.* to .*≤ 0.9 \| ✅", report)
    assert re.search(r"\| `mcc` \|.* to ", report)
    commit(copy)
    # A higher cost is worse.
    set_params(copy, train={"estimator": "sklearn.dummy.DummyClassifier", "arguments": {}})
    dvc(copy, "repro", status=255)
    said = call(copy, "python", "-m", "src.workflow.champion", "HEAD", status=1).out
    assert re.search(r"^cost .* worse than the champion", said, re.MULTILINE), said
    run_tests(copy, "sklearn or intervals or way or gate", "metrics", "gate", "imports")


def test_a_plot_of_ones_own(copy: Path) -> None:
    follow(copy, "A plot of your own")
    assert repro(copy) == ["evaluate", "gate"]  # which notes of what code the metrics are
    assert 'title "Cumulative gain"' in report_of(copy)
    assert "Cumulative gain" in (copy / "report/report.html").read_text("utf-8")
    drawn = json.loads(dvc(copy, "plots", "diff", "HEAD", "--json").out)["data"]
    [plot] = drawn["metrics/evaluate/plots/custom/gain.json"]
    points = plot["content"]["data"]["values"]
    assert points[-1]["share_of_rows"] == points[-1]["share_found"] == 1
    shares = [point["share_found"] for point in points]
    assert shares == sorted(shares)
    assert sum(shares) / len(shares) > 0.6  # at random it would be a half
    run_tests(copy, "drawn or draw", "evaluate")


def run_tests(project: Path, chosen: str, *names: str) -> None:
    """Run some of the project's own tests, and check style and types of its source."""
    tests = [f"tests/pipeline/test_{name}.py" for name in names]
    call(project, "python", "-m", "pytest", "-q", "-k", chosen, *tests)
    call(project, "python", "-m", "ruff", "check", "src")
    call(project, "python", "-m", "ruff", "format", "--check", "src")
    call(project, "python", "-m", "mypy", "src", MYPY_CACHE_DIR=str(ROOT / ".mypy_cache"))
