"""The metrics check of the workflow: the gate's bounds, and the champion.

`python -m src.workflow.champion REVISION` judges the metrics as they are now against the last model
up to that revision that main confirmed, and the best one: on the rows that both tested, or else by
the tables of metrics. It also lists what makes the judgement less strict. Exit status: as the
gate's.

For a pull request the workflow runs main's copy of this module. It reads what a newer project may
hold, so it passes over settings that it does not know.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from src.gate import raise_accuracy
from src.shared import (
    errors,
    files,
    loosened,
    params,
    pipeline,
    provenance,
    revisions,
    slices,
    verdicts,
)
from src.shared.champion import Champion
from src.shared.errors import UserError
from src.shared.git import git, read_all
from src.shared.loosened import Loosened
from src.shared.params import Bound, Params, Section
from src.shared.paths import DVC_LOCK, DVC_YAML, PARAMS, PROVENANCE, SCHEMA, SLICES, TEST
from src.shared.revisions import Place
from src.shared.verdicts import Drop
from src.workflow import confirmed, reasons, rivals, state
from src.workflow.reasons import REASONS
from src.workflow.rivals import IncomparableError


def find_base() -> str:
    """Return the champion's revision: BASE of the workflow, or the main branch on a desk."""
    return os.environ["BASE"] if "BASE" in os.environ else revisions.find_main()


def compare(
    rival: Champion, settings: Params
) -> tuple[dict[str, Drop], dict[str, Drop], list[str]]:
    """Compare with the champion and with the best model so far, on the rows that both tested.

    Returns:
        For each metric with a `max_drop` how much worse this model is than the champion, and than
        the best where that is another; without those that cannot be compared. Last, in words how
        they were compared.
    """
    names = [name for name, bound in settings.gate.items() if bound.max_drop is not None]
    drops: dict[str, Drop] = {}
    from_best: dict[str, Drop] = {}
    told = []
    if names:
        try:
            drops = rivals.drops(rival.place, names, settings)
            rows = {drop.rows for drop in drops.values()} or {0}
            told.append(f"compared with the champion on {max(rows)} rows that both tested")
        except IncomparableError as reason:
            told.append(f"compared with the champion by the tables of metrics: {reason}")
    bests = {name: rival.best[name].place for name in names if name in rival.best}
    for place in dict.fromkeys(bests.values()):
        its = [name for name, one in bests.items() if one == place]
        if place == rival.place:
            continue
        try:
            from_best |= rivals.drops(place, its, settings)
        except IncomparableError as reason:
            told.append(f"not compared with the best model so far, {place.commit}: {reason}")
    return drops, from_best, told


def read_settings(gate: Any) -> Params:
    """Read params.yaml without keys that this code does not know, with these bounds.

    Raises:
        UserError: a setting is missing or not allowed.
    """
    content = revisions.parse_yaml(PARAMS.read_text("utf-8")) | {"gate": gate}
    try:
        return params.parse(Params, _known(content, Params))
    except ValueError as error:
        raise UserError(f"{PARAMS.as_posix()}: {error}") from None


def _known(content: Any, kind: Any) -> Any:
    if kind == params.Gate and isinstance(content, Mapping):
        return {metric: _known(bound, Bound) for metric, bound in content.items()}
    is_section = isinstance(kind, type) and issubclass(kind, Section)
    if not is_section or not isinstance(content, Mapping):
        return content
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {key: _known(content[key], fields[key]) for key in content if key in fields}


def find_loosened(revision: str, place: Place | None) -> list[Loosened]:
    """List what makes the judgement less strict, with the reasons given for it.

    Args:
        revision: what the change is to; its files are compared.
        place: where the settings are compared with; None if there is nothing yet.
    """
    if place is None or not revisions.exists(revision):
        return []
    old = [revisions.parse_yaml(text or "") for text in _texts(place)]
    new = [revisions.parse_yaml(path.read_text("utf-8") if path.exists() else "") for path in READ]
    changed = git("diff", "--name-only", "--relative", "--no-renames", "-z", revision).split("\0")
    others = git("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    raw = str((new[0].get("data") or {}).get("raw"))
    settings = loosened.settings(old[0], new[0])
    found = reasons.all_of(
        settings,
        loosened.schema(old[1], new[1]),
        reasons.split(_hashes(old[3]), _hashes(new[3]), raw, TEST.as_posix())
        if not any(one.what.startswith(("data.", "prepare.")) for one in settings)
        else (),
        reasons.code([*filter(None, changed), *filter(None, others)], _deps(old[2])),
    )
    return reasons.explain(found, old[4], new[4])


READ = (PARAMS, SCHEMA, DVC_YAML, DVC_LOCK, REASONS)


def _texts(place: Place) -> list[str | None]:
    return read_all([place.path(path.as_posix()) for path in READ])


def _hashes(lock: dict[str, Any]) -> dict[str, str]:
    stages = pipeline.stages_of(lock).values()
    return {path: md5 for stage in stages for path, md5 in (stage.deps | stage.outs).items()}


def _deps(declared: dict[str, Any]) -> dict[str, list[str]]:
    return {name: stage.get("deps", []) for name, stage in declared.get("stages", {}).items()}


def place_of(revision: str) -> Place | None:
    """Return the project as a revision holds it; None where there is no such revision."""
    if not revisions.exists(revision):
        return None
    return Place(git("rev-parse", revision + "^{commit}"), git("rev-parse", "--show-prefix"))


def main() -> int:
    """Judge the metrics of this run, write the verdicts for the report, print the table."""
    parser = argparse.ArgumentParser(description="Stop a model that falls behind the champion.")
    parser.add_argument("revision", help="a commit or branch; empty if there is none")
    # On main what is less strict than the champion's must stay explained, whatever came between.
    parser.add_argument("--main", action="store_true", help="judge a push to main")
    chosen = parser.parse_args()
    try:
        status = judge(chosen.revision, main=chosen.main)
    except UserError as error:
        state.note(problem=str(error))
        raise
    state.note(judged="" if status else files.md5(PROVENANCE))
    return status


def judge(revision: str, *, main: bool = False) -> int:
    """Do what `main` does, for the champion of a revision.

    Args:
        revision: main's commit or branch; empty if there is none.
        main: whether this is a run of main itself.
    """
    provenance.require()
    known = confirmed.find(revision)
    rival, told = known.champion, [known.told] if known.told else []
    place = rival.place if rival and main else place_of(revision)
    found = find_loosened(revision, place)
    state.note(loosened=found, champion=rival.commit if rival else "")
    old, *_ = _texts(place) if place else [None]
    gate, before = (revisions.parse_yaml(text or "").get("gate") or {}
                    for text in (PARAMS.read_text("utf-8"), old))  # fmt: skip
    settings = read_settings(loosened.tightest(gate, before, found))
    metrics = verdicts.read_metrics()
    bounds = raise_accuracy(settings.gate, os.environ.get("MIN_ACCURACY"))
    large, left_out = slices.to_judge(SLICES, bounds, settings.evaluate.slice_rows)
    if rival:
        print(f"the champion's metrics are those of {rival.commit}")
        drops, from_best, compared = compare(rival, settings)
        judged = verdicts.judge(metrics, bounds, rival.metrics, drops, from_best, large)
        told += compared
    else:
        told.append("no champion: this is the first model")
        judged = verdicts.judge(metrics, bounds, slices=large)
    print(*told, sep="\n")
    status = verdicts.announce(judged, state.compared(), told, left_out)
    return refuse_unexplained(found) or status


def refuse_unexplained(found: list[Loosened]) -> int:
    """Say what is less strict; return 1 if a reason is lacking where one is needed, else 0."""
    for one in found:
        print(f"less strict: {one}{f' (because: {one.reason})' if one.reason else ''}")
    if lacking := [one for one in found if one.unexplained]:
        what = "; ".join(map(str, lacking))
        problem = f"less strict without a reason: {what}. Add to {REASONS.as_posix()}: "
        problem += ", ".join(f"`{one.what}: why`" for one in lacking)
        state.note(problem=problem)
        print(f"error: {errors.plain(problem)}")
        return 1
    return 0


if __name__ == "__main__":
    errors.run(main, status=2)
