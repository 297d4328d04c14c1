"""The application: the trained model answers over HTTP, and its requests are counted."""

import asyncio
import io
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.requests import ClientDisconnect

from src.service.requests import Checked, Checker, RequestError
from src.service.scoring import Answers, Batcher, Scored, Scorer
from src.shared import files, sidecar
from src.shared.errors import UserError
from src.shared.model import load_model, require_versions, versions
from src.shared.paths import METRICS, MODEL, SIDECAR
from src.shared.sidecar import Feature, Sidecar

if TYPE_CHECKING:
    from src.service.recording import Recorder

# A body larger than this is checked in a thread, so that other requests need not wait.
LARGE_BODY = 50_000

REQUEST_ID = "record.id"  # its key in the scope of a request, if there is a record


@dataclass(frozen=True)
class Limits:
    """How much one client may send, and all of them together."""

    body_bytes: int = 10_000_000
    held_bytes: int = 100_000_000  # of all bodies that are in memory at a time
    rows: int = 10_000
    problems: int = 20  # how many wrong fields are reported
    body_seconds: float = 10
    finish_seconds: int = 30  # for what is under way at SIGTERM
    strict: bool = False  # whether what the train split did not have is refused


class Service:
    """The model, the checks of its input, and the counters."""

    recorder: "Recorder | None" = None  # where one is set, it is told what is asked and answered

    def __init__(self, limits: Limits) -> None:
        """Load the model of the working directory.

        Raises:
            UserError: a file is missing or does not match the sidecar, a library has another
                version, or the model does not answer the sidecar's example as after training.
        """
        self.limits, self.sidecar = limits, sidecar.read(SIDECAR)
        require_versions(self.sidecar.versions)
        scorer = Scorer(load_model(MODEL, self.sidecar), self.sidecar)
        self.checker = Checker(self.sidecar, limits.rows, limits.problems, strict=limits.strict)
        self.batcher = Batcher(scorer, 10 * limits.rows)
        self.held = 0  # bytes of bodies that are being received or wait to be checked
        # For names, not for secrets. To ask the system for each would let another thread run.
        self.ids = random.Random()  # noqa: S311
        # What a body of 10 MB becomes is several times as large: one after the other. More threads
        # would not be faster, as Python runs one at a time.
        self.checking = ThreadPoolExecutor(1, thread_name_prefix="checking")
        self.example = orjson.dumps(self.sidecar.example.row)
        if not self._is_right(scorer(self.checker.check(self.example).columns).answers):
            raise UserError(
                f"{MODEL.as_posix()}: does not answer the example in {SIDECAR.as_posix()} "
                "as it did when it was trained; run `dvc repro -f train`"
            )
        self.version = {
            "commit": commit(),
            "model": self.sidecar.model.sha256,
            "metrics": files.read_json(METRICS, "run `dvc repro`"),
            "libraries": versions([*self.sidecar.versions, "fastapi", "uvicorn"]),
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
        self.novel = Counter(
            "novel_values", "Values that the train split did not have", registry=self.registry
        )

    def _is_right(self, answers: Answers) -> bool:
        """Compare with the example's answer; on another machine the last bits may differ."""
        (answer,), expected = answers, self.sidecar.example.answer
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
        """Return whether the model answers the known row right."""
        scored = await self.batcher.score(self.checker.check(self.example).columns)
        return self._is_right(scored.answers)

    async def predict(self, request: Request) -> dict[str, Any]:
        """Answer the rows of a request.

        Returns:
            Under `predictions` an answer for each row; under `warnings`, if there are any, the
            values that the train split did not have.

        Raises:
            RequestError: the request cannot be answered.
        """
        if not self.recorder:
            _, checked, scored = await self._answer(request)
        else:
            name = request.scope[REQUEST_ID] = self.ids.randbytes(16).hex()
            try:
                size, checked, scored = await self._answer(request)
            except Exception as error:
                self.recorder.refused(name, getattr(error, "status", 500))
                raise
            self.recorder.answered(name, checked.keys, scored, size)
        counts: dict[str, int] = {}
        for answer in scored.answers:
            label = str(answer.get("class", "value"))
            counts[label] = counts.get(label, 0) + 1
        for label, count in counts.items():
            self.predictions.labels(label).inc(count)
        self.novel.inc(checked.warnings.count)
        noted = {"warnings": checked.warnings.listed()} if checked.warnings.kept else {}
        return {"predictions": scored.answers} | noted

    async def _answer(self, request: Request) -> tuple[int, Checked, Scored]:
        """Return the bytes of a request's body, its rows, and the answer for each."""
        kind = request.headers.get("content-type", "application/json").lower()
        kind = kind.partition(";")[0].strip()
        if kind not in ("application/json", "text/csv"):
            raise RequestError(415, "send application/json or text/csv")
        try:
            async with self._body(request) as body:
                check = partial(self.checker.check, body, is_csv=kind == "text/csv")
                if len(body) < LARGE_BODY:
                    checked = check()
                else:
                    loop = asyncio.get_running_loop()
                    checked = await loop.run_in_executor(self.checking, check)
        except RequestError as refused:
            self.rejected.inc(len(refused.problems.rows))
            raise
        return len(body), checked, await self.batcher.score(checked.columns)

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Hold a request's body in memory for the block, and count it among all that are held."""
        body = io.BytesIO()  # whose value is not another copy
        try:
            await self._read(request, body)
            yield body.getvalue()
        finally:
            self.held -= body.tell()

    async def _read(self, request: Request, body: io.BytesIO) -> None:
        limit = self.limits.body_bytes
        too_large = RequestError(413, f"more than {limit} bytes in one request")
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for chunk in request.stream():
                    self.held += body.write(chunk)
                    if body.tell() > limit:
                        raise too_large
                    # Small ones are answered even while large ones take all there is.
                    if self.held > self.limits.held_bytes and body.tell() >= LARGE_BODY:
                        raise RequestError(503, "busy; try again in a moment")
        except TimeoutError:
            raise RequestError(
                408, f"the body did not arrive in {self.limits.body_seconds} s"
            ) from None
        except ClientDisconnect:
            raise RequestError(400, "the connection broke off in the middle of the body") from None


class Measured:
    """Count and time the answers of an application."""

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
    """Return the Git commit: COMMIT of the environment, or that of the working directory."""
    if "COMMIT" in os.environ:
        return os.environ["COMMIT"]
    try:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def as_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def identified(response: Response, request: Request) -> Response:
    """Add the header with the request's id, by which its record is found, if there is one."""
    if name := request.scope.get(REQUEST_ID):
        response.raw_headers.append((b"x-request-id", name.encode()))
    return response


def make_app(service: Service) -> FastAPI:
    """Return the application: its routes, its documentation, its answers to errors."""
    app = FastAPI(
        title=f"Predicts {service.sidecar.target}",
        version=service.sidecar.model.sha256[:12],
        description="Send a record, a list of records, or CSV with a header line.",
    )

    @app.post("/predict", openapi_extra=describe(service.sidecar, service.limits.strict))
    async def predict(request: Request) -> Response:
        """Predict one row or many."""
        return identified(as_json(await service.predict(request)), request)

    @app.get("/health")
    async def health() -> Response:
        """Answer as long as the process runs."""
        return as_json({"status": "ok"})

    @app.get("/ready", responses={503: {"description": "The model answers a known row wrong"}})
    async def ready() -> Response:
        """Tell whether the model answers a known row right."""
        if await service.ready():
            return as_json({"status": "ready"})
        return as_json({"detail": "the model answers a known row wrong"}, 503)

    @app.get("/version")
    async def version() -> Response:
        """Return what runs: Git commit, model, its metrics, versions of libraries."""
        return as_json(service.version)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the counters, for Prometheus."""
        text = generate_latest(service.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(RequestError)
    async def refuse(request: Request, refused: RequestError) -> Response:
        content: dict[str, Any] = {"detail": refused.detail}
        if refused.problems.kept:
            content["errors"] = refused.problems.listed()
        # Nothing more is read from a client that was too slow to send its body.
        headers = {"connection": "close"} if refused.status == 408 else {}
        return identified(as_json(content, refused.status, headers), request)

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        return identified(as_json({"detail": "internal error"}, 500), request)

    paths = {"/predict", "/health", "/ready", "/version", "/metrics"}
    app.add_middleware(Measured, service=service, paths=paths)
    return app


def describe(known: Sidecar, strict: bool) -> dict[str, Any]:
    """Return the description of /predict for OpenAPI, with the sidecar's example.

    Args:
        known: the model's sidecar.
        strict: whether what the train split did not have is refused; otherwise the description
            names what it had, and allows more.
    """
    fields = {feature.name: _describe(feature, known, strict) for feature in known.features}
    key = {"type": ["string", "integer", "null"], "description": "Says which row this is."}
    record = {
        "type": "object",
        "properties": fields | dict.fromkeys(known.key, key),
        "required": list(fields),
        "additionalProperties": False,
    }
    row, answer = known.example.row, known.example.answer
    many = {"anyOf": [record, {"type": "array", "items": record, "minItems": 1}]}
    answered = {"application/json": {"example": {"predictions": [answer]}}}
    refused = {
        400: "Empty, or not JSON or CSV",
        408: "The body did not arrive in time",
        413: "Too large",
        415: "Neither JSON nor CSV by its content type",
        422: "No row, or wrong fields: each of each row",
        503: "Busy; try again in a moment",
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": many, "example": row},
                "text/csv": {"schema": {"type": "string", "minLength": 1}},
            },
        },
        "responses": {
            "200": {
                "description": "An answer for each row; warnings of values new to the model",
                "content": answered,
            },
        }
        | {str(status): {"description": text} for status, text in refused.items()},
    }


def _describe(feature: Feature, known: Sidecar, strict: bool) -> dict[str, Any]:
    """Return the JSON schema of a field."""
    types = {"numeric": "number", "boolean": "boolean", "date": "string", "categorical": "string"}
    kind, values = types[feature.kind], known.categories.get(feature.name)
    whole = feature.dtype.lower().startswith("int")
    schema: dict[str, Any] = {"type": ["integer" if whole and strict else kind, "null"]}
    if feature.kind == "date":
        schema["format"] = "date-time"
    if values and strict:
        schema["enum"] = [*values, None]
    elif values:
        schema["examples"] = values
    if not strict and (values or whole):
        schema["description"] = f"{'Another value' if values else 'A fraction'} gets a warning."
    return schema
