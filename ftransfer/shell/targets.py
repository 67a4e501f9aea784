"""Where a file goes in the share, by the rule of cp: under the name that is given, or into the
folder that has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ftransfer.errors import AlreadyThere, FtransferError, NotAFile, NotAFolder
from ftransfer.storage.base import FOLDER, Entry

T = TypeVar("T")


class Describes(Protocol):
    """What is asked of a client."""

    async def stat(self, name: str) -> Entry: ...


async def check_folder(client: Describes, typed: str) -> None:
    """Refuse to put several files into what is no folder of the share.

    Args:
        typed: Its name; one that ends in a slash is checked by the server, which may let us put and
            not look.

    Raises:
        NotFound, NotAFolder, and what else stat raises.
    """
    if not typed.endswith("/") and (await client.stat(typed)).kind != FOLDER:
        raise NotAFolder.about(typed, "is a file in the share, and several files need a folder")


async def into_folder_if_one(
    client: Describes, store: Callable[[str], Awaitable[T]], name: str, last: str
) -> T:
    """Store something as `name`; if a folder has that name, as `last` in it.

    The server is asked about the name only after it has refused, so that what is usual costs no
    round trip.
    """
    try:
        return await store(name)
    except (NotAFile, AlreadyThere):
        if not await _is_folder(client, name):
            raise
    return await store(f"{name.rstrip('/')}/{last}")


async def _is_folder(client: Describes, name: str) -> bool:
    try:
        return (await client.stat(name)).kind == FOLDER
    except FtransferError:
        return False
