"""Ways for a server to fail: a proxy that breaks off or never answers, and one that only errs."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Stands before a server, counts what it sends, and fails on demand.

    Attributes:
        port: where it listens.
        sent: bytes from the server to its clients so far.
    """

    def __init__(self, target: int, *, die_after: float = float("inf"), hang: bool = False) -> None:
        """Start to listen.

        Args:
            target: the server's port.
            die_after: bytes from clients after which it cuts every connection and takes no more.
            hang: whether it takes connections and never answers.
        """
        self.target, self.die_after, self.hang = target, die_after, hang
        self.sent = self.received = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.ends: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection and take no more."""
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.ends.append(client)
                if not self.hang:
                    server = socket.create_connection(("127.0.0.1", self.target))
                    self.ends.append(server)
                    _start(_pump, client, server, self._count_received)
                    _start(_pump, server, client, self._count_sent)

    def _count_received(self, size: int) -> None:
        self.received += size
        if self.received > self.die_after:
            self.close()

    def _count_sent(self, size: int) -> None:
        self.sent += size


def _start(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, count: Callable[[int], None]) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            count(len(data))
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering(response: bytes) -> Iterator[int]:
    """Answer every request with the same bytes; give the port."""

    def answer(client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(1 << 16)
            client.sendall(response)

    def accept() -> None:
        with suppress(OSError):
            while True:
                _start(answer, listener.accept()[0])

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        _start(accept)
        yield listener.getsockname()[1]
