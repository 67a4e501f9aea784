"""A server that prints when its first session arrives, and how soon it noticed its loss.

Run as a program in a network namespace: python -m tests.support.vanishing ADDRESS VANISH_S. A line
on stdin starts the clock.
"""

from __future__ import annotations

import asyncio
import sys

from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.memory import MemoryStore


async def main(address: str, vanish_s: float) -> None:
    limits = Limits(vanish_s=vanish_s, heartbeat_s=0.3)
    server = await Server.start(
        Share(MemoryStore()), host=address, port=0, options=ServiceOptions(limits=limits)
    )
    say(f"listening on {server.addresses[0][1]}")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    assert len(server.sessions) == 1
    began = loop.time()
    await asyncio.wait(server.sessions.values())
    say(f"noticed after {loop.time() - began:.1f}")
    await server.stop(0)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
