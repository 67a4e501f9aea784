"""Connections within this machine: congestion control without pacing, since nothing is congested.

If the system's default is BBR, every few packets wait for a kernel timer. Those timers took a
quarter of the sender's processor time over loopback, measured in a virtual machine.
"""

from __future__ import annotations

import contextlib
import socket


def disable_pacing(sock: socket.socket) -> None:
    """Choose it for an unconnected socket, since pacing never stops once begun.

    A listening socket passes it on.
    """
    with contextlib.suppress(OSError, AttributeError):  # not on every platform
        # Every Linux has this one
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
