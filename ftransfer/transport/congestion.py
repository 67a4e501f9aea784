"""Connections within this machine: congestion control that does not pace, since there is nothing to
be congested.

Where the system's default is BBR, every few packets wait for a timer of the kernel. Those timers
took a quarter of the sender's processor time over loopback, measured in a virtual machine.
"""

from __future__ import annotations

import contextlib
import socket


def disable_pacing(sock: socket.socket) -> None:
    """Choose it for a socket that is not connected yet (pacing that has begun does not end); a
    listening one hands it on.
    """
    with contextlib.suppress(OSError, AttributeError):  # not on every platform
        # The one that every Linux has
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
