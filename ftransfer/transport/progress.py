"""How fast content moves over one connection.

Not slower than a peer must be, and not faster than its share of the bandwidth.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ftransfer.limits import Limits
from ftransfer.transport.stall import StallDetector


class Pace(Protocol):
    """A share of the bandwidth (service.bandwidth.Throttle)."""

    async def take(self, wanted: int) -> int:
        """Wait until some bytes may be moved; return how many, 1 to `wanted`."""

    def give_back(self, count: int) -> None:
        """Return bytes that were taken but not moved."""


class TransferProgress:
    """The progress of the transfers of one connection, counted on the event loop.

    `pace` is the bandwidth, or None if it is unlimited.
    """

    __slots__ = ("_loop", "_peer", "_stall", "pace")

    def __init__(self, limits: Limits, peer: str) -> None:
        self.pace: Pace | None = None
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._stall = StallDetector(limits, self._loop.time)

    def begin(self, quiet_s: float | None = None) -> None:
        """Start watching a transfer.

        The peer may send only heartbeats for `quiet_s` (default: limits.quiet_s).
        """
        self._stall.begin(quiet_s)

    def note(self, count: int) -> None:
        """Count bytes of this transfer that came over another connection."""
        self._stall.note(count)

    def excuse(self, seconds: float) -> None:
        """Exclude time in which the peer had to wait."""
        self._stall.excuse(seconds)

    def check(self, count: int, *, is_mid_frame: bool) -> None:
        """Count bytes that have moved.

        Raises:
            TimedOut: The peer moves too few bytes.
        """
        self._stall.note(count)
        self._stall.check(self._peer, is_mid_frame=is_mid_frame)

    async def take(self, wanted: int) -> int:
        """Wait until some bytes of content may be moved; return how many."""
        if self.pace is None:
            return wanted
        began = self._loop.time()
        count = await self.pace.take(wanted)
        self.excuse(self._loop.time() - began)
        return count

    async def spend(self, count: int) -> None:
        """Wait until `count` bytes may be moved."""
        while count > 0:
            count -= await self.take(count)

    async def receive(self, count: int, *, is_mid_frame: bool) -> None:
        """Count received bytes of a payload, and wait until the bandwidth allows them.

        Raises as check.
        """
        self.check(count, is_mid_frame=is_mid_frame)
        await self.spend(count)
