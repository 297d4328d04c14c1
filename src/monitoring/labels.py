"""Labels that arrive later: joined to the rows that were answered, and what the answers were worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from src.metrics import better
from src.monitoring.asked import REQUEST, ROW, Asked
from src.monitoring.drifts import FALSE_ALARMS
from src.shared import fields, slices, store, tables
from src.shared.errors import UserError
from src.shared.fields import BLANKS, Kind
from src.shared.intervals import intervals
from src.shared.measure import headline
from src.shared.params import Bound, Evaluate
from src.shared.sidecar import Sidecar
from src.shared.slices import Estimate
from src.shared.verdicts import worse


@dataclass(frozen=True)
class Labels:
    """Labels, each once.

    Attributes:
        by: the columns that say of which row each is: REQUEST and ROW, or those of the key.
        table: these columns as texts, and the label as `label`.
        notes: what was left out.
    """

    by: list[str]
    table: pd.DataFrame
    notes: list[str]


def read(address: str, known: Sidecar) -> Labels:
    """Read a table of labels: the target, with `request_id` and `row`, or with the key.

    Args:
        address: a .csv or .parquet file, here or at an s3:// address.
        known: the sidecar of the model: its target, its key, how fields are written.

    Raises:
        UserError: it cannot be read, or does not say which row a label is of.
    """
    folder, _, name = address.replace("\\", "/").rpartition("/")
    with store.reached(address):
        system, path = store.folder(folder or ".")
        if not system.exists(f"{path}/{name}"):
            raise UserError(f"LABELS={address}: no such file")
        content = pa.BufferReader(system.cat_file(f"{path}/{name}"))
    is_csv = name.lower().endswith(".csv")
    try:
        texts = _csv(content, known) if is_csv else _parquet(content)
    except (pa.ArrowException, UnicodeError) as error:
        raise UserError(f"LABELS={address}: cannot be read: {str(error).splitlines()[0]}") from None
    if known.target not in texts:
        raise UserError(f"LABELS={address}: lacks '{known.target}'; it has: {_listed(texts)}")
    by = [REQUEST, ROW] if REQUEST in texts else known.key
    if lacking := [one for one in by if one not in texts and one != ROW] or not by:
        raise UserError(
            f"LABELS={address}: needs {REQUEST} and {ROW}, or the columns of data.key; "
            f"it has: {_listed(texts)}"
        )
    ...
