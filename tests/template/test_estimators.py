"""XGBoost, LightGBM and CatBoost in the pipeline and in the service, each in a process of its own.

They lie in a folder of their own, .venv/estimators, which only these tests put on the path;
generated projects do not have it. Wheels of all three exist for Python 3.11 to 3.14 on Linux.
"""

import os
from pathlib import Path

import pandas as pd
import pytest

from tests.projects import ROOT, call, fruit, make_project, wine

PACKAGES = ROOT / ".venv/estimators"

PIPELINE = """
import json, sys
import numpy as np
from src.service.app import Limits, Service
from src.shared import sidecar
from src.shared.model import load_model
from src.shared.paths import MODEL, PREDICTIONS, SIDECAR, TEST
from src.shared.tables import read_split
from tests.projects import STAGES, run_stage

assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
known = sidecar.read(SIDECAR)
rows, kept = read_split(TEST), read_split(PREDICTIONS)
model = load_model(MODEL, known)
assert model.predict(rows).tolist() == kept["predicted"].tolist()
service = Service(Limits())  # answers the example of the sidecar as train did, or ends
names = [feature.name for feature in known.features]
body = rows[names].to_json(orient="records", date_format="iso").encode()
columns = service.checker.check(body).columns
found = service.batcher.scorer(columns).answers
assert [one.get("class", one.get("value")) for one in found] == kept["predicted"].tolist()
print(json.dumps({"classes": known.classes, "versions": list(known.versions)}))
"""


def numbered() -> pd.DataFrame:
    """The table of fruit with the classes 1 and 2."""
    return fruit().assign(ripe=lambda rows: (rows["ripe"] == "yes") + 1)


def named() -> pd.DataFrame:
    """The table of wine with classes that are text."""
    return wine().assign(target=lambda rows: "c" + rows["target"].astype(str))


XGBOOST = {"estimator": "xgboost.XGBClassifier", "arguments": {"n_estimators": 10}}
LIGHTGBM = {
    "estimator": "lightgbm.LGBMClassifier",
    "arguments": {"n_estimators": 10, "verbose": -1},
}
CATBOOST = {
    "estimator": "catboost.CatBoostClassifier",
    "arguments": {"iterations": 10, "verbose": 0},
}
SEARCH = {
    "estimator": "sklearn.model_selection.GridSearchCV",
    "arguments": {"estimator": XGBOOST, "param_grid": {"max_depth": [1, 2]}, "cv": 2},
}


@pytest.mark.skipif(not PACKAGES.exists(), reason="`make test` brings them")
@pytest.mark.parametrize(
    ("train", "task", "table", "positive", "classes"),
    [
        (XGBOOST, "binary", fruit(), "yes", ["no", "yes"]),
        (XGBOOST, "binary", numbered(), 1, [2, 1]),
        (SEARCH, "multiclass", wine(), None, [0, 1, 2]),
        (LIGHTGBM, "binary", fruit(), "yes", ["no", "yes"]),
        (CATBOOST, "multiclass", named(), None, ["c0", "c1", "c2"]),
    ],
    ids=["xgboost", "xgboost-numbered", "xgboost-search", "lightgbm", "catboost-multiclass"],
)  # fmt: skip
def test_pipeline_and_service(tmp_path: Path, train, task, table, positive, classes) -> None:
    make_project(tmp_path, task, table, train=train | {"folds": 2}, data={"positive": positive})
    path = os.pathsep.join(map(str, (ROOT, PACKAGES)))
    done = call("python", "-c", PIPELINE, folder=tmp_path, PYTHONPATH=path)
    assert done.status == 0, done.out + done.err
    told = done.out.splitlines()[-1]
    assert f'"classes": {str(classes).replace(chr(39), chr(34))}' in told
    package = "xgboost" if train is SEARCH else train["estimator"].partition(".")[0]
    assert package in told
