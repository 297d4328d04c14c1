"""`make predict INPUT=rows.csv OUTPUT=scores.parquet`: score a table with the model that Git names.

The table is read block by block, so it may be larger than memory. Exit status: 0 all rows are
scored, 1 some are not (they stand in OUTPUT's `.rejected.csv`), 2 nothing is written.
"""

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from joblib import cpu_count
from tqdm import tqdm

from src.shared import batches, errors, files, released, sidecar
from src.shared.batches import Batch, Rejected
from src.shared.errors import UserError, plain
from src.shared.model import load_model, outputs, require_versions
from src.shared.paths import DVC_LOCK, MODEL, SIDECAR
from src.shared.predictions import PREDICTED, PROBABILITY
from src.shared.sidecar import Sidecar
from src.shared.wording import counted

ROW, FILE = "row", "file"
SUFFIXES = (".parquet", ".csv")
MOST = 8  # batches that are scored at a time, as each is held in memory


def score(
    model: Any, batch: Batch, known: Sidecar
) -> tuple[np.ndarray, dict[str, Any], list[Rejected]]:
    """Score the rows of a batch.

    Args:
        model: a fitted pipeline.
        batch: rows whose fields were read.
        known: the model's sidecar.

    Returns:
        Which rows were scored, shape (rows,) of booleans; for these the columns `predicted`, and
        `probability_CLASS` where the model has probabilities; and the rows that the model refused.
    """
    scored, found, refused = np.ones(len(batch.rows), dtype=bool), [], []
    for part in _parts(model, batch.frame, np.arange(len(batch.rows)), known.task):
        if isinstance(part, int):
            scored[part] = False
            reason = "the model cannot take these values, or gives no finite value for them"
            refused.append(Rejected(batch.file, int(batch.rows[part]), "", "", reason))
        else:
            found.append(part)
    if not found:
        return scored, {}, refused
    columns: dict[str, Any] = {PREDICTED: np.concatenate([part[0] for part in found])}
    if found[0][1] is not None:
        shares = np.concatenate([part[1] for part in found])
        for label, share in zip(model.classes_.tolist(), shares.T, strict=True):
            columns[f"{PROBABILITY}{label}"] = share
    return scored, columns, refused


def _parts(model: Any, frame: pd.DataFrame, at: np.ndarray, task: str) -> Iterator[Any]:
    """Yield what the model answers to rows, in their order; for one that it refuses, its place."""
    if not len(at):
        return
    rows = frame if len(at) == len(frame) else frame.iloc[at]  # mostly all, which is no copy
    try:
        predicted, shares = outputs(model, rows, task)
        if predicted.dtype.kind != "f" or np.isfinite(predicted).all():
            yield predicted, shares
            return
    except (ValueError, OverflowError):  # of scikit-learn, for the whole frame
        pass
    if len(at) == 1:
        yield int(at[0])
        return
    yield from _parts(model, frame, at[: len(at) // 2], task)
    yield from _parts(model, frame, at[len(at) // 2 :], task)


class Writer:
    """The tables of scores and of rejected rows, written as they come."""

    def __init__(self, scores: Path, rejected: Path, suffix: str) -> None:
        """Take the files to write, and what OUTPUT's name ends with."""
        self.path, self.suffix = scores, suffix
        self.table: Any = None
        self.schema: pa.Schema | None = None
        self.file = rejected.open("w", encoding="utf-8", newline="")
        self.lines = csv.writer(self.file)
        self.lines.writerow([FILE, ROW, "column", "value", "reason"])
        self.scored, self.rejected = 0, 0

    def write(self, columns: dict[str, Any]) -> None:
        """Add scored rows."""
        table = pa.table(columns)
        if self.schema is None:
            self.schema = table.schema
            make = {".csv": pa.csv.CSVWriter, ".parquet": pa.parquet.ParquetWriter}[self.suffix]
            self.table = make(self.path, self.schema)
        try:
            self.table.write_table(table.cast(self.schema))
        except (ValueError, pa.ArrowNotImplementedError) as error:  # other names or types
            reason = str(error).splitlines()[0]
            raise UserError(f"the files of INPUT hold different columns: {reason}") from None
        self.scored += len(table)

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Add rows that are not scored."""
        for row in rows:
            self.lines.writerow(astuple(row))
            self.rejected += 1

    def close(self) -> None:
        """Finish both files."""
        self.file.close()
        if self.table is not None:
            self.table.close()


def at_once(model: Any) -> int:
    """Return how many batches a model may score at a time.

    One where the estimator, or one inside of it, is not scikit-learn's: whether others may be asked
    from several threads is not known.
    """
    inside = [one for one in model[-1].get_params().values() if hasattr(one, "get_params")]
    own = all(type(one).__module__.startswith("sklearn.") for one in [model[-1], *inside])
    return min(cpu_count(), MOST) if own else 1


def score_all(model: Any, known: Sidecar, source: str, writer: Writer) -> Counter[str]:
    """Score a file or a folder of files.

    Returns:
        For each column how many values the train split did not have.
    """
    novel: Counter[str] = Counter()
    found = batches.find(source)
    total = sum(found.sizes)
    with tqdm(total=total, unit="B", unit_scale=True, desc="predict", delay=1, disable=None) as bar:
        parts = batches.read(found, known)
        ask = partial(score, model, known=known)
        for batch, (scored, answers, refused) in batches.answered(parts, ask, at_once(model)):
            writer.reject([*batch.rejected, *refused])
            novel.update(batch.novel)
            if answers:
                file = {FILE: [batch.file] * int(scored.sum())} if len(found.paths) > 1 else {}
                keys = {name: column.filter(pa.array(scored)) for name, column in batch.key.items()}
                writer.write({**file, ROW: batch.rows[scored], **keys, **answers})
            # Not when they are read: that is far ahead of what is done.
            bar.set_postfix_str(f"{writer.scored:,} rows", refresh=False)
            bar.update(batch.size)
        bar.update(total - bar.n)
    return novel


def load(revision: str) -> tuple[Any, Sidecar]:
    """Load the model of this commit, or of a release such as model@v1.0.0.

    Raises:
        UserError: it is not there, or not the one that Git names; nothing is unpickled then.
    """
    if not revision:
        known = sidecar.read(SIDECAR)
        files.require_recorded(MODEL, DVC_LOCK, sidecar.REMEDY)
        require_versions(known.versions)
        return load_model(MODEL, known), known
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (MODEL, SIDECAR):
            released.fetch(revision, path, folder / path.name)
        known = sidecar.parse(folder / SIDECAR.name)
        require_versions(known.versions)
        return load_model(folder / MODEL.name, known), known


def main() -> int:
    """Score the rows of INPUT into OUTPUT, with the model of REVISION or of this commit."""
    source, output = (os.environ.get(name, "") for name in ("INPUT", "OUTPUT"))
    if not source or not output.endswith(SUFFIXES):
        raise UserError(
            "name a table and where its scores go: `make predict INPUT=rows.csv "
            "OUTPUT=scores.parquet` (OUTPUT ends with .parquet or .csv)"
        )
    model, known = load(os.environ.get("REVISION", ""))
    stem = output[: output.rindex(".")]
    refused = f"{stem}.rejected.csv"
    with batches.replacing(output, refused) as (scores, rejected):
        writer = Writer(scores, rejected, output[len(stem) :])
        try:
            novel = score_all(model, known, source, writer)
        finally:
            writer.close()
        if not writer.rejected:
            rejected.unlink()
    print(f"{counted(writer.scored, 'row')} scored: {plain(output)}")
    for name, count in sorted(novel.items()):
        print(f"{plain(name)}: {counted(count, 'value')} that the training data did not have")
    if writer.rejected:
        print(f"{counted(writer.rejected, 'row')} could not be scored, and why: {plain(refused)}")
    return 1 if writer.rejected else 0


if __name__ == "__main__":
    errors.run(main, status=2)
