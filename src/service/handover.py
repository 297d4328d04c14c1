"""Let an older service that shares the port end without losing a client. Linux only.

A service that ends resets the clients in its queue, so the older one must get no more of them once
a newer one listens. The kernel asks a filter (classic BPF) which of the sockets of a port gets a
client; this one always says: the second to have been opened. Where there is only one, the kernel
chooses that. Source: SO_ATTACH_REUSEPORT_CBPF in `man 7 socket`.
"""

import contextlib
import ctypes
import socket
import struct

SO_ATTACH_REUSEPORT_CBPF = 51
RETURN = 0x06  # BPF_RET | BPF_K: return the constant


def take_over(public: socket.socket) -> None:
    """Open a port that an older service may share, and let all new clients come to this one.

    Args:
        public: a socket bound with SO_REUSEPORT, not yet listening.
    """
    public.listen(2048)
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, 1))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    with contextlib.suppress(OSError):  # a kernel without it shares new clients out
        public.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
