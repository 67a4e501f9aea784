"""Merging of changes to one name that follow each other closely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from ftransfer.protocol.live import CHANGED, CREATED, MOVED, REMOVED, Change
from ftransfer.service.timers import Timer, Timers
from ftransfer.storage.base import FOLDER


class Debouncer:
    """Merges changes of one name within `merge_s`: passes on the first, then the latest state.

    Args:
        forward: Called with each change that is passed on.
        timers: By default those of the running event loop.
    """

    def __init__(
        self,
        merge_s: float,
        forward: Callable[[Change], None],
        timers: Timers | None = None,
    ) -> None:
        self._merge_s = merge_s
        self._forward = forward
        self._timers: Timers = timers or asyncio.get_running_loop()
        self._latest: dict[str, Change] = {}  # passed on within merge_s; oldest first
        self._waiting: dict[str, Change] = {}
        self._ends: dict[str, Timer] = {}

    def add(self, change: Change) -> None:
        self._flush_related(change)
        if change.what == MOVED:
            # Both names matter, and so does the order: pending changes of either come first.
            self._flush(change.old)
            self._flush(change.name)
            self._pass_on(change)
        elif change.name not in self._latest:
            self._pass_on(change)
        else:
            merged = _merged(self._latest[change.name], change)
            if merged is None:
                self._waiting.pop(change.name, None)
            else:
                self._waiting[change.name] = merged

    def stop(self) -> None:
        """Cancel the timers."""
        for timer in self._ends.values():
            timer.cancel()

    def _flush_related(self, change: Change) -> None:
        """First pass on pending changes of folders above and, for a folder, of names below.

        The order of these changes matters.
        """
        if not self._waiting:
            return
        name = change.name
        while name := name.rpartition("/")[0]:
            self._flush(name)
        if change.kind == FOLDER:
            for below in [name for name in self._waiting if name.startswith(f"{change.name}/")]:
                self._flush(below)

    def _flush(self, name: str) -> None:
        change = self._waiting.pop(name, None)
        if change is not None:
            self._pass_on(change)

    def _pass_on(self, change: Change) -> None:
        self._latest[change.name] = change
        timer = self._ends.pop(change.name, None)
        if timer is not None:
            timer.cancel()
        self._ends[change.name] = self._timers.call_later(
            self._merge_s, partial(self._end, change.name)
        )
        self._forward(change)

    def _end(self, name: str) -> None:
        """End the time in which changes of a name are merged."""
        self._latest.pop(name, None)
        self._ends.pop(name, None)
        self._flush(name)


def _merged(sent: Change, change: Change) -> Change | None:
    """Return the change from `sent` to the state after `change`; None if nothing is new."""
    if change.what == REMOVED:
        return None if sent.what == REMOVED else change
    return change._replace(what=CREATED if sent.what == REMOVED else CHANGED)
