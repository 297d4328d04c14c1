"""`make report`: what the last run made, beside the champion, in report/report.md and report.html.

It is written from whatever is there, so that a run that stopped half-way has one as well.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from src.shared import (
    champion,
    errors,
    files,
    loosened,
    pipeline,
    plots,
    revisions,
    slices,
    wording,
)
from src.shared.champion import Champion
from src.shared.errors import UserError
from src.shared.loosened import Loosened
from src.shared.page import (
    Block,
    Heading,
    Markdown,
    Mood,
    Table,
    code,
    escape,
    say,
    to_html,
    to_markdown,
)
from src.shared.paths import (
    BASELINE,
    CANDIDATES,
    DVC_LOCK,
    INTERVALS,
    METRICS,
    PARAMS,
    REPORT,
    SIDECAR,
    SLICES,
    TEST,
    VALIDATION,
    VERDICTS,
)
from src.shared.sections import (
    LESS_STRICT,
    Measured,
    bound_of,
    bounds_of,
    gain_of,
    loosened_blocks,
    metric_pictures,
    metric_rows,
    part,
    plot_blocks,
    search_blocks,
    setting_blocks,
    slice_blocks,
    stage_blocks,
    text_of,
    validation_blocks,
)
from src.shared.verdicts import Verdict, met_by_baseline

MARKDOWN, HTML = REPORT / "report.md", REPORT / "report.html"


@dataclass(frozen=True)
class Run:
    """What is known of the run besides its files: more on GitHub than on a desk.

    Attributes:
        failed: why it stopped; empty if it did not.
        where: the step that failed.
        trained: whether the pipeline was run to its end.
        notes: what else the reader should know.
        seconds: how long each stage that ran took.
        loosened: what makes the judgement less strict; None where only settings can tell.
        verdicts: the file with the gate's verdicts.
    """

    failed: tuple[str, ...] = ()
    where: str = ""
    trained: bool = True
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    loosened: Sequence[Loosened] | None = None
    verdicts: Path = VERDICTS


def headline(run: Run, verdicts: list[Verdict]) -> Iterator[Block]:
    """Yield the verdict, and why, in one sentence.

    Args:
        run: what is known of the run.
        verdicts: the gate's.
    """
    rejected = [verdict for verdict in verdicts if not verdict.passed]
    if mood(run, verdicts) == "bad":
        where = f" at: {run.where}" if run.where else ""
        yield Heading(f"❌ {'Rejected' if rejected else 'Stopped'}{where}", 1)
        if rejected:
            yield _joined(
                say("{} is {}{}: {}", code(one.metric), text_of(one.value), _asked(one), one.reason)
                for one in rejected
            )
        yield from dict.fromkeys(run.failed)
    elif verdicts:
        yield Heading("✅ Passed", 1)
        yield _passed(verdicts)
    else:
        yield Heading("❔ Not judged", 1)
        yield "The gate has not judged this model."
    if not run.trained and "train" not in run.seconds:
        yield Markdown("**The model was not trained** in this run.")


def mood(run: Run, verdicts: list[Verdict]) -> Mood:
    """Tell whether the run ended well; "open" where nothing is decided."""
    if run.failed or run.where or not all(verdict.passed for verdict in verdicts):
        return "bad"
    return "open" if not verdicts or any(verdict.warning for verdict in verdicts) else "good"


def _joined(texts: Iterable[str], sign: str = "; ") -> Markdown:
    return Markdown(sign.join(map(escape, texts)))


def _asked(verdict: Verdict) -> Markdown:
    bound = bound_of(verdict)
    return Markdown(f" ({bound})" if bound else "")


def _passed(verdicts: list[Verdict]) -> Markdown:
    """Say in one sentence which bounds were met, and how the model stands beside the champion."""
    bounds = _joined(
        (say("{} ({})", code(one.metric), text_of(one.value)) for one in verdicts), ", "
    )
    met = "its bound" if len(verdicts) == 1 else f"all {len(verdicts)} bounds"
    told = [say("The model meets {}: {}", met, bounds)]
    drops = [(one.metric, one.drop) for one in verdicts if one.drop and not one.warning]
    if drops:
        against = _joined(
            (say("{} {}", code(name), gain_of(-drop.estimate)) for name, drop in drops),
            ", ",
        )
        rows = max(drop.rows for _, drop in drops)
        told.append(say("beside the champion, on {} rows that both tested: {}", rows, against))
    told += [
        say("{} needs a look: {}", code(one.metric), one.warning) for one in verdicts if one.warning
    ]
    return Markdown(f"{_joined(told)}.")


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty if there is none.

    Raises:
        UserError: it is not JSON, or holds no names and values.
    """
    if not path.exists():
        return {}
    content = files.read_json(path, "run `dvc repro -f`")
    if not isinstance(content, dict):
        raise UserError(f"{path.as_posix()}: not what the pipeline writes")
    return content


def _read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file; empty if there is none."""
    return list(csv.DictReader(path.read_text("utf-8").splitlines())) if path.exists() else []


def read_verdicts(path: Path) -> list[Verdict]:
    """Read what the gate wrote; nothing if it has not judged.

    Raises:
        UserError: the file is not what the gate writes.
    """
    if not path.exists():
        return []
    try:
        content = files.read_json(path, "run `dvc repro -f gate`")
        return msgspec.convert(content["verdicts"], list[Verdict])
    except (TypeError, KeyError, msgspec.ValidationError):
        raise UserError(f"{path.as_posix()}: not what the gate writes") from None


def compose(revision: str, run: Run) -> tuple[list[Block], Mood]:
    """Return the whole report, as blocks. What is missing or malformed costs its own part only.

    Args:
        revision: the champion's branch or commit.
        run: what is known of the run.
    """
    verdicts: list[Verdict] = []
    notes: list[str] = []
    try:
        verdicts = read_verdicts(run.verdicts)
        told = _read(run.verdicts).get("notes")
        notes = list(map(str, told)) if isinstance(told, list) else []
    except (UserError, OSError) as error:
        run = replace(run, failed=(*run.failed, str(error)))
    rival, unknown = _find_champion(revision)
    settings = partial(_settings, rival, revision)
    commit = rival.commit if rival else ""
    parts = [
        part("❌ Stopped", lambda: headline(run, verdicts), 1),
        part(LESS_STRICT, lambda: loosened_blocks(_loosened(run, *settings()))),
        run.notes,
        part("Metrics", lambda: metric_blocks(rival, unknown, verdicts, notes)),
        part("Search", lambda: search_blocks(_read_table(CANDIDATES))),
        part("Plots", lambda: [Heading("Plots"), *plot_blocks(plots.read_plots(commit))]),
        part(
            "Slices", lambda: slice_blocks(slices.read(SLICES) if SLICES.exists() else [], verdicts)
        ),
        part("Validation", lambda: validation_blocks(_read(VALIDATION))),
        part("Parameters", lambda: setting_blocks(*settings())),
        part("Stages", lambda: stage_blocks(run.seconds)),
    ]
    return [block for blocks in parts for block in blocks], mood(run, verdicts)


def _find_champion(revision: str) -> tuple[Champion | None, str]:
    """Return the champion if there is one, and why that is not known, if so."""
    try:
        return champion.find(revision), ""
    except Exception as error:  # whatever its commits hold
        return None, str(error) or type(error).__name__


def _settings(rival: Champion | None, revision: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the champion, or else of the revision, and those of this run."""
    if rival:
        return revisions.read_yaml_at(rival.place, PARAMS), _parse(PARAMS)
    return revisions.read_yaml(revision, PARAMS.as_posix()), _parse(PARAMS)


def _parse(path: Path) -> dict[str, Any]:
    """Read a YAML file.

    Raises:
        UserError: it is missing, or is not a mapping.
    """
    try:
        content = revisions.parse_yaml(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        content = {}
    if not content:
        raise UserError(f"{path.as_posix()}: missing, or not YAML with keys")
    return content


def _loosened(run: Run, old: dict[str, Any], new: dict[str, Any]) -> Sequence[Loosened]:
    """Return what a run has found; on a desk the settings alone are compared."""
    return loosened.settings(old, new) if run.loosened is None else run.loosened


def metric_blocks(
    rival: Champion | None,
    unknown: str,
    verdicts: list[Verdict],
    notes: Sequence[str] = (),
) -> Iterator[Block]:
    """Yield the metrics beside the champion's.

    Args:
        rival: the champion, if there is one.
        unknown: why nobody knows of one.
        verdicts: the gate's.
        notes: how this model was compared with the champion.
    """
    yield Heading("Metrics")
    if unknown:
        yield f"The champion is not known: {unknown}"
    elif rival is None:
        yield "There is no champion yet: this is the first model."
    else:
        yield say("The champion is the model of commit {}.", code(rival.commit[:10]))
        if notes:
            said = (f"this model was {one}" if one.startswith("compared") else one for one in notes)
            yield from (f"{one[:1].upper()}{one[1:]}." for one in said)
        elif _test_split(revisions.read_yaml_at(rival.place, DVC_LOCK)) != _test_split(
            pipeline.read_lock()
        ):
            yield "It was measured on another test split, so the change is not exact."
    baseline = _read(BASELINE)
    known = Measured(
        _read(METRICS),
        rival.metrics if rival else {},
        _read(INTERVALS),
        baseline,
        verdicts,
        bounds_of(_parse(PARAMS).get("gate")) if any(one.drop for one in verdicts) else {},
    )
    yield from part("Both models side by side", lambda: metric_pictures(known), 3)
    head = ("metric", "this run", "95 % interval", "baseline", "champion", "change", "bound")
    yield Table((*head, "verdict"), metric_rows(known))
    yield "Baseline: the best of always the same answer, learned from the train split's target."
    methods = (one.get("method") for one in known.intervals.values())
    told = wording.of_sets(methods), wording.of_sample(_read(SIDECAR).get("rows"))
    yield from filter(None, told)
    if any(one.drop for one in verdicts):
        yield (
            "Beside a verdict: the difference from the champion on the rows that both tested, with "
            "its 90 % interval; below 0 is worse."
        )
    yield from (f"⚠️ {warning}" for warning in met_by_baseline(verdicts, baseline))


def _test_split(locked: dict[str, Any]) -> str | None:
    stage = pipeline.stages_of(locked).get("evaluate")
    return stage.deps.get(TEST.as_posix()) if stage else None


def write(revision: str, run: Run) -> None:
    """Write the report as Markdown and as HTML.

    Args:
        revision: the champion's branch or commit.
        run: what is known of the run.
    """
    blocks, how = compose(revision, run)
    texts = to_markdown(blocks), to_html(blocks, "Report", how)
    with files.replacing(MARKDOWN, HTML) as drafts:
        for draft, text in zip(drafts, texts, strict=True):
            draft.write_bytes(text.encode("utf-8", errors="replace"))
    print(f"{MARKDOWN.as_posix()}\n{HTML.as_posix()}")


def main() -> None:
    """Report on what is here now, beside the main branch."""
    write(revisions.find_main(), Run())


if __name__ == "__main__":
    errors.run(main)
