"""A record is moved into a bucket of a real S3 server and read there, with DVC's settings."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from src.monitoring import collect
from src.shared import record
from src.shared.errors import UserError
from tests.s3 import serve_s3


def test_into_a_bucket_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, here, project = tmp_path / "s3", tmp_path / "here", tmp_path / "project"
    for path in (folder / "bucket", here, project / ".dvc"):
        path.mkdir(parents=True)
    rows = pa.table(
        {
            "request_id": ["a", "b"],
            "row": pa.array([0, 0], pa.int32()),
            "time": pa.array([datetime(2026, 11, 25, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "model": ["m"] * 2,
            "rows": [{"size": 1.0}] * 2,
            "prediction": ["yes"] * 2,
            "refused": pa.nulls(2, pa.string()),
        }
    )
    names = [record.write(here, rows.slice(at, 1), "0" * 12, at).name for at in (0, 1)]
    monkeypatch.chdir(project)
    with serve_s3(folder) as server:
        # Endpoint and keys are those of the remote in that bucket, from DVC's own settings.
        remote = "['remote \"storage\"']\n"
        (project / ".dvc/config").write_text(f"{remote}url = s3://bucket/dvc\n")
        (project / ".dvc/config.local").write_text(
            f"{remote}endpointurl = {server.endpoint}\n"
            f"access_key_id = {server.key}\nsecret_access_key = {server.secret}\n"
        )
        assert collect.collect(str(here), "s3://bucket/record")[0] == 2
        assert list(here.iterdir()) == []
        assert sorted(path.name for path in (folder / "bucket/record").iterdir()) == names
        assert [table["request_id"].to_pylist() for table in record.read("s3://bucket/record")] == [
            ["a"],
            ["b"],
        ]
        assert collect.collect("s3://bucket/record", str(here))[0] == 2
        assert collect.collect(str(here), "s3://bucket/record")[0] == 2  # once more, as it was
        with pytest.raises(UserError, match=r"^s3://nothing.*cannot be reached"):
            list(record.read("s3://nothing/record"))
        with pytest.raises(UserError, match="FROM and TO are the same folder"):
            collect.collect("s3://bucket/record", "s3://bucket/record/")
