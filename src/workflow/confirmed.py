"""Champions that main itself confirmed: their predictions give the metrics that Git holds.

Main pushes a model's predictions only after its own run has made them, judged them and compared the
metrics with those in Git; a pull request pushes nothing. So metrics that were forged on a commit
where main's run ended red have no predictions on the remote, or others. Whoever can write to the
remote can put predictions there: its keys are main's alone.
"""

import math
from dataclasses import dataclass

from src.shared import champion, predictions, revisions
from src.shared.champion import Champion
from src.shared.errors import UserError
from src.shared.measure import headline
from src.shared.paths import DVC_LOCK, PARAMS
from src.workflow import rivals
from src.workflow.rivals import IncomparableError

LOOKED_AT = 5  # models whose predictions are asked for before Git's word is taken


@dataclass(frozen=True)
class Found:
    """The champion, if there is one, and in words how far main confirmed it."""

    champion: Champion | None
    told: str = ""


def find(revision: str) -> Found:
    """Find the last model on a branch that main confirmed.

    Args:
        revision: where the branch ends; as for `champion.find`.

    Raises:
        UserError: there are models, but none that can be the champion.
    """
    first: Champion | None = None
    unknown: list[str] = []
    told: list[str] = []
    wrong: set[str] = set()
    while len(wrong) < LOOKED_AT:
        try:
            found = champion.find(revision, wrong)
        except UserError:
            if not first and not wrong:
                raise
            break
        if not found:
            return Found(None)
        forged = [one for one in _bests(found) if confirm(one) is False]
        if forged:
            wrong |= {one.commit for one in forged}
            continue
        word = confirm(found)
        if word is True:
            return Found(found, _told(unknown, told))
        if word is None:
            first = first or found
            unknown.append(found.commit[:10])
        else:
            told.append(f"not the champion: {found.commit[:10]}, whose predictions give other "
                        "metrics than it holds")  # fmt: skip
        wrong.add(found.commit)
    if first:
        note = f"compared with {first.commit[:10]}, which is taken on Git's word alone: "
        return Found(first, note + _told(unknown, told))
    raise UserError(f"no champion that main confirmed: {'; '.join(told)}; run main's workflow")


def _told(unknown: list[str], told: list[str]) -> str:
    lacking = [f"nobody has the predictions of {', '.join(unknown)}"] if unknown else []
    return "; ".join(lacking + told)


def _bests(found: Champion) -> list[Champion]:
    """Return the models that were better than the champion, each with the metric that says so."""
    return [
        Champion(best.place, {name: best.value})
        for name, best in found.best.items()
        if best.place != found.place
    ]


def confirm(found: Champion) -> bool | None:
    """Tell whether a model's predictions give the metrics in Git; None if nobody has them."""
    settings = revisions.read_yaml_at(found.place, PARAMS)
    data = settings.get("data") or {}
    try:
        md5 = rivals.predictions_of(revisions.read_yaml_at(found.place, DVC_LOCK))
        table = predictions.read(rivals.fetch(md5))
    except IncomparableError:
        return None
    if table is None:
        return None
    task, positive = str(settings.get("task")), data.get("positive")
    again = headline(predictions.as_predictions(table, task, positive))
    both = found.metrics.keys() & again.keys()
    return bool(both) and all(_same(found.metrics[name], again[name]) for name in both)


def _same(one: object, other: float) -> bool:
    return isinstance(one, int | float) and math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
