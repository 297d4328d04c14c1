"""`make bench`: measure what the record costs the service (`RECORD=folder`).

Two services run, one of which records as it does by default, and get the same bursts of requests
from the same clients. In a round they take turns (A B B A A B ...), so that what else the machine
does meets both alike; each round has files to write, in the middle of a burst, and starts services
anew, as no two processes of one program are equally quick. The rows are those of the test split,
their numbers changed a little: the same few again and again would take less time to compress. A
ratio is the median of those of the rounds; the range beside it holds the true median with 95 % or
more (order statistics of the binomial distribution).
"""

import argparse
import concurrent.futures
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom  # type: ignore[import-untyped]
from tqdm import tqdm

from benchmarks.serving import CLIENTS, Server, running
from src.shared import record, sidecar, tables
from src.shared.paths import SIDECAR, TEST

RESULTS = Path(__file__).with_name("recording.md")
ROUNDS, TURNS, MOST = 20, 20, 0.05
SINGLE, BATCHES, BATCH = 1_000, 10, 1_000  # of a burst: rows that are sent singly; or in batches
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HEAD += b"Content-Length: %d\r\n\r\n"
LENGTH = re.compile(rb"(?i)content-length: (\d+)")
Burst = Callable[[Server], int]


def clients(server: Server, bodies: list[bytes], many: int) -> None:
    """Send each body, from so many clients at a time.

    They read no more of an answer than they must: they run on the same cores as the service.
    """

    def client(share: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            for body in share:
                connection.sendall(HEAD % len(body) + body)
                answer = connection.recv(1 << 16)
                while b"\r\n\r\n" not in answer:
                    answer += connection.recv(1 << 16)
                head, _, content = answer.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                left = int(LENGTH.findall(head)[0]) - len(content)
                while left:
                    left -= len(connection.recv(min(left, 1 << 16)))

    with concurrent.futures.ThreadPoolExecutor(many) as pool:
        list(pool.map(client, [bodies[at::many] for at in range(many)]))


def cpu(server: Server) -> float:
    """Return the seconds of CPU that a service has taken, in all its threads (Linux)."""
    assert server.process
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(servers: list[Server], kind: str, burst: Burst) -> None:
    """Note the rows a second of a round, and the CPU time for a row."""
    before = {server.name: cpu(server) for server in servers}
    rows, seconds = dict.fromkeys(before, 0), dict.fromkeys(before, 0.0)
    for turn in range(TURNS):
        for server in servers[:: -1 if turn % 2 else 1]:
            start = time.perf_counter()
            rows[server.name] += burst(server)
            seconds[server.name] += time.perf_counter() - start
    for server in servers:
        server.note(f"{kind} rate", rows[server.name] / seconds[server.name])
        server.note(f"{kind} cpu", (cpu(server) - before[server.name]) / rows[server.name] * 1e6)


def report(plain: Server, recording: Server, rounds: int, files: int, size: float) -> str:
    lines = [
        "# What the record costs",
        "",
        f"Made by `python -m benchmarks.recording`: medians of {rounds} rounds, "
        f"{os.cpu_count()} cores, clients and services on the same ones.",
        "",
        "| | without | with `RECORD` | with / without |",
        "|---|--:|--:|--:|",
    ]
    ratios = {}
    for title, figure, digits in (
        (f"single rows a second, {CLIENTS} clients", "single rate", 0),
        (f"rows a second in batches of {BATCH:,}", "batch rate", 0),
        ("CPU for a single row (µs)", "single cpu", 0),
        ("CPU for a row of a batch (µs)", "batch cpu", 1),
        ("from start to the first answer (s)", "start", 2),
    ):
        pairs = zip(recording.figures[figure], plain.figures[figure], strict=True)
        found = sorted(one / other for one, other in pairs)
        ratios[figure] = median(found)
        told = [f"{server.figure(figure):,.{digits}f}" for server in (plain, recording)]
        left = int(binom.ppf(0.025, len(found), 0.5)) - 1  # as many are left out at each end
        between = f" ({found[left]:.3f} to {found[-1 - left]:.3f})" if left >= 0 else ""
        lines.append(f"| {title} | {told[0]} | {told[1]} | {ratios[figure]:.3f}{between} |")
    worst = 1 - min(ratios["single rate"], ratios["batch rate"])
    return "\n".join(
        [
            *lines,
            "",
            f"At most {MOST:.0%} of throughput: {'held' if worst <= MOST else '**missed**'} "
            f"({worst:.1%}). {files} files, {size:.0f} bytes a row.",
            "",
        ]
    )


def varied(frame: pd.DataFrame, rows: int) -> list[Any]:
    """Return so many rows as records, each number changed a little, to four digits."""
    random = np.random.default_rng(0)
    frame = frame.sample(rows, replace=True, random_state=0)
    for name in frame.select_dtypes("float"):
        near = frame[name] * random.normal(1, 0.05, rows)
        frame[name] = [float(f"{value:.4g}") for value in near]
    return frame.to_dict("records")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the record costs the service.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    names = [feature.name for feature in sidecar.read(SIDECAR).features]
    rows = varied(tables.read_split(TEST, *names)[names], BATCHES * BATCH)
    command = [sys.executable, "-m", "src.service.server"]
    plain, recording = Server("without", command), Server("with", command)
    singly = [plain.body(one) for one in rows[:SINGLE]]
    batches = [plain.body(rows[at : at + BATCH]) for at in range(0, len(rows), BATCH)]

    def single(server: Server) -> int:
        clients(server, singly, CLIENTS)
        return SINGLE

    def batch(server: Server) -> int:
        clients(server, batches, 2)
        return BATCHES * BATCH

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        recording.settings |= {"RECORD": name}
        for kind, burst, half in (
            ("single", single, singly[: SINGLE // 2]),
            ("batch", batch, batches[: BATCHES // 2]),
        ):
            for _ in tqdm(range(rounds), desc=kind, unit="round"):
                with running(plain, rows[0]), running(recording, rows[0]):
                    # Half a burst ahead, so that a file is full in the middle of one: at its end
                    # the other service, which is measured next, would pay for the writing.
                    for server in (plain, recording):
                        clients(server, half, CLIENTS)
                    measure([plain, recording], kind, burst)
        found = list(record.read(name))
        size = sum(path.stat().st_size for path in Path(name).iterdir())
        text = report(plain, recording, rounds, len(found), size / sum(map(len, found)))
    print(text)
    if rounds == ROUNDS:
        RESULTS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
