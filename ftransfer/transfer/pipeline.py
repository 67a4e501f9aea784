"""Two steps at once: the next item is prepared while the present one is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def read_ahead(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Give the items of `source`, one of them made ahead. Close it (contextlib.aclosing) if it is left before the end."""

    async def step() -> T | None:
        return await anext(source, None)

    ahead = asyncio.create_task(step())
    try:
        while (item := await ahead) is not None:
            ahead = asyncio.create_task(step())
            yield item
    finally:
        ahead.cancel()
        await asyncio.wait([ahead])
        if not ahead.cancelled():
            ahead.exception()
        await source.aclose()
