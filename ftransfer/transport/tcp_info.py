"""Whether the peer's machine still answers: keepalive while idle, else TCP's own record.

A leaf. TCP_USER_TIMEOUT would be simpler, but it also disconnects a peer that is alive and merely
does not read for a while.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Protocol

_QUESTIONS = 5
# struct tcp_info of Linux: eight bytes (the fourth: unanswered probes of a closed window), then
# 32-bit numbers.
_TCP_INFO = struct.Struct("=8B16I")
_PROBES, _UNACKED, _LAST_ACK_MS, _ROUND_TRIP_US = 3, 12, 20, 23
# Bytes acknowledged by the peer, and bytes received from it
_TCP_COUNTS = struct.Struct("=120x2Q")

_TCP_LEAST_ROUND_TRIP = struct.Struct("=148xI")  # in microseconds; from Linux 4.6 on
_NOT_MEASURED = 0xFFFFFFFF


class TcpSocket(Protocol):
    """A socket, or asyncio's view of one."""

    @property
    def family(self) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def keep_alive(sock: TcpSocket, vanish_s: float) -> None:
    """Probe a silent peer often enough to notice within `vanish_s` (at least 2) that it is gone."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    quiet_s = max(1, int(vanish_s / 2))
    between_s = max(1, int((vanish_s - quiet_s) / _QUESTIONS))
    count = max(1, int((vanish_s - quiet_s) / between_s))
    # Not on every platform; otherwise the system's own times apply
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, quiet_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, between_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)


def unanswered_s(sock: TcpSocket) -> float:
    """Return the seconds since the peer's kernel last answered, if sent data waits, else 0.0."""
    info = _info_of(sock)
    # One probe may just have been sent; its answer is on the way.
    return info[_LAST_ACK_MS] / 1000 if info and (info[_UNACKED] or info[_PROBES] > 1) else 0.0


def round_trip_s(sock: TcpSocket) -> float:
    """Return the round-trip time in seconds as the system measured it; 0.0 if unknown."""
    info = _info_of(sock)
    return info[_ROUND_TRIP_US] / 1e6 if info else 0.0


def least_round_trip_s(sock: TcpSocket) -> float:
    """Return the shortest round-trip time of the last minutes, in seconds.

    It is that of the path, however busy or slow either end is.
    """
    data = _ask(sock, _TCP_LEAST_ROUND_TRIP.size)
    least_us = _TCP_LEAST_ROUND_TRIP.unpack(data)[0] if data else _NOT_MEASURED
    return least_us / 1e6 if least_us != _NOT_MEASURED else round_trip_s(sock)


def bytes_transferred(sock: TcpSocket) -> int:
    """Return the bytes that the connection carried in both directions; 0 if unknown."""
    data = _ask(sock, _TCP_COUNTS.size)
    return sum(_TCP_COUNTS.unpack(data)) if data else 0


def _info_of(sock: TcpSocket) -> tuple[int, ...]:
    """Return the kernel's tcp_info of a connection, or an empty tuple."""
    data = _ask(sock, _TCP_INFO.size)
    return _TCP_INFO.unpack(data) if data else ()


def _ask(sock: TcpSocket, size: int) -> bytes:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return b""
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    except (OSError, AttributeError):
        return b""
    return data if len(data) == size else b""
