"""Let an older service that shares the port end without losing a client. Linux only.

A service that ends resets the clients in its queue. So as soon as a newer one listens, the older
one must get no more clients. The kernel asks a filter (classic BPF) which socket of a port gets a
client. This filter always answers: the socket that was opened second. If there is only one socket,
the kernel takes that. Source: SO_ATTACH_REUSEPORT_CBPF in `man 7 socket`.
"""

import contextlib
import ctypes
import socket
import struct

SO_ATTACH_REUSEPORT_CBPF = 51
RETURN = 0x06  # BPF_RET | BPF_K: return the constant


def take_over(public: socket.socket) -> None:
    """Listen on a port that an older service may share, and take all new clients from it.

    Args:
        public: a socket bound with SO_REUSEPORT, not yet listening.
    """
    public.listen(2048)
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, 1))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    with contextlib.suppress(OSError):  # an older kernel shares new clients between the two
        public.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
