"""The service for its tests: in a thread or a process of its own, and a client."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn

from src.service.app import Limits, Service
from src.service.recording import Recorder, Settings
from src.service.server import listen, make_server
from src.shared.sidecar import Sidecar
from tests.projects import ROOT

JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv; charset=utf-8"}
LIMITS = Limits(body_bytes=200_000, rows=200, problems=5, body_seconds=1, finish_seconds=5)


@dataclass(frozen=True)
class Answer:
    status: int
    content: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Client:
    port: int
    sidecar: Sidecar
    service: Service
    server: uvicorn.Server

    @property
    def row(self) -> dict[str, Any]:
        return dict(self.sidecar.example.row)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] = JSON):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            body = json.dumps(body) if isinstance(body, dict | list) else body
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            if "json" in response.headers.get("content-type", ""):
                content = json.loads(content)
            return Answer(response.status, content, dict(response.headers))

    def predict(self, body: Any, headers: dict[str, str] = JSON) -> Answer:
        return self.ask("POST", "/predict", body, headers)

    def stop(self) -> None:
        self.server.should_exit = True  # as SIGTERM does

    def counted(self, name: str) -> float:
        text = self.ask("GET", "/metrics").content.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def records(frame: pd.DataFrame, sidecar: Sidecar) -> list[dict[str, Any]]:
    """Rows of a split as a client sends them."""
    rows = frame[[feature.name for feature in sidecar.features]].astype("object")
    return [
        {
            str(name): None if pd.isna(value) else getattr(value, "isoformat", lambda v=value: v)()
            for name, value in row.items()
        }
        for row in rows.to_dict("records")
    ]


@contextlib.contextmanager
def serving(limits: Limits = LIMITS, record: Settings | None = None) -> Iterator[Client]:
    """Serve the current folder's model from a thread; record it where that is said."""
    service = Service(limits)
    if record:
        service.recorder = Recorder(record, service.sidecar, service.registry)
    sockets = listen("127.0.0.1", 0, None)
    server = make_server(service)
    thread = threading.Thread(target=server.run, args=[sockets])
    thread.start()
    try:
        client = Client(sockets[0].getsockname()[1], service.sidecar, service, server)
        while not server.started:
            time.sleep(0.01)
        yield client
    finally:
        server.should_exit = True
        thread.join()
        if service.recorder:
            service.recorder.close()


@contextlib.contextmanager
def process(folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `python -m src.service.server` on a free port."""
    command = [sys.executable, "-m", "src.service.server"]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "PORT": "0"} | environment
    with subprocess.Popen(
        command, cwd=folder, env=settings, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout
            yield running, int(running.stdout.readline().split(",")[0].rpartition(":")[2])
        finally:
            running.kill()
