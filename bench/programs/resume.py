"""Cuts a transfer and goes on with it: `resume get|put HOST PORT KEPT_BYTES NAME LOCAL`.

Prints the time from connecting again to the first new byte, and from there to the end. The transfer
itself verifies the content.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import ftransfer

Step = Callable[[int, int], None]  # bytes in place before this, and now


async def transfer(verb: str, address: tuple[str, int], name: str, local: str, step: Step) -> None:
    """Do one transfer, or what is left of it."""
    known = -1

    def progress(state: Any) -> None:
        nonlocal known
        before, known = known, state.done
        step(before, known)

    async with ftransfer.connect(*address, keep_cancelled=True) as client:
        if verb == "get":
            await client.get(name, local, progress=progress)
        else:
            await client.put(local, name, progress=progress)


async def cut(make: Callable[[Step], Coroutine[Any, Any, None]], kept: int) -> None:
    """Run a transfer until `kept` bytes are in place, and end it."""

    def step(before: int, now: int) -> None:
        if now >= kept:
            task.cancel()

    task = asyncio.get_running_loop().create_task(make(step))
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def measure(
    verb: str, address: tuple[str, int], kept: int, name: str, local: str
) -> dict[str, float]:
    def make(step: Step) -> Coroutine[Any, Any, None]:
        return transfer(verb, address, name, local, step)

    await cut(make, kept)
    began, first, found = time.monotonic(), 0.0, 0

    def step(before: int, now: int) -> None:
        nonlocal first, found
        if before < 0:
            found = now  # what was in place, before anything moves
        elif not first and now > before:
            first = time.monotonic()

    await make(step)
    return {"seconds": first - began, "rest_s": time.monotonic() - first, "kept": found}


if __name__ == "__main__":
    verb, host, port, kept, name, local = sys.argv[1:]
    sys.stdout.write(
        json.dumps(asyncio.run(measure(verb, (host, int(port)), int(kept), name, local))) + "\n"
    )
