"""The rule of the house: who may import whom."""

import ast
from pathlib import Path

import pytest

from src.shared import pipeline
from tests.projects import ROOT

SRC = ROOT / "src"
ROOMS = {path.parent.name for path in SRC.glob("*/__init__.py")} - {"shared"}


def imported(path: Path) -> set[str]:
    """List what a module imports of src, by the first name below it: a room or a top module."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    names = [f"{node.module}.{alias.name}" for node in froms for alias in node.names]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("src.")}


@pytest.mark.parametrize("path", [*SRC.rglob("*.py")], ids=lambda path: str(path.relative_to(SRC)))
def test_imports_keep_to_the_rooms(path: Path) -> None:
    """`workflow` may import all. The others: shared, the owners' modules, and their own room."""
    own = path.relative_to(SRC).parts[0].removesuffix(".py")
    stages = {name for name in pipeline.names(ROOT / "dvc.yaml") if (SRC / f"{name}.py").exists()}
    if own != "workflow":
        assert imported(path) - {own} <= {path.stem for path in SRC.iterdir()} - ROOMS - stages
