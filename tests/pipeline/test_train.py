import hashlib
import json
import warnings
from importlib.metadata import version

import joblib
import numpy as np
import pandas as pd
import pytest

from src import features
from src.shared import tables
from src.shared.errors import UserError
from src.shared.estimators import make_estimator
from src.shared.params import Params, parse
from src.shared.paths import MODEL, SIDECAR, TRAIN, TRAINING
from src.train import told_once
from tests.projects import TABLES, call, fruit, settings_of, write_settings

FOREST = "sklearn.ensemble.RandomForestClassifier"


def settings(task: str = "binary", **sections) -> Params:
    return parse(Params, settings_of(task, **sections))


@pytest.mark.parametrize(
    ("path", "arguments", "seed", "expected"),
    [
        (FOREST, {}, 7, 7),
        (FOREST, {"random_state": 3}, 7, 3),
        ("sklearn.neighbors.KNeighborsClassifier", {}, 7, None),
    ],
)
def test_random_state_is_the_seed_where_there_is_one(path, arguments, seed, expected):
    found = make_estimator(path, arguments, seed, "multiclass")
    assert found.get_params().get("random_state") == expected


@pytest.mark.parametrize(
    ("path", "arguments", "task", "expected"),
    [
        ("sklearn.nothing.Model", {}, "binary", "train.estimator: cannot import sklearn.nothing.M"),
        ("nothing.Model", {}, "binary", "train.estimator: cannot import nothing.Model: ModuleNot"),
        ("sklearn.svm.SCV", {}, "binary", "train.estimator: sklearn.svm.SCV does not exist: "),
        ("pathlib.Path", {}, "binary", "train.estimator: pathlib.Path is not an estimator"),
        ("sklearn.svm", {}, "binary", "train.estimator: sklearn.svm is not a class"),
        (FOREST, {"trees": 5}, "binary", f"train.arguments: {FOREST} refuses them: "),
        ("sklearn.ensemble.VotingClassifier", {}, "binary", "train.arguments: sklearn.ensemble.V"),
        (FOREST, {}, "regression", "is not a regressor, which the task regression needs"),
        ("sklearn.linear_model.Ridge", {}, "binary", "is not a classifier, which the task binary"),
        ("sklearn.cluster.KMeans", {}, "multiclass", "is not a classifier"),
        ("sklearn.preprocessing.StandardScaler", {}, "regression", "is not a regressor"),
    ],
)
def test_estimator_that_does_not_suit_is_refused(path, arguments, task, expected):
    with pytest.raises(UserError) as caught:
        make_estimator(path, arguments, 1, task)
    assert expected in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize("task", TABLES)
def test_sidecar_describes_the_model(project, run, task):
    project(task)
    run("prepare", "validate", "train")
    facts, frame = json.loads(SIDECAR.read_text()), tables.read_split(TRAIN)
    target = "ripe" if task == "binary" else "target"
    classes = {"binary": ["no", "yes"], "multiclass": [0, 1, 2], "regression": None}[task]
    assert (facts["task"], facts["target"], facts["classes"]) == (task, target, classes)
    assert facts["positive"] == ("yes" if task == "binary" else None)
    assert facts["features"] == [
        {"name": name, "kind": features.kind_of(frame[name]), "dtype": str(frame[name].dtype)}
        for name in frame.columns.drop(target)
    ]
    assert facts["versions"]["scikit-learn"] == version("scikit-learn")
    assert facts["versions"]["numpy"] == version("numpy")
    assert facts["estimator"] == settings(task).train.estimator
    train = "data/prepared/train.parquet"
    assert facts["data"] == {train: hashlib.sha256(TRAIN.read_bytes()).hexdigest()}
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert facts["model"] == {"file": "model.joblib", "sha256": digest}
    predicted = joblib.load(MODEL).predict(frame)
    assert len(predicted) == len(frame)
    colours = {"colour": ["green", "red", "yellow"]} if task == "binary" else {}
    assert facts["categories"] == colours
    assert list(facts["example"]["row"]) == [feature["name"] for feature in facts["features"]]
    answer = facts["example"]["answer"]
    assert answer.get("class", answer.get("value")) == predicted[frame.notna().all(axis=1).argmax()]


def test_training_again_gives_the_same_files(project, run):
    forest = {"estimator": FOREST, "arguments": {"n_estimators": 5}}
    folder = project(train=forest)
    run("prepare", "validate", "train")
    written = [MODEL, SIDECAR, TRAINING / "metrics.json"]
    first = [path.read_bytes() for path in written]
    run("train")
    assert [path.read_bytes() for path in written] == first
    write_settings(folder, settings_of(train=forest | {"seed": 2}))
    assert run("train").status == 0
    assert written[0].read_bytes() != first[0]


def test_column_that_splits_is_no_feature(project, run):
    project(prepare={"split": "group", "column": "seeds"})
    run("prepare", "validate", "train")
    facts = json.loads(SIDECAR.read_text())
    names = [feature["name"] for feature in facts["features"]]
    assert names == ["size", "organic", "colour", "picked"]


def test_column_to_leave_out_must_be_there(project, run):
    """A name that is misspelt would leave the column among the features."""
    project(train={"leave_out": ["color"]})
    done = run("prepare", "validate", "train")
    assert done.status == 1
    assert "no column 'color' (train.leave_out in params.yaml); did you mean 'colour'?" in done.err


def test_rows_are_cross_validated_in_the_order_of_their_time(project, run):
    rows = fruit(120)
    rows["picked"] += rows.index * pd.Timedelta(hours=1)  # no two at the same time
    figures = []
    for table in (rows, rows.sample(frac=1, random_state=1)):
        project(table=table, prepare={"split": "time", "column": "picked"})
        assert run("prepare", "validate", "train").status == 0
        figures.append(json.loads((TRAINING / "metrics.json").read_text()))
    assert figures[0] == pytest.approx(figures[1])


def test_fold_of_one_class_is_told(project, run):
    rows = fruit(120)
    rows["picked"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rows.index, unit="D")
    rows["ripe"] = np.where(rows.index < 70, "no", np.where(rows.index % 2, "yes", "no"))
    tree = {"estimator": "sklearn.tree.DecisionTreeClassifier", "arguments": {}, "folds": 5}
    project(table=rows, prepare={"split": "time", "column": "picked"}, train=tree)
    done = run("prepare", "validate", "train")
    assert done.status == 1
    assert done.err.startswith(
        "error: train: the training rows of a fold have none of the class 'y"
    )


def test_warning_of_many_fits_is_told_once(recwarn):
    with told_once():
        for text in ("of each fit", "another", "of each fit"):
            with warnings.catch_warnings():  # as each of scikit-learn's jobs has
                warnings.simplefilter("always")
                warnings.warn(text, UserWarning, stacklevel=1)
    assert [str(one.message) for one in recwarn] == ["of each fit", "another"]


def test_whatever_an_estimator_raises_is_told_in_one_line(project, run):
    bagging = {
        "estimator": "sklearn.ensemble.BaggingClassifier",
        "arguments": {"estimator": "a tree"},
    }
    project(train=bagging)
    done = run("prepare", "validate", "train")
    assert done.status == 1
    assert "BaggingClassifier refuses them: AttributeError: " in done.err
    assert done.err.count("\n") == 1


MINE = """
from sklearn.tree import DecisionTreeClassifier

class Mine(DecisionTreeClassifier):
    def fit(self, X, y):
        return super().fit(X, y)
"""


def test_module_of_an_own_estimator_must_stand_in_dvc_yaml(project, run):
    """So that a change to it reruns train; the line that the message gives is enough."""
    folder = project(code=True, train={"estimator": "src.mine.Mine", "arguments": {}})
    (folder / "src/mine.py").write_text(MINE)
    assert run("prepare", "validate").status == 0
    done = call("python", "-m", "src.train", folder=folder)
    assert done.status == 1
    assert "add the line `- src/mine.py` to `deps` of train and evaluate\n" in done.err
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    for stage in ("train", "evaluate"):
        text = text.replace(f"- src/{stage}.py\n", f"- src/{stage}.py\n      - src/mine.py\n")
    (folder / "dvc.yaml").write_text(text, encoding="utf-8")
    assert call("python", "-m", "src.train", folder=folder).status == 0
