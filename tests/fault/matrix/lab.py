"""A server in this process over the share of a stage, for faults that are made from within."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ftransfer.digest import Digest
from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.local import LocalStore
from tests.fault.matrix.content import Ledger


@dataclass(slots=True)
class Stage:
    """The two folders of one attempt, and the address of its server while that runs."""

    share: Ledger
    local: Ledger
    limits: Limits
    chunk_bytes: int = 8_192
    # (name on the side that is written, digest)
    acknowledged: list[tuple[str, Digest]] = field(default_factory=list, init=False)
    # A command has begun afresh by itself, since a part did not verify
    restarted: bool = field(default=False, init=False)
    own: Path | None = None
    address: tuple[str, int] = field(default=("", 0), init=False)
    server: Server | None = field(default=None, init=False, repr=False)

    async def all_gone(self) -> None:
        """Wait until the server has no session: what a broken one has kept is on disk then."""
        assert self.server is not None
        async with asyncio.timeout(30):
            while self.server.sessions:
                await asyncio.wait(self.server.sessions.values())

    def clear(self) -> None:
        if self.own is not None:
            shutil.rmtree(self.own, ignore_errors=True)


@asynccontextmanager
async def serving(stage: Stage, *, direct: bool = True) -> AsyncIterator[Server]:
    """Serve the share of a stage while the block runs; its store is closed after it."""
    limits = stage.limits._replace(max_chunk_bytes=stage.chunk_bytes)
    store = await LocalStore.open(stage.share.root)
    try:
        server = await Server.start(
            Share(store), port=0, options=ServiceOptions(limits=limits), direct=direct
        )
        stage.address, stage.server = server.addresses[0], server
        try:
            yield server
        finally:
            stage.server = None
            await server.stop(grace_s=0)
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class Footprint:
    """What this process holds: descriptors, threads of stores, and tasks."""

    descriptors: frozenset[str]
    io_threads: int
    tasks: int

    def more_than(self, before: Footprint) -> list[str]:
        """Return what was added since and should be gone."""
        found = [
            f"a descriptor of {name} is left open"
            for name in sorted(self.descriptors - before.descriptors)
        ]
        if self.io_threads > before.io_threads:
            found.append(f"{self.io_threads - before.io_threads} threads of a store are left")
        if self.tasks > before.tasks:
            found.append(f"{self.tasks - before.tasks} tasks are left")
        return found


async def footprint() -> Footprint:
    """Count. Call it when nothing is going on."""
    for _ in range(3):
        # Transports that were aborted give their sockets back in the next turn of the loop
        await asyncio.sleep(0)
    gc.collect(0)
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue  # that of the listing itself
    threads = sum(thread.name.startswith("ftransfer-io") for thread in threading.enumerate())
    return Footprint(frozenset(found), threads, len(asyncio.all_tasks()))
