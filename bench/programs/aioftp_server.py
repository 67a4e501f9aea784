"""An aioftp server for a folder: `aioftp_server HOST PORT FOLDER`; anyone may read and write."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


async def serve(host: str, port: int, folder: str) -> None:
    import aioftp

    server: Any = aioftp.Server([aioftp.User(base_path=folder)], path_io_factory=aioftp.AsyncPathIO)
    await server.start(host, port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
