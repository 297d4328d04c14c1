"""Records for the tests: what the service would have kept of rows that it answered."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from src.shared import record, sidecar
from src.shared.model import answers, load_model
from src.shared.paths import MODEL, SIDECAR, TRAIN
from src.shared.tables import read_split

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def train_rows(rows: int, seed: int = 0) -> pd.DataFrame:
    """Draw rows like those of the train split, each value by itself, so that rows are new."""
    random, frame = np.random.default_rng(seed), read_split(TRAIN)
    drawn = {name: frame[name].to_numpy()[random.integers(len(frame), size=rows)] for name in frame}
    return pd.DataFrame(drawn).convert_dtypes()


def put(
    folder: Path,
    frame: pd.DataFrame,
    day: datetime,
    *,
    model: str = "",
    refused: int = 0,
    name: str = "",
) -> list[str]:
    """Write a file of a record: rows that came over the first half of a day, one in each request.

    Args:
        folder: the record.
        frame: the rows.
        day: when the first one came.
        model: the hash to note, where it is not that of the model that is here.
        refused: how many requests were refused besides.
        name: with which the requests' ids begin; by itself the day.

    Returns:
        The request ids of the rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = sidecar.parse(SIDECAR)
    names = [one.name for one in known.features]
    said = answers(load_model(MODEL, known), frame[names], known.task)
    rows: list[Any] = [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in frame[[*names, *(one for one in known.key if one in frame)]].to_dict("records")
    ]
    ids = [f"{name or day.date()}-{at}" for at in range(len(rows) + refused)]
    predicted = [one["value"] if "value" in one else str(one["class"]) for one in said]
    nothing = [None] * refused
    table = pa.table(
        {
            "request_id": ids,
            "row": [0] * len(ids),
            "time": [day + at * DAY / 2 / len(ids) for at in range(len(ids))],
            "model": [model or known.model.sha256] * len(ids),
            "rows": rows + nothing,
            "prediction": predicted + nothing,
            "probabilities": [one.get("probabilities") for one in said] + nothing,
            "refused": [None] * len(rows) + ["wrong fields"] * refused,
        },
        schema=record.schema(known),
    )
    record.write(folder, table, "0123456789ab", len(list(folder.iterdir())))
    return ids[: len(rows)]
