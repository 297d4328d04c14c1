"""`make experiments`: DVC's experiments in this clone with the gate's verdict, the best first.

All that stands there Git holds at each experiment's commit, so that a candidate which the gate
would reject is seen with its metrics as well. docs/experiments.md says how to run experiments.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from src.metrics import better
from src.shared import errors, params, pipeline, revisions, slices
from src.shared.errors import plain
from src.shared.git import git, read_all
from src.shared.loosened import flat
from src.shared.params import Bound
from src.shared.paths import DVC_LOCK, INTERVALS, METRICS, PARAMS, SLICES, TEST, TRAINING
from src.shared.revisions import Place
from src.shared.verdicts import Verdict, judge

WIDTH = 80
HEAD = ("experiment", "what differs", "judged metrics (95 % interval)")
HOW = "dvc exp run --temp -S KEY=VALUE evaluate"

# DVC keeps an experiment below the commit that it starts from, in two parts.
REF = re.compile(r"(\w+) refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")

# Files whose change is a change of the experiment, beside the settings.
CODE = (":(glob)src/**", "dvc.yaml", "data/schema.yaml", ":(glob)data/*.dvc")


@dataclass(frozen=True)
class Saved:
    """What Git holds of an experiment.

    Attributes:
        name: the experiment's, or that of the commit to compare with.
        place: its commit.
        settings: params.yaml.
        lock: dvc.lock.
        metrics: what evaluate measured; None where that is of other settings or other code.
        intervals: for each metric its `low` and `high` end.
        slices: those that evaluate measured.
    """

    name: str
    place: Place
    settings: dict[str, Any]
    lock: dict[str, Any]
    metrics: dict[str, Any] | None
    intervals: dict[str, Any]
    slices: list[slices.Slice]

    @property
    def test_split(self) -> str | None:
        """The hash of the rows that it was measured on."""
        return pipeline.made(self.lock, TEST)


def listed() -> list[tuple[str, str]]:
    """Return the name and the commit of each experiment in this clone, the oldest first."""
    lines = git(
        "for-each-ref", "--sort=committerdate", "--format=%(objectname) %(refname)", "refs/exps"
    ).splitlines()
    return [(found[2], found[1]) for line in lines if (found := REF.fullmatch(line))]


def read(name: str, commit: str) -> Saved:
    """Read what Git holds of an experiment."""
    place = Place(commit, git("rev-parse", "--show-prefix"))
    paths = [path.as_posix() for path in (PARAMS, DVC_LOCK, METRICS, INTERVALS, SLICES)]
    texts = read_all([place.path(path) for path in paths])
    settings, lock = (revisions.parse_yaml(text or "") for text in texts[:2])
    metrics, intervals, sliced = (_json(text) for text in texts[2:])
    measured = isinstance(metrics, dict) and is_recorded(place, lock, settings)
    try:
        known = slices.parse(sliced)
    except ValueError:
        known = []
    return Saved(
        name,
        place,
        settings,
        lock,
        metrics if measured else None,
        intervals if isinstance(intervals, dict) else {},
        known,
    )


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def is_recorded(place: Place, lock: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Tell whether the metrics at a commit are of its own settings, code and data.

    They are not where an experiment stopped before evaluate or was saved without a run: then the
    files are those of the commit that it started from.

    Args:
        place: the commit.
        lock: dvc.lock there.
        settings: params.yaml there.
    """
    known = pipeline.stages_of(lock)
    maker = next((name for name, one in known.items() if METRICS.as_posix() in one.outs), None)
    if maker is None:
        return False
    needed = _needed(known, maker)
    run_with = [
        lock["stages"][name].get("params", {}).get(PARAMS.as_posix(), {}) for name in needed
    ]
    # `dvc exp save` records whatever is there; what train ran with only train itself knows.
    [trained] = read_all([place.path((TRAINING / "params.yaml").as_posix())])
    own = revisions.parse_yaml(trained or "")
    run_with.append({f"train.{key}": own[key] for key in own.keys() & settings.get("train", {})})
    here = flat(settings)
    return all(
        flat(value, key) == _below(here, key) for one in run_with for key, value in one.items()
    ) and _files_agree(place, [known[name] for name in needed])


def _files_agree(place: Place, stages: Sequence[pipeline.Stage]) -> bool:
    """Tell whether dvc.lock records one hash of each file, and that of the file in Git."""
    held: dict[str, set[str]] = {}
    for stage in stages:
        for path, md5 in (stage.deps | stage.outs).items():
            held.setdefault(path, set()).add(md5)
    files = [path for path, [md5, *_] in held.items() if not md5.endswith(".dir")]
    for path, text in zip(files, read_all([place.path(path) for path in files]), strict=True):
        if text is not None:  # DVC keeps the others
            held[path].add(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
    return all(len(hashes) == 1 for hashes in held.values())


def _needed(known: dict[str, pipeline.Stage], last: str) -> list[str]:
    """Return a stage and all that it depends on."""
    needed = [last]
    for name in reversed(known):  # each stage stands after those that it depends on
        if any(known[name].outs.keys() & known[one].deps.keys() for one in needed):
            needed.append(name)
    return needed


def _below(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the settings that a key stands for: its own value, or those of its section."""
    return {
        name: value for name, value in settings.items() if name == key or name.startswith(f"{key}.")
    }


def differences(here: Saved, there: Saved) -> Iterator[str]:
    """Yield what differs in an experiment from the commit to compare with, in words."""
    old, new = flat(here.settings), flat(there.settings)
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            value = "-" if new.get(name) is None else new[name]
            yield plain(f"{name.removeprefix('train.arguments.')}: {value}")
    names = ("diff", "--name-only", "--relative", here.place.commit, there.place.commit, "--")
    changed = git(*names, *CODE).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        yield plain(f"{changed[0]}{more}")


def verdicts_of(one: Saved, bounds: dict[str, Bound], fewest: int) -> list[Verdict]:
    """Return what the gate says of an experiment, whichever bounds it was run with.

    Args:
        one: the experiment.
        bounds: those of params.yaml as it is here.
        fewest: the least rows of a slice that is judged.
    """
    return judge(one.metrics or {}, bounds, slices=slices.enough(one.slices, fewest)[0])


def rank(verdicts: Sequence[Verdict]) -> tuple[bool, bool, float]:
    """Return what orders experiments: the best first by the first metric, the rejected ones last.

    Args:
        verdicts: what the gate says of an experiment.
    """
    first = verdicts[0]
    way = better(first.metric) or ("lower" if first.min is None else "higher")
    value = first.value or 0.0
    rejected = not all(verdict.passed for verdict in verdicts)
    return rejected, first.value is None, -value if way == "higher" else value


def judged_lines(one: Saved, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield each metric with a bound, with its interval, and the verdict."""
    width = max(len(verdict.metric) for verdict in verdicts)
    for verdict in verdicts:
        ends = one.intervals.get(verdict.metric, {})
        low, high = ends.get("low"), ends.get("high")
        value = "-" if verdict.value is None else f"{verdict.value:.4g}"
        interval = "" if low is None or high is None else f" ({low:.4g} to {high:.4g})"
        yield f"{verdict.metric:{width}} {value}{interval}"
    wrong = [f"{one.metric} {one.reason}" for one in verdicts if not one.passed]
    yield f"REJECTED: {'; '.join(wrong)}" if wrong else "passed"


def table(rows: Sequence[Sequence[Iterable[str]]]) -> Iterator[str]:
    """Yield the lines of a table that is at most WIDTH wide.

    Args:
        rows: for each row, the head first, the lines of each of its three cells.
    """
    longest = [max(len(line) for row in rows for line in row[at]) for at in range(3)]
    name, middle = min(longest[0], 16), min(longest[1], 24)
    last = min(longest[2], WIDTH - name - middle - 4)
    widths = (name, WIDTH - name - last - 4, last)
    for row in rows:
        cells = [
            [part for line in cell for part in wrap(line, width, subsequent_indent="  ")]
            for cell, width in zip(row, widths, strict=True)
        ]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (f"{part:{width}}" for part, width in zip(parts, widths, strict=True))
            yield "  ".join(padded).rstrip()
        yield ""


def report() -> Iterator[str]:
    """Yield the lines of the table, and what to think of it."""
    settings = params.load()
    found = [read(name, commit) for name, commit in listed()]
    if not found:
        yield f"no experiments in this clone yet; run one: `{HOW}`"
        return
    branch, commit = git("rev-parse", "--abbrev-ref", "HEAD"), git("rev-parse", "HEAD")
    here = read(branch if branch != "HEAD" else commit[:7], commit)
    split = next((one.test_split for one in (here, *found[::-1]) if one.metrics), None)
    shown = [one for one in (here, *found) if one.metrics and one.test_split == split]
    judged = [(one, verdicts_of(one, settings.gate, settings.evaluate.slice_rows)) for one in shown]
    rows = [[[title] for title in HEAD]]
    for one, verdicts in sorted(judged, key=lambda pair: rank(pair[1])):
        changed = ["(the commit here)"] if one is here else list(differences(here, one))
        rows.append([[plain(one.name)], changed or ["nothing"], [*judged_lines(one, verdicts)]])
    yield from table(rows)
    yield from advice(len([one for one in shown if one is not here]))
    for one in found:
        if one not in shown:
            why = "another test split" if one.metrics else "not run up to evaluate"
            yield f"not shown: {plain(one.name)} ({why})"


def advice(count: int) -> list[str]:
    """Return in words what a choice among so many experiments means."""
    return wrap(
        f"Experiments compared on this test split: {count}. The best of several is partly luck, so "
        "its metrics above are too good. Rows that came later, or a test split that nothing was "
        "compared on, say how good it really is.",
        WIDTH,
    )


def main() -> None:
    """Print the table."""
    for line in report():
        print(line)


if __name__ == "__main__":
    errors.run(main)
