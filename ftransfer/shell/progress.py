"""A progress bar on a terminal, for transfers that take longer than half a second.

Bytes, rate and time left are drawn by rich, which is imported when the first bar is due: most transfers are over before.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from ftransfer.shell.wording import short_name
from ftransfer.transfer.records import Progress, ProgressCallback

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_DELAY_S = 0.5
_TICK_S = 0.1
_PHASES = {"verify": "verifying", "commit": "writing to disk", "reconnect": "connecting again"}


class ProgressBar:
    """Shows one transfer, from `__enter__` to `__exit__`; leaves nothing on the screen.

    `callback` goes to the transfer; it is None where no bar may be drawn, so that a transfer without one loses no time.
    """

    def __init__(self, stream: TextIO, *, is_shown: bool, delay_s: float = _DELAY_S) -> None:
        self.callback: ProgressCallback | None = self._note if is_shown else None
        self._stream = stream
        self._delay_s = delay_s
        self._latest: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        if self.callback is not None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self._tick)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._bars is not None:
            self._bars.stop()

    @property
    def latest(self) -> Progress | None:
        """How far the transfer was when that was last told; None without a bar."""
        return self._latest

    def _note(self, progress: Progress) -> None:
        self._latest = progress

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        if self._latest is None:
            return
        if self._bars is None:
            self._bars = _make_bars(self._stream)
            self._bars.start()
        latest = self._latest
        label = short_name(latest.name)
        phase = _PHASES.get(latest.phase, "")
        if self._task is None:
            # What an earlier attempt left is in `completed` from the start, so it does not count as speed.
            self._task = self._bars.add_task(label, total=latest.total, completed=latest.done, phase=phase)
        else:
            self._bars.update(self._task, description=label, total=latest.total, completed=latest.done, phase=phase)
        self._bars.refresh()


def _make_bars(stream: TextIO) -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=40)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8)),
        DownloadColumn(table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[phase]}", markup=False, table_column=Column(no_wrap=True)),
        console=Console(file=stream, markup=False, highlight=False, emoji=False),
        # The event loop redraws: a thread of rich's own would hold a lock just when the callback needs it.
        auto_refresh=False,
        transient=True,
        expand=True,
    )
