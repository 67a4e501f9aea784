"""Changes as lines above a prompt: of many at once, the first few and a summary of the rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from ftransfer.protocol.live import Change
from ftransfer.shell.people import event_line

_SHOWN = 10
_QUIET_S = 0.5  # after this time without a change, the next ones are shown again
_LONGEST_S = 5.0  # a summary is shown at the latest this long after the first change


class ChangeLines:
    """Shows changes until `close`."""

    def __init__(
        self,
        show: Callable[[str], None],
        *,
        quiet_s: float = _QUIET_S,
        longest_s: float = _LONGEST_S,
    ) -> None:
        self._show = show
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._shown = 0
        self._more: Counter[str] = Counter()
        self._begun_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, change: Change) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._begun_s = loop.time()
        else:
            self._timer.cancel()
        if self._shown < _SHOWN:
            self._shown += 1
            self._show(event_line(change))
        else:
            self._more[change.what] += 1
        end_s = min(loop.time() + self._quiet_s, self._begun_s + self._longest_s)
        self._timer = loop.call_at(end_s, self.close)

    def close(self) -> None:
        """Show a summary of the changes that were not shown."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._more:
            kinds = ", ".join(f"{count} {what}" for what, count in sorted(self._more.items()))
            self._show(f"...      and {self._more.total()} more: {kinds}")
        self._shown = 0
        self._more.clear()
