"""Minimum progress: how slow a peer may be in the middle of a transfer before it is disconnected.

Pure: the clock is passed in. In each window a minimum number of bytes must move. A peer with
nothing to send yet reports it with empty frames. It may then be slower between two frames, but not
within one, whose bytes it has announced, and not indefinitely.
"""

from __future__ import annotations

from collections.abc import Callable

from ftransfer.errors import TimedOut
from ftransfer.limits import Limits


class StallDetector:
    """Watches the transfers of one connection; `begin` restarts it for each."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self.begin()

    def begin(self, quiet_s: float | None = None) -> None:
        """Restart.

        Only heartbeats may come for `quiet_s` this time (default: limits.quiet_s).
        """
        self._quiet_s = self._limits.quiet_s if quiet_s is None else quiet_s
        self._began = self._now()
        self._bytes = 0
        self._quiet_since: float | None = None

    def note(self, count: int) -> None:
        """Count bytes of content that have moved."""
        self._bytes += count

    def excuse(self, seconds: float) -> None:
        """Exclude time in which the peer had to wait."""
        self._began += seconds

    def check(self, peer: str, *, is_mid_frame: bool) -> None:
        """Check at the end of a window whether enough has moved in it.

        Raises:
            TimedOut: Too little has moved.
        """
        now = self._now()
        limits = self._limits
        if now - self._began < limits.stall_s:
            return
        if self._bytes >= limits.min_progress_bytes:
            self._quiet_since = None
        else:
            if is_mid_frame:
                raise TimedOut(f"{peer} moved only {self._bytes} bytes in {limits.stall_s:.0f} s")
            self._quiet_since = self._began if self._quiet_since is None else self._quiet_since
            if now - self._quiet_since >= self._quiet_s:
                raise TimedOut(
                    f"{peer} has sent hardly more than heartbeats for {self._quiet_s:.0f} s"
                )
        self._began = now
        self._bytes = 0
