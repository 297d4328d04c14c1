"""The same model without a pipeline: one script, as one would write it in a notebook.

Run it in a project's root: `python reference.py OUTPUT`. It reads params.yaml and the raw table,
cross-validates and fits the estimator, writes the model to OUTPUT and stops if a bound is missed.
"""

import importlib
import sys
from pathlib import Path

import joblib
import pandas as pd
from ruamel.yaml import YAML
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

params = YAML(typ="safe", pure=True).load(Path("params.yaml"))
target, train = params["data"]["target"], params["train"]

table = pd.read_csv(params["data"]["raw"]).drop_duplicates()
X, y = table.drop(columns=target), table[target] == params["data"]["positive"]
X_train, X_test, y_train, y_test = train_test_split(
    X,
    y,
    test_size=params["prepare"]["test_size"],
    random_state=params["prepare"]["seed"],
    stratify=y,
)

module, name = train["estimator"].rsplit(".", 1)
Estimator = getattr(importlib.import_module(module), name)
model = make_pipeline(
    SimpleImputer(strategy="median"),
    StandardScaler(),
    Estimator(**train["arguments"], random_state=train["seed"]),
)
folds = StratifiedKFold(train["folds"], shuffle=True, random_state=train["seed"])
with joblib.parallel_config("threading"):
    scores = cross_validate(
        model, X_train, y_train, cv=folds, scoring=["accuracy", "roc_auc"], n_jobs=-1
    )
print("cross-validated accuracy", scores["test_accuracy"].mean())
print("cross-validated roc_auc ", scores["test_roc_auc"].mean())

model.fit(X_train, y_train)
joblib.dump(model, sys.argv[1])

probability = model.predict_proba(X_test)[:, 1]
metrics = {
    "accuracy": accuracy_score(y_test, probability > 0.5),
    "roc_auc": roc_auc_score(y_test, probability),
}
print(metrics)
for metric, bound in params["gate"].items():
    if not bound.get("min", -1) <= metrics[metric] <= bound.get("max", 1):
        sys.exit(f"{metric} is {metrics[metric]}, outside {bound}")
