"""Get a file COUNT times at once in one process: `crowd HOST PORT NAME COUNT FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import ftransfer


async def get_one(host: str, port: int, name: str, dest: Path) -> None:
    async with ftransfer.connect(host, port) as client:
        await client.get(name, dest)


async def get_all(host: str, port: int, name: str, count: int, folder: Path) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(1, count + 1):
            group.create_task(get_one(host, port, name, folder / str(number)))


if __name__ == "__main__":
    asyncio.run(
        get_all(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    )
