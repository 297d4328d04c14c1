"""A running service against what the pipeline left: `make integration URL=http://host:port`."""

import concurrent.futures
import json
import math
import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.shared import sidecar as sidecars
from src.shared import tables
from src.shared.paths import PREDICTIONS, SIDECAR, TEST
from src.shared.sidecar import Sidecar

BATCH = 200
REQUESTS, CLIENTS = 1_000, 8
Answers = list[dict[str, Any]]


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    """Send a request; give the status and what the answer holds."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the user named the host
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def plain(value: Any) -> Any:
    """Give a value of a table as JSON has it."""
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else value


@pytest.fixture(scope="session")
def sidecar() -> Sidecar:
    return sidecars.read(SIDECAR)


@pytest.fixture(scope="session")
def rows(sidecar: Sidecar) -> list[dict[str, Any]]:
    """The test rows, as a client sends them."""
    names = [feature.name for feature in sidecar.features]
    frame = tables.read_split(TEST, *names)[names].astype("object")
    return [
        {str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")
    ]


def test_predictions_are_those_of_evaluate(base_url, rows):
    kept = tables.read_split(PREDICTIONS)
    assert len(kept) == len(rows)
    answers: Answers = []
    for start in range(0, len(rows), BATCH):
        status, content = ask(f"{base_url}/predict", rows[start : start + BATCH])
        assert status == 200, content
        answers += content["predictions"]
    assert len(answers) == len(rows)
    if "value" in answers[0]:
        values = [answer["value"] for answer in answers]
        np.testing.assert_allclose(values, kept["predicted"], rtol=1e-9)
        return
    assert [answer["class"] for answer in answers] == kept["predicted"].tolist()
    for label in answers[0].get("probabilities", {}):
        said = [answer["probabilities"][label] for answer in answers]
        np.testing.assert_allclose(said, kept[f"probability_{label}"], rtol=1e-9, atol=1e-12)


def test_version_is_this_commit_and_this_model(base_url, sidecar):
    status, version = ask(f"{base_url}/version")
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert (status, version["commit"]) == (200, head)
    assert version["model"] == sidecar.model.sha256
    assert version["libraries"].items() >= sidecar.versions.items()


def test_service_is_ready(base_url):
    assert ask(f"{base_url}/ready") == (200, {"status": "ready"})
    assert ask(f"{base_url}/health") == (200, {"status": "ok"})


@pytest.mark.parametrize("wrong", [{}, [], "text", {"no such field": 1}, [{}, 7]])
def test_bad_input_is_refused(base_url, wrong):
    status, content = ask(f"{base_url}/predict", wrong)
    assert status == 422
    assert "Traceback" not in json.dumps(content)


def test_wrong_field_is_named(base_url, sidecar):
    name = sidecar.features[0].name
    row = sidecar.example.row | {name: {"an": "object"}}
    status, content = ask(f"{base_url}/predict", row)
    assert (status, content["errors"][0]["field"]) == (422, name)


def test_no_request_is_lost(base_url, sidecar, capsys):
    row, expected = sidecar.example.row, sidecar.example.answer
    seconds: list[float] = []
    lock = threading.Lock()

    def send(_: int) -> bool:
        start = time.perf_counter()
        status, content = ask(f"{base_url}/predict", row)
        with lock:
            seconds.append(time.perf_counter() - start)
        (answer,) = content["predictions"]
        return status == 200 and answer.get("class") == expected.get("class")

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        right = sum(pool.map(send, range(REQUESTS)))
    middle, most = sorted(seconds)[REQUESTS // 2], sorted(seconds)[math.ceil(REQUESTS * 0.99) - 1]
    with capsys.disabled():
        print(
            f"\n{right} of {REQUESTS} requests answered right, {CLIENTS} clients: "
            f"median {middle * 1000:.1f} ms, 99th percentile {most * 1000:.1f} ms"
        )
    assert right == REQUESTS
