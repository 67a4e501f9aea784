"""Hints that something below a folder has changed, from a library: for all systems but Linux."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ftransfer.watch.hints import Hints, QueueOverflow

# Paths are collected until no more come for _STEP_MS, at most for _BUNCH_MS.
_STEP_MS = 50
_BUNCH_MS = 200
# The library does not report lost events. A batch this large may be incomplete.
_DOUBTFUL_PATHS = 8_192


class PortableHints(Hints):
    """See Hints."""

    def __init__(
        self,
        folder: str,
        on_paths: Callable[[set[str]], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        super().__init__(folder, on_paths, on_failure)
        self._stopping = threading.Event()

    def _wake(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        from watchfiles import watch  # imported only when needed: it is slow to import

        try:
            # The first batch, possibly empty, comes when everything is watched.
            for batch in watch(
                self._folder,
                watch_filter=None,
                step=_STEP_MS,
                debounce=_BUNCH_MS,
                rust_timeout=2 * _STEP_MS,
                yield_on_timeout=True,
                stop_event=self._stopping,
                raise_interrupt=False,
                ignore_permission_denied=True,
                force_polling=False,
            ):
                self._call(self._accept, {path for _, path in batch})
        except Exception as error:
            # The library raises its own exceptions, also for a name that is not UTF-8.
            self._call(self._fail, error)

    def _accept(self, paths: set[str]) -> None:
        self._set_armed()
        if len(paths) >= _DOUBTFUL_PATHS:
            self._on_failure(QueueOverflow("more changes at once than the system reports"))
        elif paths:
            self._on_paths(paths)
