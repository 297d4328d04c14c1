"""The service's process: its sockets, its HTTP, its start and its end. `make serve` runs it.

It listens only after the model has been loaded and has answered a known row right. CHECK_SOCKET
names a Unix socket on which only this service answers (probe.py asks there). With it, two services
may share a port (SO_REUSEPORT): the newer one gets all clients as soon as it is ready.
"""

import asyncio
import gc
import os
import signal
import socket
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from src.service.app import Limits, Service, make_app
from src.service.handover import take_over
from src.shared import errors
from src.shared.errors import UserError


class Protocol(H11Protocol):
    """Uvicorn's HTTP, with two differences.

    A client that does not send the whole head of a request in time is cut off. While the service
    stops, an open connection is not closed at once, as its client may be about to send a request:
    that one is still answered, with `Connection: close`.
    """

    head_seconds = 10.0
    last_seconds = 2.0  # for the head of a last request, once the service stops
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the head of a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop waiting if the head is complete; start again if this begins the next one."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop()

    def shutdown(self) -> None:
        """Tell the client, with the answer under way or the next one, that it is the last."""
        last = self.server_state.default_headers  # every later answer begins with these
        if CLOSE_HEADER not in last:
            last.append(CLOSE_HEADER)
        if self._answering():
            self.cycle.default_headers, self.cycle.keep_alive = last, False
        else:
            self._stop()
            self.deadline = self.loop.call_later(self.last_seconds, self.transport.close)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._answering():
            self._stop()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop(self) -> None:
        if self.deadline:
            self.deadline.cancel()
        self.deadline = None


def listen(host: str, port: int, check: str | None) -> list[socket.socket]:
    """Open the port, and the socket for the check of /ready.

    Args:
        host: the address, such as 127.0.0.1.
        port: the port; 0 for any that is free.
        check: path of a Unix socket, or None.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends an answer's parts at once (TCP_NODELAY); without, the
    # second part waits 40 ms for the client's acknowledgement of the first.
    public = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # on Windows two services could then have the port
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


def make_server(service: Service) -> uvicorn.Server:
    """Return the server; its answers do not name it."""
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
    # Nobody is answered before the server runs, but a port that is taken is reported at once.
    check = os.environ.get("CHECK_SOCKET")
    sockets = listen(host, int(port), check)
    service = Service(Limits(strict=os.environ.get("STRICT") == "1"))
    if os.environ.get("RECORD"):
        from src.service.recording import Recorder, Settings  # PyArrow's Parquet, only here

        service.recorder = Recorder(Settings.read(os.environ), service.sidecar, service.registry)
    server = make_server(service)
    if check:
        take_over(sockets[0])
    address, found = sockets[0].getsockname()[:2]
    print(f"serving on http://{address}:{found}, documentation at /docs", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn finishes, then raises it once more
    # Else Python looks through the libraries again and again, and through what is under way: they
    # would take a sixth of the answers.
    gc.freeze()
    gc.set_threshold(10_000)
    try:
        server.run(sockets)
    finally:
        if service.recorder:
            service.recorder.close()


if __name__ == "__main__":
    errors.run(main)
