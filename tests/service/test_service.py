"""The service on loopback, over real connections, with the small projects' models."""

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import orjson
import pandas as pd
import pytest

from src.service import probe, server
from src.service.app import Limits, Service, commit
from src.service.scoring import Trees
from src.service.server import listen
from src.shared.errors import UserError
from src.shared.model import load_model
from src.shared.paths import MODEL, PREDICTIONS, SIDECAR, TEST
from src.shared.tables import read_split
from tests.projects import STAGES, TABLES, call, make_project, run_stage
from tests.service.clients import CSV, JSON, LIMITS, Client, process, records, serving


@pytest.fixture(scope="module", params=TABLES)
def every(request, tmp_path_factory) -> Iterator[Client]:
    """The service of each task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_project(tmp_path_factory.mktemp("every"), request.param))
        assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
        with serving() as client:
            yield client


@pytest.fixture(scope="module")
def client(trained_once: Path) -> Iterator[Client]:
    """The service of a model with features of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained_once)
        with serving() as client:
            yield client


def compare(answers: list[dict[str, Any]], kept: pd.DataFrame) -> None:
    """Hold answers equal to what evaluate predicted for the same rows."""
    predicted = kept["predicted"].tolist()
    if "value" in answers[0]:
        assert [answer["value"] for answer in answers] == pytest.approx(predicted, rel=1e-12)
        return
    assert [answer["class"] for answer in answers] == predicted
    for label in answers[0]["probabilities"]:
        said = [answer["probabilities"][label] for answer in answers]
        assert said == pytest.approx(kept[f"probability_{label}"].tolist(), rel=1e-12)


def test_predictions_are_those_of_evaluate(every: Client):
    test, kept = read_split(TEST), read_split(PREDICTIONS)
    rows = records(test, every.sidecar)
    compare(every.predict(rows).content["predictions"], kept)
    singles = [every.predict(row) for row in rows[:20]]
    assert {answer.status for answer in singles} == {200}
    compare([answer.content["predictions"][0] for answer in singles], kept.head(20))
    text = pd.DataFrame(rows).to_csv(index=False)
    compare(every.predict(text, CSV).content["predictions"], kept)


def test_a_column_that_is_left_out_is_not_asked_for(project):
    """It is there for the slices; rows as they stand in the raw table are taken with it."""
    left_out = ["colour", "picked"]
    project(train={"leave_out": left_out}, evaluate={"slices": ["colour"]})
    assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
    test, kept = read_split(TEST), read_split(PREDICTIONS)
    assert set(left_out) <= set(test.columns)
    assert kept["slice_colour"].nunique() == 4
    with serving() as client:
        names = [feature.name for feature in client.sidecar.features]
        assert names == ["size", "seeds", "organic"]
        compare(client.predict(records(test, client.sidecar)).content["predictions"], kept)
        compare(client.predict(test.to_csv(index=False), CSV).content["predictions"], kept)
        properties = json.dumps(client.ask("GET", "/openapi.json").content)
        assert not any(f'"{name}"' in properties for name in left_out)


def test_example_of_the_documentation_works_as_it_stands(every: Client):
    described = every.ask("GET", "/openapi.json").content["paths"]["/predict"]["post"]
    example = described["requestBody"]["content"]["application/json"]["example"]
    answer = every.predict(example)
    assert answer.status == 200
    shown = described["responses"]["200"]["content"]["application/json"]["example"]
    assert answer.content == shown
    assert b"swagger" in every.ask("GET", "/docs").content


def test_documentation_says_what_is_answered(client: Client):
    paths = client.ask("GET", "/openapi.json").content["paths"]
    metrics = client.ask("GET", "/metrics").headers["content-type"].partition(";")[0]
    assert list(paths["/metrics"]["get"]["responses"]["200"]["content"]) == [metrics]
    assert set(paths["/ready"]["get"]["responses"]) == {"200", "503"}
    described = paths["/predict"]["post"]
    assert set(described["responses"]) == {"200", "400", "408", "413", "415", "422", "503"}
    assert described["requestBody"]["required"]
    content = described["requestBody"]["content"]
    record, rows = content["application/json"]["schema"]["anyOf"]
    # Neither no body nor no row is valid, and none is answered.
    assert "null" not in record["type"]
    assert (rows["minItems"], content["text/csv"]["schema"]["minLength"]) == (1, 1)
    assert [client.predict(body).status for body in (b"", b"null", b"[]")] == [400, 422, 422]
    assert client.predict(b"", CSV).status == 422


def test_process_model_and_version_are_told(client: Client):
    assert client.ask("GET", "/health").content == {"status": "ok"}
    assert client.ask("GET", "/ready").status == 200
    version = client.ask("GET", "/version").content
    assert version["model"] == client.sidecar.model.sha256
    assert version["metrics"] == json.loads(Path("metrics/evaluate/metrics.json").read_text())
    assert version["libraries"].items() >= client.sidecar.versions.items()


def test_commit_is_the_images_or_that_of_the_folder(finished: Path, tmp_path, monkeypatch):
    monkeypatch.delenv("COMMIT", raising=False)
    monkeypatch.chdir(finished)
    assert commit() == call("git", "rev-parse", "HEAD", folder=finished).out.strip()
    monkeypatch.chdir(tmp_path)
    assert commit() is None
    monkeypatch.setenv("COMMIT", "abc")
    assert commit() == "abc"


def test_requests_predictions_and_rejected_rows_are_counted(client: Client):
    names = [
        'requests_total{path="/predict",status="200"}',
        'requests_total{path="/predict",status="422"}',
        'requests_total{path="other",status="404"}',
        'request_seconds_count{path="/predict"}',
        "predictions_total",
        "rejected_rows_total",
    ]
    before = [client.counted(name) for name in names]
    client.predict([client.row] * 3)
    client.predict([client.row, client.row | {"size": "x", "seeds": "y"}, {}])
    client.ask("GET", "/nothing")
    after = [client.counted(name) for name in names]
    assert np.subtract(after, before).tolist() == [1, 1, 1, 2, 3, 2]


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("size", "6", "must be a number"),
        ("size", True, "must be a number"),
        ("seeds", [1], "must be a number"),
        ("organic", 1, "must be true or false"),
        ("colour", 7, "must be text"),
        ("picked", "1st of May", "must be a date, such as 2024-03-01 or 2024-03-01T12:00"),
        ("picked", 20240301, "must be a date as text, such as 2024-03-01T12:00:00"),
        ("colur", "red", "unknown field; did you mean 'colour'?"),
        ("extra", 1, "unknown field"),
    ],
)
def test_wrong_field_is_named(client: Client, field, value, problem):
    answer = client.predict([client.row, client.row | {field: value}])
    assert answer.status == 422
    assert answer.content == {
        "detail": "wrong fields: 1",
        "errors": [{"row": 1, "field": field, "problem": problem}],
    }


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("seeds", 2.5, "must be a whole number"),
        ("colour", "blue", "unknown category; known: 'green', 'red', 'yellow'"),
    ],
)
def test_what_training_did_not_have_is_answered_with_a_warning(client, field, value, problem):
    rows = [client.row, client.row | {field: value}]
    before = client.counted("novel_values_total")
    answer = client.predict(rows)
    assert answer.status == 200
    assert answer.content["warnings"] == [{"row": 1, "field": field, "problem": problem}]
    assert client.counted("novel_values_total") == before + 1
    model = load_model(MODEL, client.sidecar)
    expected = model.predict_proba(pd.DataFrame(rows).assign(picked=pd.Timestamp("2024-03-01")))
    told = [list(one["probabilities"].values()) for one in answer.content["predictions"]]
    np.testing.assert_allclose(told, expected, rtol=1e-12)
    assert "warnings" not in client.predict(client.row).content

    assert {"enum", "examples"} & set(fields_of(client)["colour"]) == {"examples"}
    assert fields_of(client)["seeds"]["type"] == ["number", "null"]
    with serving(replace(LIMITS, strict=True)) as strict:
        refused = strict.predict(rows)
        assert refused.status == 422
        assert refused.content["errors"] == answer.content["warnings"]
        assert fields_of(strict)["colour"]["enum"] == ["green", "red", "yellow", None]
        assert fields_of(strict)["seeds"]["type"] == ["integer", "null"]


def fields_of(client: Client) -> dict[str, Any]:
    """What the documentation says of each field of a record."""
    described = client.ask("GET", "/openapi.json").content["paths"]["/predict"]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    return schema["anyOf"][0]["properties"]


@pytest.mark.parametrize("value", [None, 0, -3, 6.0, 1e30])
def test_numbers_and_missing_values_are_taken(client: Client, value):
    assert client.predict(client.row | {"size": value}).status == 200


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e301", "9" * 400])
def test_number_that_is_not_finite_is_refused(client: Client, number):
    body = json.dumps(client.row | {"size": "HERE"}).replace('"HERE"', number)
    assert client.predict(body).status in (400, 422)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused(client: Client, number):
    body = json.dumps(client.row | {"size": "HERE"}).replace('"HERE"', number)
    assert client.predict(body).status == 400
    row = client.row | {"size": number}
    text = pd.DataFrame([row]).to_csv(index=False)
    answer = client.predict(text, CSV)
    if number == "NaN":  # in a CSV file a missing value, as the pipeline reads it
        missing = client.predict(json.dumps(client.row | {"size": None}))
        assert answer.content == missing.content
    else:
        assert (answer.status, answer.content["errors"][0]["field"]) == (422, "size")


def test_every_wrong_field_of_every_row_is_named_up_to_a_number(client: Client):
    wrong = client.row | {"size": "x", "seeds": "x"}
    missing = {name: value for name, value in client.row.items() if name != "organic"}
    answer = client.predict([wrong, client.row, missing, 7])
    assert {(error["row"], error["field"]) for error in answer.content["errors"]} == {
        (0, "size"),
        (0, "seeds"),
        (2, "organic"),
        (3, None),
    }
    answer = client.predict([wrong] * 100)
    assert answer.content["detail"] == "wrong fields: 200, the first 5"
    assert len(answer.content["errors"]) == 5


@pytest.mark.parametrize(
    ("body", "headers", "status", "detail"),
    [
        (b"{", JSON, 400, "not valid JSON"),
        (b"", JSON, 400, "not valid JSON"),
        (b"\xff", JSON, 400, "not valid JSON"),
        (b"[" * 5000, JSON, 400, "not valid JSON"),
        (b"[]", JSON, 422, "no row"),
        (b"null", JSON, 422, "wrong fields: 1"),
        (b"[1, 2]", JSON, 422, "wrong fields: 2"),
        (b"[" + b"{}," * 200 + b"{}]", JSON, 413, "201 rows; at most 200"),
        (b" " * 200_001, JSON, 413, "more than 200000 bytes"),
        (b"size\n" + b"1\n" * 201, CSV, 413, "more than 200 rows"),
        (b"", CSV, 422, "no row"),
        (b"size,seeds", CSV, 422, "no row"),
        (b"size,size\n1,2", CSV, 422, "the CSV header names a column twice"),
        (b"size\n\xff", CSV, 400, "not UTF-8"),
        (b'size\n"1', CSV, 400, "not valid CSV"),
        (b"size,seeds\n1", CSV, 422, "wrong fields"),
        (b"<row/>", {"Content-Type": "text/xml"}, 415, "send application/json or text/csv"),
    ],
)
def test_bad_request_is_refused(client: Client, body, headers, status, detail):
    answer = client.predict(body, headers)
    assert answer.status == status
    assert answer.content["detail"].startswith(detail)


def test_body_without_a_length_is_cut_off_at_the_limit(client: Client):
    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 10_000

    assert client.predict(chunks()).status == 413


def test_nothing_of_the_inside_is_told(client: Client, monkeypatch):
    def fail(columns: Any) -> Any:
        raise RuntimeError("secret of /srv/inside.py")

    monkeypatch.setattr(client.service.batcher, "scorer", fail)
    answer = client.predict(client.row)
    assert (answer.status, answer.content) == (500, {"detail": "internal error"})
    assert "uvicorn" not in answer.headers.get("server", "")


def test_values_that_the_model_cannot_take_fail_alone(client: Client, monkeypatch):
    """One request's failure is not that of those scored together with it."""
    scorer, entered, released = client.service.batcher.scorer, threading.Event(), threading.Event()

    def slow(columns: Any) -> Any:
        entered.set()
        released.wait(10)
        if (columns["seeds"] == 999).any():
            raise ValueError("of scikit-learn")
        return scorer(columns)

    monkeypatch.setattr(client.service.batcher, "scorer", slow)
    rows = [client.row, client.row | {"seeds": 999}, client.row]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.predict, client.row)
        assert entered.wait(10)
        waiting = [pool.submit(client.predict, row) for row in rows]
        while len(client.service.batcher.waiting) < 3:
            time.sleep(0.01)
        released.set()
        assert first.result().status == 200
        assert [one.result().status for one in waiting] == [200, 500, 200]


def test_too_many_waiting_rows_are_refused(client: Client, monkeypatch):
    released = threading.Event()
    scorer = client.service.batcher.scorer
    monkeypatch.setattr(client.service.batcher, "max_rows", 100)
    monkeypatch.setattr(
        client.service.batcher, "scorer", lambda columns: released.wait(60) and scorer(columns)
    )
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(client.predict, [client.row] * 20) for _ in range(20)]
        while client.service.batcher.waiting_rows < 100:
            assert not all(one.done() for one in asked), asked[0].result()
            time.sleep(0.01)
        assert client.predict([client.row] * 20).status == 503
        assert client.ask("GET", "/health").status == 200
        released.set()
        statuses = [one.result().status for one in asked]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 5


def test_many_clients_get_their_own_answers(client: Client):
    rows = records(read_split(TEST).head(40), client.sidecar)
    expected = client.predict(rows).content["predictions"]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(client.predict, rows * 5))
    for answer, one in zip(answers, expected * 5, strict=True):
        (found,) = answer.content["predictions"]
        assert found["class"] == one["class"]
        assert found["probabilities"] == pytest.approx(one["probabilities"], rel=1e-12)


def test_slow_and_half_open_clients_hold_nobody_up(client: Client, monkeypatch):
    monkeypatch.setattr(server.Protocol, "head_seconds", 3)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    parts = [b"", head, head + b"Content-Length: 500\r\n\r\n{"]
    with contextlib.ExitStack() as stack:
        slow = []
        for part in parts * 60:
            connection = socket.create_connection(("127.0.0.1", client.port), timeout=10)
            slow.append(stack.enter_context(connection))
            connection.sendall(part)
        start = time.perf_counter()
        assert [client.predict(client.row).status for _ in range(20)] == [200] * 20
        assert time.perf_counter() - start < 5
        assert b" 408 " in slow[2].recv(1000)
        while slow[2].recv(1000):  # until the service closes the connection
            pass
        assert [slow[at].recv(1000) for at in (0, 1)] == [b"", b""]
        second = socket.create_connection(("127.0.0.1", client.port), timeout=10)
        with second:  # one whole request, then half a head
            second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /he")
            assert b" 200 " in second.recv(1000)
            while second.recv(1000):
                pass


def test_bodies_of_all_clients_together_have_a_limit(trained: Path):
    """Four that send 190 kB each and stop short of the end: the fourth is one too many."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 190001\r\n\r\n"
    limits = replace(LIMITS, held_bytes=600_000, body_seconds=20)
    with contextlib.ExitStack() as stack, serving(limits) as client:
        sent = []
        for count in range(1, 4):
            connection = socket.create_connection(("127.0.0.1", client.port), timeout=10)
            sent.append(stack.enter_context(connection))
            connection.sendall(head + b" " * 190_000)
            while client.service.held < count * 190_000:
                time.sleep(0.01)
        refused = client.predict(b" " * 190_000)
        assert (refused.status, refused.content["detail"][:4]) == (503, "busy")
        assert client.predict(client.row).status == 200
        for connection in sent:
            connection.sendall(b" ")
            assert b" 400 " in connection.recv(1000)
        assert client.service.held == 0
        assert client.predict(b" " * 190_000).status == 400


def test_client_that_goes_away_is_no_error_of_the_service(trained: Path):
    with serving() as client:
        with socket.create_connection(("127.0.0.1", client.port)) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        while not client.counted('requests_total{path="/predict"'):
            time.sleep(0.01)
        assert client.counted('requests_total{path="/predict",status="400"}') == 1


@pytest.mark.parametrize("row", [b"{}", b"[]"])
def test_rows_without_end_are_refused_before_they_are_parsed(client: Client, monkeypatch, row):
    monkeypatch.setattr(orjson, "loads", None)
    body = b"[" + row + (b"," + row) * 10 * LIMITS.rows + b"]"
    answer = client.predict(body)
    assert (answer.status, answer.content["detail"][:13]) == (413, "too many rows")


@pytest.mark.parametrize("name", ["RandomForest", "ExtraTrees"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_forest_answers_as_the_pipeline_does(project, run, task, name):
    forest = {
        "estimator": f"sklearn.ensemble.{name}Classifier",
        "arguments": {"n_estimators": 20, "n_jobs": 2},
    }
    project(task, train=forest)
    assert run(*STAGES).status == 0
    with serving() as client:
        rows = records(read_split(TEST), client.sidecar)
        compare(client.predict(rows).content["predictions"], read_split(PREDICTIONS))
        assert isinstance(client.service.batcher.scorer.estimator, Trees)
        name = next(one.name for one in client.sidecar.features if one.dtype == "float64")
        answer = client.predict(client.row | {name: 1e290})
        assert (answer.status, answer.content["detail"][:21]) == (422, "the model cannot take")


def test_labels_alone_are_answered_where_there_are_no_probabilities(project, run):
    project("multiclass", train={"estimator": "sklearn.svm.LinearSVC", "arguments": {}})
    assert run(*STAGES).status == 0
    with serving() as client:
        (found,) = client.predict(client.row).content["predictions"]
    assert found == client.sidecar.example.answer == {"class": 0}


def change(sidecar: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(SIDECAR.read_text())
    sidecar(content)
    SIDECAR.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda: MODEL.unlink(), "models/model.joblib: not found"),
        (
            lambda: joblib.dump(print, MODEL),
            "models/model.joblib: not the file that its sidecar describes",
        ),
        (
            lambda: change(lambda content: content["versions"].update(numpy="1.0")),
            f"the model was trained with numpy 1.0 (here: {np.__version__})",
        ),
        (
            lambda: change(lambda content: content["versions"].update(nothing="2")),
            "nothing 2 (here: not installed)",
        ),
        (
            lambda: change(lambda content: content["example"]["answer"].update({"class": "?"})),
            "models/model.joblib: does not answer the example",
        ),
        (
            lambda: change(lambda content: content.pop("example")),
            "models/model.json: not the sidecar",
        ),
        (lambda: Path("metrics/evaluate/metrics.json").unlink(), "metrics.json: not found"),
        (
            lambda: Path("dvc.lock").write_text("stages:\n  train:\n    outs: []\n"),
            "models/model.json: not the file that dvc.lock names",
        ),
    ],
)
def test_service_refuses_to_start(trained: Path, monkeypatch, damage, message):
    damage()
    loaded: list[Any] = []
    if "not the file" in message:
        monkeypatch.setattr(joblib, "load", loaded.append)
    with pytest.raises(UserError) as caught:
        Service(LIMITS)
    assert message in str(caught.value)
    assert not loaded


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_finishes_what_is_under_way(trained_once: Path, tmp_path: Path):
    check = str(tmp_path / "check.sock")
    body = json.dumps(json.loads((trained_once / SIDECAR).read_text())["example"]["row"]).encode()
    with process(trained_once, CHECK_SOCKET=check) as (running, port):
        while not probe.is_ready(check):
            time.sleep(0.05)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:5])
            time.sleep(0.3)
            running.send_signal(signal.SIGTERM)
            while probe.is_ready(check):  # until it takes nobody new
                time.sleep(0.05)
            connection.sendall(body[5:])
            answer = b""
            while part := connection.recv(1000):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert b'"class"' in answer
        assert running.wait(10) == 0
    assert not probe.is_ready(check)


def test_stopping_costs_clients_that_keep_their_connection_nothing(trained: Path, monkeypatch):
    monkeypatch.setattr(server.Protocol, "last_seconds", 2)
    with contextlib.ExitStack() as stack, serving() as client:
        kept = [
            stack.enter_context(
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", client.port, timeout=10))
            )
            for _ in range(50)
        ]

        def ask(connections: list[http.client.HTTPConnection]) -> set[tuple[int, str | None]]:
            for one in connections:  # all are sent before the first answer is read
                one.request("POST", "/predict", json.dumps(client.row), JSON)
            answers = [one.getresponse() for one in connections]
            assert all(answer.read() for answer in answers)
            return {(answer.status, answer.headers.get("connection")) for answer in answers}

        assert ask(kept) == {(200, None)}
        idle, *active = kept
        client.stop()
        with contextlib.suppress(ConnectionError):  # until it takes nobody new
            while True:
                client.ask("GET", "/health")
        assert ask(active) == {(200, "close")}
        assert idle.sock.recv(1) == b""  # closed, as it asked nothing


@pytest.mark.skipif(sys.platform != "linux", reason="services share a port on Linux only")
def test_service_that_takes_over_loses_no_client(trained_once: Path, tmp_path: Path):
    lost, answered, stopped = [], [0] * 2, threading.Event()

    def ask(port: int) -> None:
        while not stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.request("GET", "/version", headers={"Connection": "close"})
                commit = json.load(connection.getresponse())["commit"]
                answered[commit == "new"] += 1
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
            finally:
                connection.close()

    with contextlib.ExitStack() as stack:

        def start(commit: str, port: int) -> tuple[subprocess.Popen[str], int]:
            check = str(tmp_path / commit)
            settings = {"CHECK_SOCKET": check, "PORT": str(port), "COMMIT": commit}
            started = stack.enter_context(process(trained_once, **settings))
            while not probe.is_ready(check):
                time.sleep(0.05)
            return started

        old, port = start("old", 0)
        clients = [threading.Thread(target=ask, args=[port]) for _ in range(40)]
        for one in clients:
            one.start()
        while not answered[0]:
            time.sleep(0.01)
        start("new", port)
        old.send_signal(signal.SIGTERM)
        assert old.wait(20) == 0
        now = answered[1]
        while answered[1] < now + 200:
            time.sleep(0.01)
        stopped.set()
        for one in clients:
            one.join()
    assert lost == []


def test_no_part_of_an_answer_waits_for_the_client():
    """As it would for 40 ms where TCP_NODELAY is not set."""
    found = []

    async def connect() -> None:
        (listening,) = listen("127.0.0.1", 0, None)

        async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected = writer.get_extra_info("socket")
            found.append(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(note, sock=listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            await reader.read()
            writer.close()

    asyncio.run(connect())
    assert found == [1]


def test_port_that_is_taken_ends_with_one_line(trained_once: Path):
    shared = hasattr(socket, "SO_REUSEPORT")  # which a service on the desk must not join
    with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as taken:
        port = str(taken.getsockname()[1])
        done = call("python", "-m", "src.service.server", folder=trained_once, PORT=port)
    assert done.status == 1
    assert done.err.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert done.err.count("\n") == 1
    assert call("python", "-m", "src.service.server", folder=trained_once, PORT="x").status == 1


@pytest.mark.parametrize("records", [False, True])
def test_service_needs_none_of_what_the_image_lacks(trained_once: Path, tmp_path, records):
    """And PyArrow, which pandas would import, only for the record."""
    lacking = {"dvc", "dvclive", "fsspec", "gto", "msgspec", "pandera", "ruamel", "tqdm"}
    if not records:
        lacking.add("pyarrow")
    code = f"""
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {lacking}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Lacking())
from src.service.app import Limits, Service
from src.service.server import make_server
service = Service(Limits())
make_server(service)
if {records}:
    from pathlib import Path
    from src.service.recording import Recorder, Settings
    recorder = Recorder(Settings(Path({str(tmp_path)!r})), service.sidecar, service.registry)
    checked = service.checker.check(service.example)
    recorder.answered("id", checked.keys, service.batcher.scorer(checked.columns), 100)
    recorder.close()
"""
    done = call("python", "-c", code, folder=trained_once)
    assert (done.status, done.err) == (0, "")
    assert len(list(tmp_path.glob("*.parquet"))) == records


def test_limits_are_those_that_the_readme_names():
    assert replace(Limits()) == Limits(10_000_000, 100_000_000, 10_000, 20, 10, 30)
