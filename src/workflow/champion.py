"""The metrics check of the workflow: the gate's bounds, and the champion.

`python -m src.workflow.champion REVISION` judges the metrics as they are now against the last model
up to that revision that passed, and the best one: on the rows that both tested, or else by the
tables of metrics. Exit status: as the gate's.
"""

import argparse
import os

from src.gate import raise_accuracy
from src.shared import champion, errors, params, revisions, slices, verdicts
from src.shared.champion import Champion
from src.shared.params import Params
from src.shared.paths import REPORT, SLICES
from src.shared.verdicts import Drop
from src.workflow import rivals
from src.workflow.rivals import IncomparableError

COMPARED = REPORT / "gate.json"  # this run's alone: what DVC and Git keep holds the bounds


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


def main() -> int:
    """Judge metrics/evaluate/metrics.json, write report/gate.json, print the table."""
    parser = argparse.ArgumentParser(description="Stop a model that falls behind the champion.")
    parser.add_argument("revision", help="a commit or branch; empty if there is none")
    return judge(parser.parse_args().revision)


def judge(revision: str) -> int:
    """Do what `main` does, for the champion of a revision."""
    rival = champion.find(revision)
    settings, metrics = params.load(), verdicts.read_metrics()
    bounds = raise_accuracy(settings.gate, os.environ.get("MIN_ACCURACY"))
    large, left_out = slices.to_judge(SLICES, bounds, settings.evaluate.slice_rows)
    if rival:
        print(f"the champion's metrics are those of {rival.commit}")
        drops, from_best, told = compare(rival, settings)
        judged = verdicts.judge(metrics, bounds, rival.metrics, drops, from_best, large)
    else:
        told = ["no champion: this is the first model"]
        judged = verdicts.judge(metrics, bounds, slices=large)
    print(*told, sep="\n")
    return verdicts.announce(judged, COMPARED, told, left_out)


if __name__ == "__main__":
    errors.run(main, status=2)
