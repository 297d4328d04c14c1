"""Code that judges and has changed, and the reasons for what makes the judgement less strict.

What touches a bound or the test split needs a reason, in .github/loosened.yaml, in the same change:
there a reviewer sees it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from src.shared.loosened import Loosened

REASONS = Path(".github/loosened.yaml")

# What files do in the judgement, besides the code of the stages.
ROLES = {
    ".github/": "the workflow",
    "src/workflow/": "the workflow",
    "Makefile": "the workflow",
    "dvc.yaml": "which stages there are",
    ".dvc/config": "where the data comes from",
}
STAGES = {
    "gate": "the gate's code",
    "evaluate": "evaluate's code",
    "validate": "validate's code",
    "prepare": "prepare's code, which makes the test split",
}


def code(changed: Collection[str], stages: Mapping[str, Collection[str]]) -> list[Loosened]:
    """List the files that judge and that have changed.

    Args:
        changed: the files that differ, from the project's root.
        stages: for each stage the files that it depended on before the change.
    """
    return [Loosened(path, role=role) for path in sorted(changed) if (role := _role(path, stages))]


def _role(path: str, stages: Mapping[str, Collection[str]]) -> str:
    for start, role in ROLES.items():
        if path.startswith(start) and path != REASONS.as_posix():
            return role
    for stage, role in STAGES.items():
        if path in stages.get(stage, ()) and path.startswith("src/"):
            return role
    name = PurePosixPath(path)
    if name.suffix == ".dvc":
        return "another raw table"
    if name.suffix == ".mk":
        return ROLES["Makefile"]
    if name.suffix == ".py" and (len(name.parts) == 1 or _is_package(name)):
        return "a module that may be taken for another one"
    return ""


def _is_package(path: PurePosixPath) -> bool:
    return path.name in ("__init__.py", "__main__.py") and path.parts[0] not in ("src", "tests")


def split(old: Mapping[str, str], new: Mapping[str, str], raw: str, test: str) -> list[Loosened]:
    """Tell whether the same raw table was split otherwise.

    Args:
        old: the hash of each file that the stages read or made before.
        new: the same of this run.
        raw: the path of the raw table.
        test: the path of the test split.
    """
    if raw in old and old[raw] == new.get(raw) and test in old and old[test] != new.get(test):
        was, now = old[test][:8], str(new.get(test))[:8]
        return [Loosened(test, was, now, needs_reason=True)]
    return []


def explain(
    found: Iterable[Loosened], before: Mapping[str, Any], reasons: Mapping[str, Any]
) -> list[Loosened]:
    """Add to each its reason, if it was written down in the same change.

    Args:
        found: what is less strict.
        before: what .github/loosened.yaml held.
        reasons: what it holds: for each setting or file a sentence.
    """
    new = {key: value for key, value in reasons.items() if value != before.get(key)}
    return [
        replace(one, reason=str(new[one.what])) if str(new.get(one.what) or "").strip() else one
        for one in found
    ]


def all_of(*parts: Iterable[Loosened]) -> Iterator[Loosened]:
    """Yield everything, what needs a reason first."""
    found = [one for part in parts for one in part]
    yield from sorted(found, key=lambda one: not one.needs_reason)
