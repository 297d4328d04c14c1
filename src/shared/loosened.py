"""What makes the judgement of models less strict than it was: settings and checks.

The report names it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Settings that decide which rows the test split holds.
OF_THE_SPLIT = ("prepare.", "data.drop_rare_classes", "data.missing_target")
# Sections whose settings decide what is measured, and on what.
NAMED = ("task", "data.", "prepare.", "validate.", "evaluate.", "gate.")


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
    before, after = flat(old), flat(new)
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
    after = flat(new)
    return [
        Loosened(f"data/schema.yaml {name}", _text(was), _text(after.get(name)))
        for name, was in flat(old).items()
        if after.get(name) != was
        and not name.endswith((".title", ".description"))
        and not _is_tighter(name, was, after.get(name))
    ]


def _is_tighter(name: str, was: Any, now: Any) -> bool:
    limit = next((end for end in ("min_value", "max_value") if name.endswith(end)), "")
    if not limit or not _is_number(was) or not _is_number(now):
        return False
    return bool(now > was if limit == "min_value" else now < was)


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
    for name, was in flat({"gate": old}).items():
        if name in unexplained:
            metric, _, key = name.removeprefix("gate.").rpartition(".")
            bound = bounds.setdefault(metric, {})
            if isinstance(bound, dict):
                bound[key] = was
    return bounds


def flat(content: Any, name: str = "") -> dict[str, Any]:
    """Return each value that is no section by its whole name, such as gate.accuracy.min."""
    if not isinstance(content, Mapping):
        return {name: content} if name else {}
    return {
        key: value
        for part, inner in content.items()
        for key, value in flat(inner, f"{name}.{part}" if name else str(part)).items()
    }


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
