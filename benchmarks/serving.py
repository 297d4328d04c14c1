"""`make bench`: measure the service beside a bare FastAPI route and BentoML.

All serve the model of models/ from one process each, and are asked in turn (A B A B ...) over
loopback by the same client. BentoML gets an environment of its own, as it is no dependency of
ours; without it (`--no-bentoml`) its column is left out. Before anything is measured, all answers
are compared with those of the model's pipeline for the same rows.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import numpy as np
from tqdm import tqdm

from src.shared import sidecar, tables
from src.shared.paths import MODEL, SIDECAR, TEST
from tests.template.delivery.engine import BASE, NoEngineError, free_port, start

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "serving.md"
ROUNDS, SINGLE, CLIENTS, TOGETHER, BATCH, BATCHES = 5, 60, 32, 320, 1_000, 5
START_SECONDS = 120
SUM = """
from pathlib import Path
files = [path for path in Path("/app/.venv/lib").rglob("*") if path.is_file()]
print(sum(path.stat().st_size for path in files if path.suffix != ".pyc"))
"""


@dataclass
class Server:
    """A service to measure, and what was measured."""

    name: str
    command: list[str]
    wraps: bool = False  # whether rows stand under the key "rows"
    figures: dict[str, list[float]] = field(default_factory=dict)
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)  # of its environment
    process: subprocess.Popen[bytes] | None = None

    def body(self, rows: Any) -> bytes:
        many = rows if isinstance(rows, list) or not self.wraps else [rows]
        return json.dumps({"rows": many} if self.wraps else rows).encode()

    def note(self, figure: str, value: float) -> None:
        self.figures.setdefault(figure, []).append(value)

    def figure(self, name: str) -> float:
        return median(self.figures.get(name, [math.nan]))


@contextlib.contextmanager
def running(server: Server, row: dict[str, Any]) -> Iterator[None]:
    """Start a service, wait for its first answer, end it by its id."""
    server.port = free_port()
    command = [part.replace("PORT", str(server.port)) for part in server.command]
    settings = os.environ | {"PORT": str(server.port), "PYTHONPATH": f"{HERE.parent}:{HERE}"}
    settings |= {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True"} | server.settings
    since = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
        server.process = process
        try:
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
                    with contextlib.closing(connection):
                        if ask(connection, server.body(row))[0] == 200:
                            break
                if process.poll() is not None or time.perf_counter() - since > START_SECONDS:
                    log.seek(0)
                    sys.exit(f"{server.name} does not start:\n{log.read()[-2000:]}")
                time.sleep(0.02)
            server.note("start", time.perf_counter() - since)
            yield
        finally:
            process.terminate()
            process.wait(60)


def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def probabilities(content: bytes, classes: list[str]) -> np.ndarray:
    found = json.loads(content)
    if isinstance(found, dict):
        found = [[one["probabilities"][name] for name in classes] for one in found["predictions"]]
    return np.array(found)


def measure(
    server: Server, rows: list[dict[str, Any]], expected: np.ndarray, classes: list[str]
) -> Any:
    """Measure one service once, after a look at its answers."""

    def client(share: list[dict[str, Any]]) -> list[float]:
        seconds = []
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(connection):
            for row in share:
                start = time.perf_counter()
                status, _ = ask(connection, server.body(row))
                seconds.append(time.perf_counter() - start)
                assert status == 200
        return seconds

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection):
        found = probabilities(ask(connection, server.body(rows))[1], classes)
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=server.name)
        many = (rows * (BATCH // len(rows) + 1))[:BATCH]
        body = server.body(many)
        start = time.perf_counter()
        for _ in range(BATCHES):
            assert ask(connection, body)[0] == 200
        server.note("batch", BATCH * BATCHES / (time.perf_counter() - start))
    single = sorted(client((rows * SINGLE)[:SINGLE]))
    server.note("median", single[SINGLE // 2] * 1000)
    server.note("worst", single[math.ceil(SINGLE * 0.99) - 1] * 1000)
    share = (rows * TOGETHER)[: TOGETHER // CLIENTS]
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        start = time.perf_counter()
        list(pool.map(client, [share] * CLIENTS))
        server.note("together", TOGETHER / (time.perf_counter() - start))


def bentoml(folder: Path) -> list[str]:
    """Install BentoML beside the service's own packages, and give the command that serves."""
    python = str(folder / "bin/python")
    subprocess.run([sys.executable, "-m", "uv", "venv", "--quiet", str(folder)], check=True)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode"]
    lock = ["-r", str(HERE.parent / "requirements/serve.txt")]
    versions = [
        line.split()[0]
        for line in Path(lock[1]).read_text().splitlines()
        if line.startswith(("scikit-learn==", "numpy==", "pandas==", "joblib=="))
    ]
    subprocess.run([*install, "--python", python, "bentoml", *versions], check=True)
    serve = ["serve", "bento:Predict", "--port", "PORT", "--host", "127.0.0.1"]
    return [python, "-m", "bentoml", *serve, "--working-dir", "."]


ROWS: list[tuple[str, str, str]] = [
    ("one row, median (ms)", "median", ".1f"),
    ("one row, 99th percentile (ms)", "worst", ".1f"),
    (f"single rows a second, {CLIENTS} clients", "together", ",.0f"),
    (f"rows a second in batches of {BATCH:,}", "batch", ",.0f"),
    ("from the process's start to the first answer (s)", "start", ".1f"),
]


def report(servers: list[Server], rounds: int) -> str:
    lines = [
        "# What the service costs",
        "",
        "Made by `python -m benchmarks.serving`: medians of "
        f"{rounds} rounds in turn, {os.cpu_count()} cores, client and service on the same ones.",
        "",
        f"| | {' | '.join(server.name for server in servers)} |",
        "|---|" + "--:|" * len(servers),
    ]
    for title, figure, form in ROWS:
        cells = [format(server.figure(figure), form) for server in servers]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    ours, bare = servers[:2]
    latency = median(
        a / b for a, b in zip(ours.figures["median"], bare.figures["median"], strict=True)
    )
    together = median(
        a / b for a, b in zip(ours.figures["together"], bare.figures["together"], strict=True)
    )
    lines += [
        "",
        f"Against the bare route: {latency:.2f} of its time on one row (at most 1: "
        f"{'held' if latency <= 1 else '**missed**'}), {together:.1f} times its single rows a "
        f"second (at least 2: {'held' if together >= 2 else '**missed**'}).",
    ]
    return "\n".join(lines) + "\n"


def image_size(folder: Path) -> str:
    """Build the image on an engine of the tests' own; tell its size beside what it holds."""
    try:
        with start(folder) as engine:
            build = [sys.executable, "-m", "src.delivery.image", "build"]
            done = subprocess.run(build, env=engine.variables, stdout=subprocess.PIPE, check=True)
            image = done.stdout.decode().split()[-1]
            told = [engine.docker("inspect", "--format", "{{.Size}}", it) for it in (image, BASE)]
            command = ["run", "--rm", "--network=host", image, "/app/.venv/bin/python", "-c", SUM]
            told.append(engine.docker(*command))
    except NoEngineError as reason:
        return f"The image was not built: {reason}.\n"
    whole, base, packages = (int(size) / 1e6 for size in told)
    return (
        f"The image is {whole:.0f} MB: {base:.0f} MB of base and {whole - base:.0f} MB on top, for "
        f"{packages:.0f} MB of packages without bytecode ({(whole - base) / packages:.2f} of it).\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service.")
    parser.add_argument("--no-bentoml", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    known = sidecar.read(SIDECAR)
    names = [feature.name for feature in known.features]
    if known.task == "regression" or any(f.kind != "numeric" for f in known.features):
        sys.exit("what it is compared with takes numbers only, and gives probabilities")
    frame = tables.read_split(TEST, *names)[names].head(100)
    expected = joblib.load(MODEL).predict_proba(frame)
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    classes = [str(label) for label in known.classes or []]
    uvicorn = ["uvicorn", "bare:app", "--port", "PORT", "--log-level", "warning", "--no-access-log"]
    servers = [
        Server("src.service.server", [sys.executable, "-m", "src.service.server"]),
        Server("bare FastAPI route", [sys.executable, "-m", *uvicorn]),
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if not options.no_bentoml:
            servers.append(Server("BentoML", bentoml(Path(folder)), wraps=True))
        for _ in tqdm(range(options.rounds), desc="services in turn", unit="round"):
            for server in servers:
                with running(server, rows[0]):
                    measure(server, rows, expected, classes)
        text = report(servers, options.rounds) + "\n" + image_size(Path(folder) / "engine")
    print(text)
    if options.rounds == ROUNDS and not options.no_bentoml:
        RESULTS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
