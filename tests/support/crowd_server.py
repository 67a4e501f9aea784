"""Run a server in its own process, so that its memory can be measured.

Arguments: FOLDER CERTIFICATE-or-"" LIMITS-as-JSON. It prints its port and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys

from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.local import LocalStore
from ftransfer.tls.contexts import ServerTls


async def main(folder: str, certificate: str, limits: str) -> None:
    store = await LocalStore.open(folder, durable=False)
    tls = ServerTls(certificate) if certificate else None
    server = await Server.start(
        Share(store), port=0, options=ServiceOptions(limits=Limits(**json.loads(limits))), tls=tls
    )
    sys.stdout.write(f"{server.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
