"""Tables on a real S3 server are scored as those on a disk are."""

from pathlib import Path

import pandas as pd
import pytest

from src import predict
from src.shared.errors import UserError
from src.shared.paths import PREDICTIONS, TEST
from tests.s3 import serve_s3


def test_from_a_bucket_into_a_bucket(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s3"
    (folder / "bucket/in").mkdir(parents=True)
    rows = pd.read_parquet(TEST)
    rows.to_csv(folder / "bucket/in/a.csv", index=False)
    rows.head(3).to_parquet(folder / "bucket/in/b.parquet", index=False)
    with serve_s3(folder) as server:
        store = server.credentials | {"AWS_ENDPOINT_URL_S3": server.endpoint}
        for name, value in store.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("INPUT", "s3://bucket/in")
        monkeypatch.setenv("OUTPUT", "s3://bucket/out/scores.parquet")
        assert predict.main() == 0
        monkeypatch.setenv("INPUT", "s3://bucket/none.csv")
        with pytest.raises(UserError, match=r"^s3://bucket/none.csv: no .csv or .parquet file"):
            predict.main()
    scores, told = (
        pd.read_parquet(folder / "bucket/out/scores.parquet"),
        pd.read_parquet(PREDICTIONS),
    )
    assert set(scores["file"]) == {"s3://bucket/in/a.csv", "s3://bucket/in/b.parquet"}
    assert scores["predicted"].tolist() == [*told["predicted"], *told["predicted"][:3]]
