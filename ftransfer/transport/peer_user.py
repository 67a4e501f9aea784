"""Whose process is the peer of a connection within this machine.

It must be known before a secret is sent in plaintext. A leaf. The kernel is asked for the one
socket with the same two addresses swapped (Linux: sock_diag(7)), which takes equally long for ten
connections and for ten thousand.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Protocol

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ESTABLISHED = 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
# Ports and addresses: of the wanted socket, then of its peer
_ADDRESSES = struct.Struct("!HH16s16s")
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # on any interface, with any identity
_STATE_AT = _HEADER.size + 1
# After expiry and the two queues
_OWNER_AT = _HEADER.size + 4 + _ADDRESSES.size + len(_NO_COOKIE) + 12
_OWNER = struct.Struct("=II")  # user, inode
_PEER_CREDENTIALS = struct.Struct("=3i")  # process, user, group


class NamedSocket(Protocol):
    """A connected socket, or asyncio's view of one."""

    @property
    def family(self) -> int: ...
    def getsockname(self) -> Any: ...
    def getpeername(self) -> Any: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def user_of_peer(sock: NamedSocket) -> int | None:
    """Return the user whose process is the peer of a connection within this machine, or None.

    It is the user as whom the process accepted the connection. A connection that is not accepted
    yet, or that its process has closed, has no user: the kernel would say 0 for it, but it has no
    inode either, which identifies it. So ask only after the peer has spoken. None also if the peer
    is on another machine or in another network namespace, or if the system cannot tell.
    """
    with contextlib.suppress(OSError, AttributeError, struct.error):
        if sock.family == socket.AF_UNIX:
            return int(
                _PEER_CREDENTIALS.unpack(
                    sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
                )[1]
            )
        (host, port), (own_host, own_port) = sock.getpeername()[:2], sock.getsockname()[:2]
        packed = [
            socket.inet_pton(sock.family, text.partition("%")[0]).ljust(16, b"\0")
            for text in (host, own_host)
        ]
        addresses = _ADDRESSES.pack(port, own_port, *packed)
        answer = _ask(
            _REQUEST.pack(sock.family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED)
            + addresses
            + _NO_COOKIE
        )
        user, inode = _OWNER.unpack_from(answer, _OWNER_AT)
        # If there is no such connection, the kernel returns the listening socket.
        if answer[_STATE_AT] == _ESTABLISHED and inode:
            return int(user)
    return None


def _ask(question: bytes) -> bytes:
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as kernel:
        size = _HEADER.size + len(question)
        kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + question)
        # The kernel answers within the call to send
        answer = kernel.recv(4096, socket.MSG_DONTWAIT)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        raise OSError("there is no such connection")
    return answer
