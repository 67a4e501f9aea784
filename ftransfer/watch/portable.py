"""Any system's word that something below a folder has changed, through a library: for all but
Linux.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ftransfer.watch.hints import Hints, QueueOverflow

# Paths are gathered until nothing more comes for a step, at most for a bunch.
_STEP_MS = 50
_BUNCH_MS = 200
# The library does not say when the system has lost some. A bunch of so many may be all that was
# left.
_BUNCH_TO_DOUBT = 8_192


class PortableHints(Hints):
    """See Hints."""

    def __init__(
        self, folder: str, told: Callable[[set[str]], None], failed: Callable[[Exception], None]
    ) -> None:
        super().__init__(folder, told, failed)
        self._stopping = threading.Event()

    def _wake(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        from watchfiles import watch  # here, since a server that nobody watches does without it

        try:
            # The first batch, empty if need be, comes when all is armed.
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
                self._call(self._take, {path for _, path in batch})
        except (
            Exception
        ) as error:  # the library has exceptions of its own, for a name that is not UTF-8 as well
            self._call(self._fail, error)

    def _take(self, paths: set[str]) -> None:
        self._set_armed()
        if len(paths) >= _BUNCH_TO_DOUBT:
            self._failed(QueueOverflow("more changes at once than the system tells of"))
        elif paths:
            self._told(paths)
