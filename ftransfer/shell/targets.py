"""The remote name for an upload or a move, as with cp: the given name, or one in that folder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ftransfer.errors import AlreadyThere, FtransferError, NotAFile, NotAFolder
from ftransfer.storage.base import FOLDER, Entry

T = TypeVar("T")


class Describes(Protocol):
    """What is needed of a client."""

    async def stat(self, name: str) -> Entry: ...


async def check_folder(client: Describes, typed: str) -> None:
    """Refuse to upload several files to a name that is not a folder.

    Args:
        typed: The name. With a trailing slash it is left to the server, which may allow to write
            but not to look.

    Raises:
        NotFound, NotAFolder: It does not exist, or is a file; and other errors of stat.
    """
    if not typed.endswith("/") and (await client.stat(typed)).kind != FOLDER:
        raise NotAFolder.about(typed, "is a file in the share; several files need a folder")


async def into_folder_if_one(
    client: Describes, store: Callable[[str], Awaitable[T]], name: str, last: str
) -> T:
    """Store something as `name` or, if that is a folder, as `last` in it.

    The name is only looked up after a refusal, so the usual case needs no extra round trip.
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
