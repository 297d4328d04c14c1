"""The service: answers rows over HTTP with the trained model. `make serve` runs it.

It listens only once the model has been loaded and has answered a known row right. With
CHECK_SOCKET, the path of a Unix socket on which it can be asked alone (src/health.py does), two of
them may share a port (SO_REUSEPORT): the newer one takes all clients once it is ready.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from src import errors, files
from src.errors import UserError
from src.model import MODEL, SIDECAR, load_model, read_sidecar, require_versions, versions
from src.rows import Checker, RequestError
from src.scoring import Answers, Batcher, Scorer

METRICS = Path("metrics/evaluate/metrics.json")

# A body larger than this is checked in a thread, so that others need not wait for it.
LARGE_BODY = 50_000


@dataclass(frozen=True)
class Limits:
    """What one client may ask for."""

    body_bytes: int = 10_000_000
    rows: int = 10_000
    problems: int = 20  # how many wrong fields are reported
    body_seconds: float = 10
    finish_seconds: int = 30  # for what is under way at SIGTERM


class Service:
    """The model, how it is asked, and what is counted."""

    def __init__(self, limits: Limits) -> None:
        """Load the model of the working directory.

        Raises:
            UserError: a file is missing or another than described, a library has another version,
                or the model does not answer the sidecar's example as it did when it was trained.
        """
        self.limits, self.sidecar = limits, read_sidecar(SIDECAR)
        require_versions(self.sidecar["versions"])
        scorer = Scorer(load_model(MODEL, self.sidecar), self.sidecar)
        self.checker = Checker(self.sidecar, limits.rows, limits.problems)
        self.batcher = Batcher(scorer, 10 * limits.rows)
        self.example = orjson.dumps(self.sidecar["example"]["row"])
        if not self._is_right(scorer(self.checker.columns(self.example))):
            raise UserError(
                f"{MODEL.as_posix()}: does not answer the example in {SIDECAR.as_posix()} "
                "as it did when it was trained; run `dvc repro -f train`"
            )
        self.version = {
            "commit": commit(),
            "model": self.sidecar["model"]["sha256"],
            "metrics": files.read_json(METRICS, "run `dvc repro`"),
            "libraries": versions([*self.sidecar["versions"], "fastapi", "uvicorn"]),
        }
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "requests", "Requests answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "request_seconds", "Time to answer", ["path"], registry=self.registry
        )
        self.predictions = Counter(
            "predictions", "Rows predicted", ["class"], registry=self.registry
        )
        self.rejected = Counter("rejected_rows", "Rows with a wrong field", registry=self.registry)

    def _is_right(self, answers: Answers) -> bool:
        """Compare with the example's answer; another machine may differ in a float's last bits."""
        (answer,), expected = answers, self.sidecar["example"]["answer"]
        if answer.get("class") != expected.get("class"):
            return False
        numbers = [
            {"value": one.get("value", 0.0)} | one.get("probabilities", {})
            for one in (answer, expected)
        ]
        return numbers[0].keys() == numbers[1].keys() and all(
            abs(value - numbers[1][name]) <= 1e-6 * max(1.0, abs(value))
            for name, value in numbers[0].items()
        )

    async def ready(self) -> bool:
        """Predict the known row."""
        return self._is_right(await self.batcher.answers(self.checker.columns(self.example)))

    async def predict(self, request: Request) -> Answers:
        """Answer the rows of a request.

        Raises:
            RequestError: the request is not one that can be answered.
        """
        kind = request.headers.get("content-type", "application/json").lower()
        kind = kind.partition(";")[0].strip()
        if kind not in ("application/json", "text/csv"):
            raise RequestError(415, "send application/json or text/csv")
        body = await self._read(request)
        try:
            if len(body) < LARGE_BODY:
                columns = self.checker.columns(body, is_csv=kind == "text/csv")
            else:
                columns = await asyncio.to_thread(
                    self.checker.columns, body, is_csv=kind == "text/csv"
                )
        except RequestError as refused:
            self.rejected.inc(len(refused.problems.rows))
            raise
        answers = await self.batcher.answers(columns)
        counts: dict[str, int] = {}
        for answer in answers:
            label = str(answer.get("class", "value"))
            counts[label] = counts.get(label, 0) + 1
        for label, count in counts.items():
            self.predictions.labels(label).inc(count)
        return answers

    async def _read(self, request: Request) -> bytes:
        limit = self.limits.body_bytes
        too_large = RequestError(413, f"more than {limit} bytes in one request")
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            raise RequestError(408, f"no whole body in {self.limits.body_seconds} s") from None
        except ClientDisconnect:
            raise RequestError(400, "the body broke off") from None
        return bytes(body)


class Protocol(H11Protocol):
    """Uvicorn's HTTP, but a client that does not finish a request's head in time is cut off."""

    head_seconds = 10.0
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait no more once a head is there; or again, if this is the next one's beginning."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop(self) -> None:
        if self.deadline:
            self.deadline.cancel()
        self.deadline = None


class Measured:
    """Counts and times what an application answers."""

    def __init__(self, app: Any, service: Service, paths: set[str]) -> None:
        """Wrap `app`; paths that are not among `paths` are counted together."""
        self.app, self.service, self.paths = app, service, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on and note status and time."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def note(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        path = scope["path"] if scope["path"] in self.paths else "other"
        try:
            await self.app(scope, receive, note)
        finally:
            self.service.requests.labels(path, status).inc()
            self.service.seconds.labels(path).observe(time.perf_counter() - start)


def commit() -> str | None:
    """Give the Git commit: the image's, or that of the working directory."""
    if "COMMIT" in os.environ:
        return os.environ["COMMIT"]
    try:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def as_json(content: Any, status: int = 200, **headers: str) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def make_app(service: Service) -> FastAPI:
    """Make the application: its routes, its documentation, its answer to errors."""
    app = FastAPI(
        title=f"Predicts {service.sidecar['target']}",
        version=service.sidecar["model"]["sha256"][:12],
        description="Send a record, a list of records, or CSV with a header line.",
    )

    @app.post("/predict", openapi_extra=describe(service.sidecar))
    async def predict(request: Request) -> Response:
        """Predict one row or many."""
        return as_json({"predictions": await service.predict(request)})

    @app.get("/health")
    async def health() -> Response:
        """Tell that the process answers."""
        return as_json({"status": "ok"})

    @app.get("/ready")
    async def ready() -> Response:
        """Tell whether the model answers a known row right."""
        if await service.ready():
            return as_json({"status": "ready"})
        return as_json({"detail": "the model answers a known row wrong"}, 503)

    @app.get("/version")
    async def version() -> Response:
        """Tell what runs: Git commit, model, its metrics, libraries."""
        return as_json(service.version)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Give what was counted, for Prometheus."""
        text = generate_latest(service.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(RequestError)
    async def refuse(_: Request, refused: RequestError) -> Response:
        content: dict[str, Any] = {"detail": refused.detail}
        if refused.problems.kept:
            content["errors"] = refused.problems.listed()
        # Of a client too slow to send its body nothing more is read.
        headers = {"connection": "close"} if refused.status == 408 else {}
        return as_json(content, refused.status, **headers)

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        return as_json({"detail": "internal error"}, 500)

    paths = {"/predict", "/health", "/ready", "/version", "/metrics"}
    app.add_middleware(Measured, service=service, paths=paths)
    return app


def describe(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Describe /predict for OpenAPI, with the sidecar's example."""
    types = {"numeric": "number", "boolean": "boolean", "date": "string", "categorical": "string"}
    fields: dict[str, Any] = {}
    for feature in sidecar["features"]:
        kind = "integer" if feature["dtype"].startswith("int") else types[feature["kind"]]
        fields[feature["name"]] = {"type": [kind, "null"]}
        if known := sidecar["categories"].get(feature["name"]):
            fields[feature["name"]]["enum"] = [*known, None]
        if feature["kind"] == "date":
            fields[feature["name"]]["format"] = "date-time"
    record = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    row, answer = sidecar["example"]["row"], sidecar["example"]["answer"]
    many = {"anyOf": [record, {"type": "array", "items": record}]}
    answered = {"application/json": {"example": {"predictions": [answer]}}}
    refused = {400: "cannot be read", 413: "too large", 415: "neither JSON nor CSV"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": many, "example": row},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {"description": "An answer for each row", "content": answered},
            "422": {"description": "Each wrong field of each row"},
        }
        | {str(status): {"description": text} for status, text in refused.items()},
    }


def listen(host: str, port: int, check: str | None) -> list[socket.socket]:
    """Open the port, and the socket that /ready is asked on.

    Args:
        host: the address, such as 127.0.0.1.
        port: the port; 0 for any that is free.
        check: path of a Unix socket, or None for none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends an answer's parts at once (TCP_NODELAY); without, the
    # second part waits 40 ms for the client's acknowledgement of the first.
    public = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # elsewhere it would let two services have the port
        public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if check:  # the deployment lets the old and the new service share the port for a moment
        public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        public.bind((host, port))
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}; set PORT") from None
    if check is None:
        return [public]
    Path(check).unlink(missing_ok=True)
    private = socket.socket(socket.AF_UNIX)
    private.bind(check)
    return [public, private]


def take_over(public: socket.socket) -> None:
    """Open a port that an older service may share, and let all new clients come to this one.

    A service that ends resets the clients in its queue, so the older one must get no more of them.
    A filter for the sockets of a port chooses the second to have been opened; where there is one
    only, the system chooses that (SO_ATTACH_REUSEPORT_CBPF in `man 7 socket`).
    """
    public.listen(2048)
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 1))  # return 1, from 0
    with contextlib.suppress(OSError):  # a kernel without it shares new clients out
        program = struct.pack("HL", 1, ctypes.addressof(code))
        public.setsockopt(socket.SOL_SOCKET, 51, program)


def make_server(service: Service) -> uvicorn.Server:
    """Make the server, with nothing of itself in its answers."""
    config = uvicorn.Config(
        make_app(service),
        http=Protocol,
        access_log=False,  # /metrics counts
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=service.limits.finish_seconds,
    )
    return uvicorn.Server(config)


def main() -> None:
    """Serve the model of the working directory on HOST and PORT."""
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
    if not port.isdecimal() or int(port) > 65535:
        raise UserError(f"PORT is {port!r}; allowed: a number from 0 to 65535")
    # Nobody reaches them before the server runs, but a port that is taken is told at once.
    check = os.environ.get("CHECK_SOCKET")
    sockets = listen(host, int(port), check)
    server = make_server(Service(Limits()))
    if check:
        take_over(sockets[0])
    address, found = sockets[0].getsockname()[:2]
    print(f"serving on http://{address}:{found}, documentation at /docs", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn finishes, then raises it once more
    server.run(sockets)


if __name__ == "__main__":
    errors.run(main)
