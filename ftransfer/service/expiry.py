"""Interrupted uploads that nobody resumes: they are kept for some days, then removed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from ftransfer.errors import ShareError
from ftransfer.storage.base import Partial, Store

log = logging.getLogger("ftransfer.server")

_INTERVAL_S = 3600.0


async def expire_partials(
    store: Store,
    keep_s: float,
    *,
    now_ns: Callable[[], int] = time.time_ns,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> NoReturn:
    """Remove partials that have not grown for `keep_s` seconds, now and every hour.

    Runs until cancelled. Partials that are being written stay. If the store fails, the next hour
    tries again.
    """
    while True:
        latest_ns = now_ns() - int(keep_s * 1e9)
        try:
            gone = await store.clear_partials(_younger_than(latest_ns))
        except ShareError as error:
            log.warning("old partial uploads cannot be removed: %s", error)
        else:
            if gone:
                log.info(
                    "%d old partial uploads removed, %d bytes freed",
                    len(gone),
                    sum(partial.kept for partial in gone),
                )
        await pause(_INTERVAL_S)


def _younger_than(latest_ns: int) -> Callable[[Partial], bool]:
    return lambda partial: partial.mtime_ns > latest_ns
