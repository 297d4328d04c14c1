"""What makes the judgement of models less strict than it was: settings, checks, code.

All of it is named in the report. What touches a bound or the test split also needs a reason, in
.github/loosened.yaml, in the same change: there a reviewer sees it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

REASONS = Path(".github/loosened.yaml")

# Settings that decide which rows the test split holds.
OF_THE_SPLIT = ("prepare.", "data.drop_rare_classes", "data.missing_target")
# Sections whose settings decide what is measured, and on what.
NAMED = ("task", "data.", "prepare.", "validate.", "evaluate.", "gate.")

# What files do in the judgement, besides the code of the stages.
ROLES = {
    ".github/": "the workflow",
    "src/workflow/": "the workflow",
    "src/delivery/": "what delivers a model",
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


@dataclass(frozen=True)
class Loosened:
    """One thing that makes the judgement less strict, or may.

    Attributes:
        what: a setting such as gate.accuracy.min, a check of the schema, or a file.
        was: its value before; empty where that would tell nothing.
        now: its value here.
        role: what a file does in the judgement; empty for a setting.
        needs_reason: whether it touches a bound or the test split.
        reason: why, as its author has written it down in this change.
    """

    what: str
    was: str = ""
    now: str = ""
    role: str = ""
    needs_reason: bool = False
    reason: str = ""

    @property
    def unexplained(self) -> bool:
        """Whether the reason that it needs is lacking."""
        return self.needs_reason and not self.reason

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.what}: {self.role}" if self.role else f"{self.what}: {self.was} → {self.now}"


def settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Loosened]:
    """List the settings that make the judgement less strict, or may.

    Args:
        old: what params.yaml held.
        new: what it holds.
    """
    before, after = _flat(old), _flat(new)
    found = []
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was != now and name.startswith(NAMED) and _is_looser(name, was, now):
            needs = name.startswith(("gate.", "evaluate.slice", *OF_THE_SPLIT))
            found.append(Loosened(name, _text(was), _text(now), needs_reason=needs))
    return found


def _is_looser(name: str, was: Any, now: Any) -> bool:
    """Tell whether a change makes the judgement less strict; true where nobody can know."""
    section, _, key = name.partition(".")
    key = key.rpartition(".")[2]
    if section in ("gate", "validate") and was is None:
        return False  # a bound more
    if key == "undecided":
        return was == "reject"
    if isinstance(was, list) and isinstance(now, list | None):
        added = [one for one in now or [] if one not in was]
        gone = [one for one in was if one not in (now or [])]
        return bool(gone) if key == "slices" else bool(added)
    if section in ("gate", "validate") or key == "slice_rows":
        if not _is_number(was) or not _is_number(now):
            return True
        return bool(now < was if "min" in key else now > was)
    return was is not None or key not in ("slices", "slice_rows", "accept")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def schema(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Loosened]:
    """List what data/schema.yaml demanded and demands no more, or otherwise.

    Args:
        old: the schema as it was, as YAML holds it.
        new: the schema as it is.
    """
    after = _flat(new)
    return [
        Loosened(f"data/schema.yaml {name}", _text(was), _text(after.get(name)))
        for name, was in _flat(old).items()
        if after.get(name) != was
        and not name.endswith((".title", ".description"))
        and not _is_tighter(name, was, after.get(name))
    ]


def _is_tighter(name: str, was: Any, now: Any) -> bool:
    limit = next((end for end in ("min_value", "max_value") if name.endswith(end)), "")
    if not limit or not _is_number(was) or not _is_number(now):
        return False
    return bool(now > was if limit == "min_value" else now < was)


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


def tightest(gate: Mapping[str, Any], old: Mapping[str, Any], found: Iterable[Loosened]) -> Any:
    """Return the bounds to judge by: as they were, where nobody gave a reason to loosen them.

    Args:
        gate: the section of params.yaml as it is.
        old: the same as it was.
        found: what is less strict, with reasons.
    """
    bounds = {name: dict(bound) if isinstance(bound, Mapping) else bound
              for name, bound in gate.items()}  # fmt: skip
    unexplained = {one.what for one in found if one.unexplained}
    for name, was in _flat({"gate": old}).items():
        if name in unexplained:
            metric, _, key = name.removeprefix("gate.").rpartition(".")
            bound = bounds.setdefault(metric, {})
            if isinstance(bound, dict):
                bound[key] = was
    return bounds


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    """Return each value that is no section by its whole name, such as gate.accuracy.min."""
    if not isinstance(content, Mapping):
        return {name: content} if name else {}
    return {
        key: value
        for part, inner in content.items()
        for key, value in _flat(inner, f"{name}.{part}" if name else str(part)).items()
    }


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def all_of(*parts: Iterable[Loosened]) -> Iterator[Loosened]:
    """Yield everything, what needs a reason first."""
    found = [one for part in parts for one in part]
    yield from sorted(found, key=lambda one: not one.needs_reason)
