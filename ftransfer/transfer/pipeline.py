"""Two overlapping steps: the next item is prepared while the current one is used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def read_ahead(
    source: AsyncGenerator[T, None], pays: Callable[[T], bool] = lambda _: True
) -> AsyncGenerator[T, None]:
    """Yield the items of `source`; one of them is made ahead.

    Close it (contextlib.aclosing) when leaving it early.

    Args:
        pays: Whether to make the item after this one while this one is used; else it is made
            afterwards.
    """

    async def step() -> T | None:
        return await anext(source, None)

    ahead = asyncio.create_task(step())
    try:
        while (item := await ahead) is not None:
            if pays(item):
                ahead = asyncio.create_task(step())
                yield item
            else:
                yield item
                ahead = asyncio.create_task(step())
    finally:
        ahead.cancel()
        await asyncio.wait([ahead])
        if not ahead.cancelled():
            ahead.exception()
        await source.aclose()


@contextlib.asynccontextmanager
async def closing(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an iterator, if it can be closed, at the end of the block."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


class OverlappedStep:
    """Runs steps in order, each in a task, while the caller continues.

    One step runs and none waits, so memory stays bounded. Always `finish` or `settle` it.
    """

    def __init__(self) -> None:
        self._step: asyncio.Task[None] | None = None

    async def start(self, step: Coroutine[Any, Any, None]) -> None:
        """Begin a step as soon as the last one has ended. Raise the error of the last one."""
        try:
            await self.finish()
        except BaseException:
            step.close()
            raise
        self._step = asyncio.create_task(step)

    async def finish(self) -> None:
        """Wait for the current step. Raise its error."""
        step, self._step = self._step, None
        if step is not None:
            try:
                await asyncio.shield(step)
            except asyncio.CancelledError:
                self._step = step  # the caller was cancelled, not the step
                raise

    async def settle(self) -> None:
        """Let the current step end, even with an error: a file is published whole or not at all."""
        step, self._step = self._step, None
        if step is not None:
            await asyncio.wait([step])
            if not step.cancelled():
                step.exception()
