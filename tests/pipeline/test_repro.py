"""`dvc repro` reruns exactly what a change touches: a row for each kind of change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dvc_runs import repro
from tests.projects import STAGES, fruit, settings_of, write_settings, write_table

Change = Callable[[Path], None]
START = 'if __name__ == "__main__":'


def comments(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            rewrite(folder / name, lambda text: text + "\n# a comment\n")

    return change


def setting(**sections: Any) -> Change:
    return lambda folder: write_settings(folder, settings_of(**sections))


def fewer_rows(folder: Path) -> None:
    write_table(folder / "data/raw.csv", fruit().iloc[:-20])


def code(name: str, added: str) -> Change:
    """Add code to a module, in front of the lines that start it."""
    return lambda folder: rewrite(folder / name, lambda text: text.replace(START, added + START))


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    assert change(before) != before
    path.write_text(change(before), encoding="utf-8", newline="\n")


ALL = list(STAGES)
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "arguments": {"max_depth": 2}}
SAME_SCORES = {"arguments": {"C": 0.5, "warm_start": True}}
OTHER_MODEL = """
_build = features.build_pipeline
features.build_pipeline = lambda *given: _build(*given).set_params(estimator__C=0.01)
"""

# Where a stage's outputs come out the same, byte for byte, nothing that follows runs.
ROWS: dict[str, tuple[Change, list[str]]] = {
    "nothing": (comments(), []),
    "a comment": (comments("params.yaml", "README.md", "src/schema.py"), []),
    "bound in gate": (setting(gate={"accuracy": {"min": 0.3}}), ["gate"]),
    "evaluate": (setting(evaluate={"resamples": 200}), ["evaluate"]),
    "estimator": (setting(train=TREE), ["train", "evaluate", "gate"]),
    "arguments that change no metric": (
        setting(train=SAME_SCORES),
        ["train", "evaluate", "gate"],
    ),
    "schema": (comments("data/schema.yaml"), ["prepare", "validate"]),
    "a limit of validate": (setting(validate={"max_drift": 0.31}), ["validate"]),
    "accepted columns": (setting(validate={"accept": ["size"]}), ["prepare", "validate"]),
    "prepare": (setting(prepare={"seed": 2}), ALL),
    "raw data": (fewer_rows, ALL),
    "prepare.py": (comments("src/prepare.py"), ["prepare"]),
    "validate.py": (comments("src/validate.py"), ["validate"]),
    "train.py": (code("src/train.py", OTHER_MODEL), ["train", "evaluate", "gate"]),
    "evaluate.py": (comments("src/evaluate.py"), ["evaluate", "gate"]),
    "gate.py": (comments("src/gate.py"), ["gate"]),
}


@pytest.mark.parametrize(("change", "stages"), ROWS.values(), ids=ROWS)
def test_reruns_what_a_change_touches(pipeline: Path, change: Change, stages: list[str]) -> None:
    change(pipeline)
    assert repro(pipeline) == stages
