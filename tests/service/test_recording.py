"""What the service is asked and answers is in the record, and no answer waits for that."""

import concurrent.futures
import contextlib
import errno
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.service.recording import Settings
from src.shared import record, sidecar
from src.shared.errors import UserError
from src.shared.paths import SIDECAR
from tests.projects import STAGES, call, fruit, make_project, run_stage
from tests.service.clients import CSV, Client, process, serving

Rows = list[dict[str, Any]]


def until(condition: Callable[[], Any]) -> None:
    for _ in range(2_000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("not within twenty seconds")


def until_recorded(client: Client, rows: int) -> None:
    until(lambda: client.counted("recorded_rows_total") == rows)


def recorded(folder: Path) -> Rows:
    return [row for table in record.read(folder) for row in table.to_pylist()]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two columns as its key, and one column that is not recorded."""
    table = fruit()
    table["tree"] = [f"{at:04}" for at in range(len(table))]
    table["number"] = range(len(table))
    with pytest.MonkeyPatch.context() as patch:
        folder = make_project(
            tmp_path_factory.mktemp("keyed"),
            table=table,
            data={"key": ["tree", "number"]},
            monitor={"leave_out": ["seeds"]},
        )
        patch.chdir(folder)
        assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
    return folder


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose columns are numbers alone, which the service scores without a DataFrame."""
    table = fruit()[["size", "seeds", "ripe"]].drop_duplicates()
    folder = make_project(tmp_path_factory.mktemp("numbers"), table=table)
    with contextlib.chdir(folder):
        assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
    return folder


@pytest.fixture
def client(keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Its service, which records in `tmp_path / "record"`."""
    monkeypatch.chdir(keyed)
    with serving(record=Settings(tmp_path / "record")) as client:
        yield client


def close(client: Client) -> None:
    assert client.service.recorder
    client.service.recorder.close()


ROWS: Rows = [
    {"size": 6.5, "seeds": 3, "organic": True, "colour": "red", "picked": "2024-03-01T12:00"},
    {"size": None, "seeds": 4, "organic": False, "colour": "blue", "picked": None},
    {"size": 4, "seeds": None, "organic": None, "colour": None, "picked": "2024-03-02"},
]
# As the record has them: seeds is left out, blue is new to the model.
KEPT: Rows = [
    {"size": 6.5, "organic": True, "colour": "red", "picked": datetime(2024, 3, 1, 12)},
    {"size": None, "organic": False, "colour": "blue", "picked": None},
    {"size": 4.0, "organic": None, "colour": None, "picked": datetime(2024, 3, 2)},
]


def test_record_holds_what_was_asked_and_answered(client: Client, tmp_path: Path):
    before = datetime.now(UTC)
    keys: Rows = [{"tree": "0501", "number": 501}, {"tree": None, "number": 502.0}, {"tree": "x"}]
    asked = [row | key for row, key in zip(ROWS, keys, strict=True)]
    text = pd.DataFrame(asked).to_csv(index=False)
    answers = [client.predict(asked), client.predict(ROWS[0]), client.predict(text, CSV)]
    close(client)
    after = datetime.now(UTC)

    assert [answer.status for answer in answers] == [200] * 3
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 3
    rows = recorded(tmp_path / "record")
    assert [(row["request_id"], row["row"]) for row in rows] == [
        (ids[0], 0),
        (ids[0], 1),
        (ids[0], 2),
        (ids[1], 0),
        (ids[2], 0),
        (ids[2], 1),
        (ids[2], 2),
    ]
    assert {row["model"] for row in rows} == {client.sidecar.model.sha256}
    assert {row["refused"] for row in rows} == {None}
    assert all(before - timedelta(milliseconds=1) <= row["time"] <= after for row in rows)
    told: Rows = [
        {"tree": "0501", "number": "501"},
        {"tree": None, "number": "502"},
        {"tree": "x", "number": None},
    ]
    in_text = [told[0] | {"number": "501.0"}, told[1] | {"number": "502.0"}, told[2]]
    expected = [
        *(key | row for key, row in zip(told, KEPT, strict=True)),
        {"tree": None, "number": None} | KEPT[0],
        *(key | row for key, row in zip(in_text, KEPT, strict=True)),
    ]
    assert [row["rows"] for row in rows] == expected
    said = [one for answer in answers for one in answer.content["predictions"]]
    assert [(row["prediction"], row["probabilities"]) for row in rows] == [
        (one["class"], one["probabilities"]) for one in said
    ]


@pytest.mark.parametrize("project", ["keyed", "numbers"])
def test_requests_that_are_scored_together_keep_their_own_rows(
    request: pytest.FixtureRequest, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Several share the arrays of a group, which files may cut; one is refused between them."""
    monkeypatch.chdir(request.getfixturevalue(project))
    with serving(record=Settings(tmp_path, rows=4)) as client:
        assert (client.service.batcher.scorer.scaling is None) is (project == "keyed")
        name, other = (one.name for one in client.service.sidecar.features[:2])
        batcher = client.service.batcher
        scorer, entered, released = batcher.scorer, threading.Event(), threading.Event()
        groups = []

        def slow(columns: Any) -> Any:
            entered.set()
            assert released.wait(20)
            groups.append(len(columns[name]))
            return scorer(columns)

        monkeypatch.setattr(batcher, "scorer", slow)
        asked = [
            [
                client.row | {name: 3 + at + row / 4, other: None if at == 2 else row}
                for row in range(at % 4)
            ]
            for at in range(1, 12)
        ]
        with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
            waiting = [pool.submit(client.predict, asked[0])]
            assert entered.wait(20)
            waiting += [pool.submit(client.predict, rows) for rows in asked[1:]]
            until(lambda: len(batcher.waiting) == 8)  # two have no row, and are refused
            released.set()
        answers = [one.result() for one in waiting]
    assert groups == [1, 17]
    rows = recorded(tmp_path)
    for sent, answer in zip(asked, answers, strict=True):
        own = [row for row in rows if row["request_id"] == answer.headers["x-request-id"]]
        if not sent:
            assert [row["refused"] for row in own] == ["wrong fields"]
            continue
        assert [row["row"] for row in own] == list(range(len(sent)))
        shared = {name, other} & own[0]["rows"].keys()
        assert [{one: row["rows"][one] for one in shared} for row in own] == [
            {one: row[one] for one in shared} for row in sent
        ]
        assert [(row["prediction"], row["probabilities"]) for row in own] == [
            (one["class"], one["probabilities"]) for one in answer.content["predictions"]
        ]
    assert len({row["probabilities"]["yes"] for row in rows if row["rows"]}) > 2
    assert len(list(record.read(tmp_path))) > 2


def test_file_is_closed_before_memory_is_full(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where requests are scored one by one, their arrays take more than their rows."""
    monkeypatch.chdir(keyed)
    with serving(record=Settings(tmp_path, held_bytes=15_000)) as client:
        for _ in range(30):
            client.predict(ROWS[0])
            until(lambda: client.counted("waiting_rows") < 7)
        assert client.counted("lost_rows_total") == 0


def test_what_waits_costs_the_garbage_collector_nothing(client: Client):
    for asked in (ROWS[0], [row | {"tree": "1"} for row in ROWS]):
        assert client.predict(asked).status == 200
    assert client.service.recorder
    waiting = list(client.service.recorder.waiting)
    for _ in range(3):  # a tuple is let go once those in it are
        gc.collect()
    assert len(waiting) == 2
    assert not any(map(gc.is_tracked, waiting))


def test_key_changes_no_answer_and_is_described(client: Client):
    row = ROWS[0] | {"tree": "1", "number": 1}
    plain = client.predict(ROWS[0])
    assert client.predict(row).content == plain.content
    assert client.predict(pd.DataFrame([row]).to_csv(index=False), CSV).content == plain.content
    described = client.ask("GET", "/openapi.json").content["paths"]["/predict"]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0]
    assert {"tree", "number"} <= schema["properties"].keys()
    assert not {"tree", "number"} & set(schema["required"])
    odd: list[Any] = [True, 1.5, [1], {}]
    for wrong in odd:
        refused = client.predict([7, ROWS[0] | {"tree": wrong}]).content["errors"]
        problem = "must be text or a whole number"
        assert refused[1] == {"row": 1, "field": "tree", "problem": problem}


def test_refused_requests_are_recorded_by_their_kind_alone(client: Client, tmp_path: Path):
    secret = "a-client's-secret"  # noqa: S105
    answers = [
        client.predict("{" + secret),
        client.predict([ROWS[0] | {"size": secret, secret: 1}]),
        client.predict([]),
        client.predict(secret, {"Content-Type": "text/xml"}),
        client.predict([ROWS[0]] * 201),
        client.predict(ROWS[0]),
    ]
    client.service.batcher.scorer = None  # type: ignore[assignment]
    answers.append(client.predict(ROWS[0]))
    close(client)
    rows = {row["request_id"]: row for row in recorded(tmp_path / "record")}
    found = [rows[answer.headers["x-request-id"]] for answer in answers]
    assert len(rows) == len(answers)
    assert [answer.status for answer in answers] == [400, 422, 422, 415, 413, 200, 500]
    assert [row["refused"] for row in found] == [
        "not readable",
        "wrong fields",
        "wrong fields",
        "neither JSON nor CSV",
        "too large",
        None,
        "internal error",
    ]
    refused = [row for row in found if row["refused"]]
    assert all(row["rows"] is row["prediction"] is row["probabilities"] is None for row in refused)
    assert secret not in str(rows)


def test_values_of_a_regression_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(make_project(tmp_path / "project", "regression"))
    assert [run_stage(stage) for stage in STAGES] == [0] * len(STAGES)
    with serving(record=Settings(tmp_path / "record")) as client:
        (answer,) = client.predict(client.row).content["predictions"]
    (row,) = recorded(tmp_path / "record")
    assert (row["prediction"], row["probabilities"]) == (answer["value"], None)
    assert row["rows"] == client.row


def test_where_every_column_is_left_out_the_answers_are_recorded(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(keyed)
    known = sidecar.read(SIDECAR)
    nothing = replace(known, unrecorded=[*known.key, *(one.name for one in known.features)])
    monkeypatch.setattr(sidecar, "read", lambda _: nothing)
    with serving(record=Settings(tmp_path)) as client:
        answer = client.predict(ROWS).content["predictions"]
    rows = recorded(tmp_path)
    assert [row["rows"] for row in rows] == [None] * 3
    assert [row["prediction"] for row in rows] == [one["class"] for one in answer]


def test_column_to_leave_out_that_is_not_there_stops_train(project, run):
    project(monitor={"leave_out": ["sedes"]})
    done = run(*STAGES[: STAGES.index("train") + 1])
    assert done.status == 1
    assert "no column 'sedes' (monitor.leave_out in params.yaml); did you mean" in done.err


def test_nothing_is_recorded_unless_that_is_asked_for(trained_once: Path, monkeypatch):
    monkeypatch.chdir(trained_once)
    with serving() as client:
        assert "x-request-id" not in client.predict(client.row).headers
        assert b"recorded_rows" not in client.ask("GET", "/metrics").content
    code = "import sys; from src.service import server; print('pyarrow.parquet' in sys.modules)"
    assert call("python", "-c", code, folder=trained_once).out.strip() == "False"


def test_file_is_closed_after_so_many_rows_and_a_request_stays_whole(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(keyed)
    with serving(record=Settings(tmp_path, rows=5)) as client:
        for count in (2, 2, 3, 4, 1, 2):
            client.predict([ROWS[0]] * count)
        until_recorded(client, 12)
        assert client.counted("waiting_rows") == 2
    tables = list(record.read(tmp_path))
    assert [len(table) for table in tables] == [7, 5, 2]
    times = [table["time"].to_pylist() for table in tables]
    assert times[0][-1] < times[1][0] < times[2][0]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert all(record.NAME.fullmatch(name) for name in names)
    for name, table in zip(names, times, strict=True):
        closed = datetime.strptime(name.partition("-")[0], record.TIME).replace(tzinfo=UTC)
        assert table[-1] <= closed


def test_file_is_closed_when_it_is_time(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(keyed)
    with serving(record=Settings(tmp_path, minutes=0.002)) as client:
        client.predict(ROWS[0])
        until_recorded(client, 1)
        client.predict(ROWS[0])
        until_recorded(client, 2)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_writes_what_is_there(keyed: Path, tmp_path: Path):
    with recording(keyed, RECORD=str(tmp_path)) as (running, client):
        asked = [client.predict(ROWS[: at % 3 + 1]) for at in range(7)]
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert {row["request_id"] for row in recorded(tmp_path)} == {
        one.headers["x-request-id"] for one in asked
    }
    assert len(recorded(tmp_path)) == 13


@contextlib.contextmanager
def recording(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """Serve from a process of its own, with a client for requests and counters."""
    known = sidecar.parse(folder / SIDECAR)
    with process(folder, **settings) as (running, port):
        for _ in range(500):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.01)
        yield running, Client(port, known, None, None)  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_kill_loses_what_was_not_written_and_its_draft_goes(keyed: Path, tmp_path: Path):
    """What it was writing is there in half: nobody reads it, and a later service removes it."""
    settings = {"RECORD": str(tmp_path), "RECORD_ROWS": "3"}
    with recording(keyed, **settings) as (running, client):
        asked = [client.predict(ROWS[0]).headers["x-request-id"] for _ in range(5)]
        until_recorded(client, 3)
        running.kill()
        running.wait(20)
    half = next(tmp_path.iterdir()).read_bytes()[:500]
    old, fresh = tmp_path / ".1.parquet.1.tmp", tmp_path / ".2.parquet.2.tmp"
    old.write_bytes(half)
    fresh.write_bytes(half)  # of another service, which may be writing it
    os.utime(old, (0, time.time() - 4_000))
    assert [row["request_id"] for row in recorded(tmp_path)] == asked[:3]
    with recording(keyed, **settings) as (_, client):
        until(lambda: not old.exists())
        client.predict(ROWS)
        until_recorded(client, 3)
    assert len(recorded(tmp_path)) == 6
    assert fresh.exists()


def test_slow_disk_delays_no_answer(keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(keyed)
    write, ready = record.write, threading.Event()

    def slow(*arguments: Any) -> Path:
        assert ready.wait(20)
        return write(*arguments)

    monkeypatch.setattr(record, "write", slow)
    # One row takes 500 bytes, 150 for each of the five columns, and its body: so eleven fit.
    with serving(record=Settings(tmp_path, rows=2, held_bytes=15_000)) as client:
        kept = [client.predict(ROWS[0]) for _ in range(20)]
        assert {answer.status for answer in kept} == {200}
        lost = client.counted("lost_rows_total")
        assert client.counted('lost_rows_total{why="memory"}') == lost == 9
        ready.set()
        until(lambda: client.counted("waiting_rows") < 2)
        late = client.predict(ROWS[0])
        close(client)
        assert client.counted("recorded_rows_total") == 12
    ids = [answer.headers["x-request-id"] for answer in [*kept[:11], late]]
    assert [row["request_id"] for row in recorded(tmp_path)] == ids


def test_full_disk_fails_no_answer_and_what_waited_is_written_once_there_is_room(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.chdir(keyed)
    full = True
    fsync = os.fsync

    def fail(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", fail)
    with serving(record=Settings(tmp_path, rows=2, minutes=0.002)) as client:
        asked = [client.predict(ROWS[0]) for _ in range(5)]
        until(lambda: client.service.recorder and client.service.recorder.failing)
        time.sleep(0.3)  # several times it tries in vain
        assert {answer.status for answer in asked} == {200}
        assert list(tmp_path.iterdir()) == []
        full = False
        until_recorded(client, 5)
        assert client.counted("lost_rows_total") == 0
    said = capfd.readouterr().err.splitlines()
    assert said == [
        "record: cannot write: No space left on device; rows wait in memory",
        "record: can write again",
    ]
    assert len(recorded(tmp_path)) == 5


def test_what_cannot_be_written_at_the_end_is_counted_and_said(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.chdir(keyed)

    def fail(*_: Any) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(record, "write", fail)
    with serving(record=Settings(tmp_path)) as client:
        client.predict(ROWS)
        close(client)
        assert client.predict(ROWS[0]).status == 200  # after the last file
        assert client.counted('lost_rows_total{why="error"}') == 3
        assert client.counted('lost_rows_total{why="memory"}') == 1
    assert "record: 3 rows could not be written, and are lost" in capfd.readouterr().err


def test_mistake_of_ours_costs_one_file_and_not_the_thread(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.chdir(keyed)
    with serving(record=Settings(tmp_path, rows=1)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(record, "write", None)
            client.predict(ROWS)
            until(lambda: client.counted('lost_rows_total{why="error"}') == 3)
        client.predict(ROWS[0])
        until_recorded(client, 1)
    assert "3 rows are lost: TypeError" in capfd.readouterr().err


def test_beyond_the_limit_of_size_the_oldest_go_and_are_counted(
    keyed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    monkeypatch.chdir(keyed)
    other = tmp_path / "notes.txt"
    other.write_text("not ours")
    with serving(record=Settings(tmp_path, rows=2)) as client:
        client.predict(ROWS[:2])
        until_recorded(client, 2)
    (first,) = tmp_path.glob("*.parquet")
    room = int(3.5 * first.stat().st_size)
    with serving(record=Settings(tmp_path, rows=2, max_bytes=room)) as client:
        ids = []
        for count in range(1, 6):
            ids.append(client.predict(ROWS[:2]).headers["x-request-id"])
            until_recorded(client, 2 * count)
        until(lambda: client.counted('lost_rows_total{why="limit"}') == 6)
    assert [row["request_id"] for row in recorded(tmp_path)] == [
        one for one in ids[2:] for _ in "12"
    ]
    assert other.exists()
    said = capfd.readouterr().err
    assert "2 rows are removed, the oldest, as RECORD_MAX_MB is reached" in said


def test_two_services_share_a_folder(keyed: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(keyed)
    settings = Settings(tmp_path, rows=1)
    with serving(record=settings) as one, serving(record=settings) as two:
        asked = [client.predict(ROWS) for client in (one, two) * 3]
    rows = recorded(tmp_path)
    assert len(rows) == 18
    assert {row["request_id"] for row in rows} == {one.headers["x-request-id"] for one in asked}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"RECORD_ROWS": "x"}, "RECORD_ROWS is 'x'; allowed: a number, at least 1"),
        ({"RECORD_ROWS": "0"}, "RECORD_ROWS is '0'; allowed: a number, at least 1"),
        ({"RECORD_MINUTES": "-1"}, "RECORD_MINUTES is '-1'; allowed: a number, at least 0.001"),
        ({"RECORD_MINUTES": "nan"}, "RECORD_MINUTES is 'nan'; allowed"),
        ({"RECORD_MAX_MB": "1e12"}, "RECORD_MAX_MB is '1e12'; allowed"),
    ],
)
def test_settings_that_are_wrong_end_with_one_line(keyed: Path, settings, message):
    with pytest.raises(UserError) as caught:
        Settings.read({"RECORD": "r"} | settings)
    assert message in str(caught.value)


def test_folder_that_cannot_be_written_ends_with_one_line(keyed: Path):
    command = ("python", "-m", "src.service.server")
    done = call(*command, folder=keyed, PORT="0", RECORD="params.yaml")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "RECORD: params.yaml: this user may not write there, or it is no folder" in done.err


def test_settings_come_from_the_environment():
    assert Settings.read({"RECORD": "r"}) == Settings(Path("r"), 20_000, 5, 1_000_000_000)
    given = {"RECORD_ROWS": "7", "RECORD_MINUTES": "0.5", "RECORD_MAX_MB": "2", "RECORD": "r"}
    assert Settings.read(given) == Settings(Path("r"), 7, 0.5, 2_000_000)
