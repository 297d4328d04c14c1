"""`make monitor RECORD=folder`: compare what the service was asked with training.

Exit status: 0 nothing found, 1 something found, 2 could not decide. It writes report/monitor.md,
report/monitor.html and report/monitor.json. It needs the record, models/model.json and params.yaml,
neither the training data nor Git; data/schema.yaml and metrics/evaluate are used where they are.
"""

import os
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from src.monitoring import gather, labels, windows
from src.monitoring.gather import Record
from src.monitoring.labels import Evaluated, Labels
from src.monitoring.page import MOODS, Comparison, as_json, compose, summary
from src.monitoring.windows import Window
from src.shared import checks, errors, files, params, provenance, record, sidecar, slices
from src.shared.errors import UserError, plain
from src.shared.page import to_html, to_markdown
from src.shared.params import Monitor, Params
from src.shared.paths import (
    DVC_LOCK,
    INTERVALS,
    METRICS,
    MODEL,
    PROVENANCE,
    REPORT,
    SCHEMA,
    SIDECAR,
    SLICES,
    VALIDATION,
)
from src.shared.sidecar import Sidecar
from src.shared.slices import Estimate
from src.shared.wording import counted

MARKDOWN, HTML, JSON = (REPORT / f"monitor.{suffix}" for suffix in ("md", "html", "json"))
WIDTH = 80  # of a terminal


def period(settings: Params, now: datetime) -> tuple[datetime, datetime | None]:
    """Return from when on the record is read, and up to when, if UNTIL says that.

    Args:
        settings: the section monitor.
        now: with a time zone.
    """
    length = windows.length_of(settings.monitor.window)
    since, until = (os.environ.get(name, "") for name in ("SINCE", "UNTIL"))
    end = windows.moment("UNTIL", until, now) if until else None
    begin = (end or now) - windows.WINDOWS * length
    if since:
        begin = windows.moment("SINCE", since, now)
    return windows.floor(begin, length), end


def notes(
    found: Record, judged: Sequence[Window], known: Sidecar, limits: Monitor
) -> Iterator[str]:
    """Say what was not compared, and why.

    Args:
        found: the record.
        judged: its windows.
        known: the sidecar of the model that is here.
        limits: the section monitor of params.yaml.
    """
    for model, rows in found.others.items():
        yield f"Not compared: {rows:,} rows that another model answered ({plain(model)[:12]})."
    if few := [window for window in judged if window.rows and not window.judged]:
        yield (
            f"Not compared: {counted(len(few), 'window')} with fewer rows than monitor.min_rows, "
            f"{limits.min_rows}; a longer monitor.window has more."
        )
    if waiting := len(found.answered) - sum(window.all_rows for window in judged):
        length = windows.length_of(limits.window)
        end = windows.floor(found.times.max().item().replace(tzinfo=UTC), length) + length
        yield (
            f"Not compared yet: {counted(waiting, 'row')} of a window that is not over; it ends at "
            f"{end:%Y-%m-%d %H:%M} UTC, with a shorter monitor.window sooner."
        )
    names = [one.name for one in known.features]
    for which, why in ((known.unrecorded, "not recorded"), (limits.accept, "accepted")):
        if some := [name for name in names if name in which]:
            yield f"Not compared, as they are {why}: {', '.join(some)}."


def evaluated() -> tuple[Evaluated, list[str]]:
    """Return what evaluate measured of the model that is here, and why it is not known, if so."""
    said = "Metrics are judged by their bounds only, as metrics/evaluate is {}."
    if not INTERVALS.exists() or not PROVENANCE.exists():
        return Evaluated(), [said.format("not here")]
    locked = files.recorded(DVC_LOCK) if DVC_LOCK.exists() else {}
    here = files.md5(MODEL) if MODEL.exists() else locked.get(MODEL.as_posix())
    if provenance.read()[MODEL.as_posix()] != here:
        return Evaluated(), [said.format("of another model")]
    ends = files.read_json(INTERVALS, provenance.REMEDY)
    found = {
        name: Estimate(value, ends[name]["low"], ends[name]["high"])
        for name, value in files.read_json(METRICS, provenance.REMEDY).items()
    }
    validated = files.read_json(VALIDATION, provenance.REMEDY) if VALIDATION.exists() else {}
    parts = slices.read(SLICES) if SLICES.exists() else ()
    return Evaluated(found, parts, validated.get("test_rows", 0)), []


def add_labels(
    found: Record, judged: Sequence[Window], given: Labels, settings: Params
) -> Iterator[str]:
    """Judge the windows by labels as well; say what is to be known of that.

    Args:
        found: the record.
        judged: its windows.
        given: the labels.
        settings: the sections evaluate, gate and monitor.
    """
    tested, lacking = evaluated()
    yield from (*given.notes, *lacking)
    labelled = labels.join(found.asked, given) if found.asked else None
    if labelled and len(labelled.times):
        windows.add_labels(judged, labelled, tested, settings)
    rows = len(labelled.times) if labelled else 0
    known = counted(len(given.values), "label")
    yield f"{rows:,} of {known} are of rows in this part of the record."
    measured = {one.metric for window in judged for one in window.metrics}
    if measured and (never := [name for name in settings.gate if name not in measured]):
        yield f"Not measured, as the record does not have what it takes: {', '.join(never)}."
    for name, bound in settings.gate.items():
        then = tested.metrics.get(name)
        if bound.max_drop is not None and then and then.low == then.high:
            yield f"{name} is not compared with the test split, whose rows are too few for that."


def main() -> int:
    """Compare the record with training, write the page, return the status of the verdict."""
    settings, known = params.load(), sidecar.read(SIDECAR)
    source, now = os.environ.get("RECORD", ""), datetime.now(UTC)
    if not source:
        raise UserError("name the record: `make monitor RECORD=folder` (or s3://bucket/folder)")
    if known.reference is None:
        raise UserError(f"{SIDECAR.as_posix()}: holds no reference; {sidecar.REMEDY}")
    since, until = period(settings, now)
    parts = record.read(source, since)
    found = gather.gather(gather.earlier(parts, until) if until else parts, known)
    # By the clock of whoever is ahead: this machine, or the one that wrote the record.
    latest = found.times.max().item().replace(tzinfo=UTC) if len(found.times) else now
    starts = windows.cut(found, since, until or max(now, latest), settings.monitor)
    schema = checks.read_schema(settings.data.drop) if SCHEMA.exists() else None
    judged = windows.judge(found, starts, known.reference, settings.monitor, schema)
    said = list(notes(found, judged, known, settings.monitor))
    if not len(found.times):
        span = f"from {since:%Y-%m-%d %H:%M}" + (f" to {until:%Y-%m-%d %H:%M}" if until else " on")
        said.append(f"{plain(source)} holds no rows {span}, UTC.")
    if address := os.environ.get("LABELS", ""):
        said += add_labels(found, judged, labels.read(address, known), settings)
    comparison = Comparison(known.model.sha256, judged, said)
    write(comparison)
    *lines, verdict = summary(comparison)
    for line in (*lines, f"The page: {HTML.as_posix()}", verdict):
        print(textwrap.fill(plain(line), WIDTH, subsequent_indent="  "))
    return comparison.status


def write(comparison: Comparison) -> None:
    """Write the page as Markdown and as HTML, and what programs read as JSON."""
    blocks = list(compose(comparison))
    page = to_html(blocks, "Monitor", MOODS[comparison.verdict])
    with files.replacing(MARKDOWN, HTML, JSON) as (markdown, html, json):
        for draft, text in ((markdown, to_markdown(blocks)), (html, page)):
            draft.write_bytes(text.encode("utf-8", errors="replace"))
        files.write_json(json, as_json(comparison))


if __name__ == "__main__":
    errors.run(main, status=2)
