"""A progress line on a terminal, for transfers that take longer than half a second.

Its text is made in shell/progress_line.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from types import TracebackType
from typing import TextIO

from ftransfer.transfer.records import Progress, ProgressCallback

_DELAY_S = 0.5
_TICK_S = 0.1
_USUAL_WIDTH = 80
_RATE_S = 5.0  # the rate is averaged over this time


class ProgressBar:
    """Shows one transfer, as a context manager, and leaves nothing on the screen.

    Attributes:
        callback: For the transfer; None if nothing is to be drawn, so that no time is lost.
    """

    def __init__(self, stream: TextIO, *, is_shown: bool, delay_s: float = _DELAY_S) -> None:
        is_shown = is_shown and os.environ.get("TERM") != "dumb"
        self.callback: ProgressCallback | None = self._note if is_shown else None
        self._stream = stream
        self._delay_s = delay_s
        self._latest: Progress | None = None
        self._samples: deque[tuple[float, int]] = deque()  # (time, bytes done)
        self._timer: asyncio.TimerHandle | None = None
        self._cells = 0  # width of the line on the screen

    def __enter__(self) -> ProgressBar:
        if self.callback is not None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self._tick)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._cells:
            self._write(self._wiped())

    @property
    def latest(self) -> Progress | None:
        """Return the last progress of the transfer; None without a line."""
        return self._latest

    def _note(self, progress: Progress) -> None:
        if self._latest is None:  # bytes of an earlier attempt do not count as speed
            self._samples.append((time.monotonic(), progress.done))
        self._latest = progress

    def _tick(self) -> None:
        from ftransfer.shell.columns import cells  # most transfers end before this is needed
        from ftransfer.shell.progress_line import progress_line

        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        if self._latest is None:
            return
        line = progress_line(
            self._latest,
            self._rate(self._latest.done),
            self._width() - 1,
            is_plain=self._is_plain(),
        )
        text = self._wiped() + line
        self._cells = cells(line)
        self._write(text)

    def _rate(self, done: int) -> float:
        """Return the recent rate in bytes per second."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] > _RATE_S:
            self._samples.popleft()
        since, before = self._samples[0]
        return max(0.0, (done - before) / (now - since)) if now > since else 0.0

    def _wiped(self) -> str:
        """Return what clears the line, even if a narrower terminal has wrapped it."""
        rows_above = max(0, self._cells - 1) // self._width() if self._cells else 0
        return (f"\x1b[{rows_above}A\r\x1b[J" if rows_above else "\r") + "\x1b[2K"

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _USUAL_WIDTH
        except (OSError, ValueError):  # not a terminal, or one without a size
            return _USUAL_WIDTH

    def _is_plain(self) -> bool:
        return not (self._stream.encoding or "").lower().startswith("utf")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
