"""Commands on the files of a share: list, describe, rename, remove, set attributes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from ftransfer.client.base import ClientBase
from ftransfer.client.paths import RemoteName, share_name, share_path
from ftransfer.client.session import ClientSession, require_count
from ftransfer.digest import Digest, is_digest
from ftransfer.errors import RemoteProtocolError
from ftransfer.names import escape, parse_name
from ftransfer.protocol.replies import Listing, Reply, take, take_count, take_time
from ftransfer.storage.base import Entry, Partial
from ftransfer.transfer.records import described_from_wire, entries_from_wire


class Checksum(NamedTuple):
    """The content of a file: `size` in bytes, and its BLAKE3 digest in hexadecimal, as in b3sum."""

    name: str
    size: int
    digest: Digest


class FileCommands(ClientBase):
    """The commands of a Client on files and folders. All except `iter_dir` are one round trip."""

    async def dir(self, path: RemoteName = "") -> list[Entry]:
        """Return the entries of a folder ("" is the share itself), sorted by name.

        Raises:
            NotFound, NotAFolder, Forbidden, NameRefused, and ChannelError.
        """
        entries = [entry async for batch in self.iter_dir(path) for entry in batch]
        return sorted(entries, key=lambda entry: entry.name)

    async def iter_dir(
        self, path: RemoteName = "", *, recursive: bool = False, links: bool = False
    ) -> AsyncIterator[Sequence[Entry]]:
        """Yield the entries of a folder in batches as they arrive, in bounded memory.

        No other command of this client can run until the listing is read to its end. Leaving it
        early closes the connection; the next command opens a new one.
        """
        below = share_path(path)
        options = {
            key: True for key, wanted in (("recursive", recursive), ("links", links)) if wanted
        }
        async with self.exclusive_session() as session:
            await session.send("dir", str(below), options)
            count = 0
            while isinstance(event := await session.next_event(), Listing):
                count += len(event.items)
                yield entries_from_wire(event.items, below)
            if not isinstance(event, Reply):
                raise session.unexpected(event)
            require_count(event.values, "entries", count)

    async def stat(self, name: RemoteName) -> Entry:
        """Return the entry of a file or folder ("" is the share itself), with its identity.

        Raises:
            NotFound, NotAFile (a fifo or device), NameRefused, and ChannelError.
        """
        safe = share_path(name)
        return described_from_wire(await self._request("stat", str(safe) or "/"), safe)

    async def checksum(self, name: RemoteName) -> Checksum:
        """Return the digest of a file; the server computes it if needed.

        Raises:
            NotFound, NotAFile, Forbidden, NameRefused, and ChannelError; SourceChanged if the file
            changed meanwhile.
        """
        safe = share_name(name)
        return checksum_from_wire(await self._request("checksum", str(safe)))

    async def mkdir(self, name: RemoteName, *, parents: bool = False) -> None:
        """Make a folder.

        With `parents`, missing parents are made too, and an existing folder is no error.

        Raises:
            AlreadyThere, NotFound (the parent), NotAFolder, Forbidden, ReadOnly, NameRefused, and
            ChannelError.
        """
        await self._request(
            "mkdir", str(share_path(name)) or "/", {"parents": True} if parents else None
        )

    async def rename(self, old: RemoteName, new: RemoteName, *, replace: bool = False) -> None:
        """Move a file or folder within the share, atomically. A link itself is moved.

        Raises:
            AlreadyThere: The new name exists, and `replace` is false.
            NotFound, NotAFile, NotAFolder, FolderNotEmpty, Forbidden, ReadOnly, NameRefused, and
            ChannelError.
        """
        options: dict[str, Any] = {"to": str(share_path(new)) or "/"}
        if replace:
            options["replace"] = True
        await self._request("mv", str(share_path(old)) or "/", options)

    async def remove(self, name: RemoteName, *, recursive: bool = False) -> int:
        """Remove a file or folder; return how many names were removed.

        A link itself is removed. A name that ends in "/" means a folder.

        Raises:
            NotAFolder: The name ends in "/" and is a file.
            FolderNotEmpty: The folder has content, and `recursive` is false.
            NotFound, NotAFile (a fifo or device), Forbidden, ReadOnly, NameRefused, and
            ChannelError.
        """
        asked = str(share_path(name)) or "/"
        if os.fsdecode(name).endswith("/") and asked != "/":
            asked += "/"
        values = await self._request("rm", asked, {"recursive": True} if recursive else None)
        return take_count(values, "removed")

    async def set_attributes(
        self, name: RemoteName, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> None:
        """Set the mtime (nanoseconds since 1970) or the permission bits of a file or folder.

        Raises:
            NotFound, NotAFile (a fifo or device), Forbidden, ReadOnly, NameRefused, and
            ChannelError.
        """
        given = {"mtime_ns": mtime_ns, "mode": mode}
        options = {key: value for key, value in given.items() if value is not None}
        await self._request("setstat", str(share_path(name)) or "/", options)

    async def partials(
        self, path: RemoteName = "", *, older_s: int = 0, source: str = ""
    ) -> list[Partial]:
        """Return the interrupted uploads that can be resumed, oldest first.

        Only the sender of an upload knows its `source`.

        Args:
            path: Only uploads of this name, or below this folder.
            older_s: Only those that have not grown for this many seconds.
            source: Only those of this source. A user who has no name and may not list sees no
                others.
        """
        return await self._partials(path, _chosen(older_s, source))

    async def clear_partials(
        self, path: RemoteName = "", *, older_s: int = 0, source: str = ""
    ) -> list[Partial]:
        """Remove interrupted uploads except running ones; return those removed.

        Raises:
            ReadOnly, NameRefused, and ChannelError.
        """
        return await self._partials(path, {"clear": True, **_chosen(older_s, source)})

    async def _partials(self, path: RemoteName, options: Mapping[str, Any]) -> list[Partial]:
        below = str(share_path(path))
        async with self.exclusive_session() as session:
            return await fetch_partials(session, below, options)

    async def help(self) -> list[tuple[str, str]]:
        """Return the server's verbs as (usage, summary)."""
        values = await self._request("help")
        rows = values.get("verbs")
        return [
            (str(row.get("usage")), str(row.get("summary")))
            for row in rows or []
            if isinstance(row, dict)
        ]


def _chosen(older_s: int, source: str) -> dict[str, Any]:
    return {**({"older_s": older_s} if older_s else {}), **({"source": source} if source else {})}


async def fetch_partials(
    session: ClientSession, below: str, options: Mapping[str, Any] | None = None
) -> list[Partial]:
    """Return the interrupted uploads that the server lists.

    Source: docs/protocol.md section 7.4.
    """
    found: list[Partial] = []
    await session.send("partials", below, options)
    while isinstance(event := await session.next_event(), Listing):
        found += [_partial_from_wire(item) for item in event.items]
    if not isinstance(event, Reply):
        raise session.unexpected(event)
    require_count(event.values, "partials", len(found))
    return found


def checksum_from_wire(values: Mapping[str, Any]) -> Checksum:
    """Decode the reply to `checksum`. Raise RemoteProtocolError if it is not valid."""
    digest = take(values, "digest", str)
    if not is_digest(digest):
        raise RemoteProtocolError(f"{escape(digest[:80])} is not a digest")
    return Checksum(take(values, "name", str), take_count(values, "size"), digest)


def _partial_from_wire(value: object) -> Partial:
    if not isinstance(value, Mapping):
        raise RemoteProtocolError("an entry of a listing is not an object")
    return Partial(
        name=str(parse_name(take(value, "name", str))),
        owner=take(value, "owner", str, ""),
        source="",
        kept=take_count(value, "kept"),
        size=take_count(value, "size") if value.get("size") is not None else None,
        mtime_ns=take_time(value, "mtime_ns"),
    )
