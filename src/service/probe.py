"""Ask the service of this container whether it is ready: print "ready", or end with status 1.

It asks on the container's own socket, as another container may share the port. It imports nothing
heavy, as it runs every few seconds.
"""

import os
import socket
import sys


def is_ready(path: str, seconds: float = 5) -> bool:
    """Return whether the service behind a Unix socket answers GET /ready with 200."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(path)
            connection.sendall(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in connection.recv(100).partition(b"\r\n")[0]
        except OSError:
            return False


if __name__ == "__main__":
    if not is_ready(os.environ["CHECK_SOCKET"]):
        sys.exit(1)
    print("ready")
