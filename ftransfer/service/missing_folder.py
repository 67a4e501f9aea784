"""Why a name was not found: which parent folder does not exist."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Protocol

from ftransfer.auth.permissions import Principal
from ftransfer.errors import FtransferError, NotFound
from ftransfer.names import SafeName, escape
from ftransfer.service.access_rules import SEEING, not_found
from ftransfer.storage.base import Entry


class Viewer(Protocol):
    """The client that asks (service.view)."""

    @property
    def principal(self) -> Principal: ...
    async def stat(self, path: str) -> Entry: ...


@contextlib.asynccontextmanager
async def naming_missing_folder(
    viewer: Viewer, name: SafeName, source: SafeName | None = None
) -> AsyncGenerator[None, None]:
    """Make NotFound name the missing folder above `name`, if that is the cause and it is visible.

    Args:
        source: Another name that may be the missing one.
    """
    try:
        yield
    except NotFound as error:
        if source is not None and not await _exists(viewer, source):
            raise not_found(source) from error
        missing = await _missing_above(viewer, name)
        if missing is None:
            raise
        makes = escape(str(name.parent))
        advice = f'mkdir -p "{makes}"' if " " in makes else f"mkdir -p {makes}"
        raise NotFound.about(missing, f"there is no such folder; {advice} makes it") from error


async def _missing_above(viewer: Viewer, name: SafeName) -> SafeName | None:
    """Return the first missing folder above a name.

    A binary search: a name of a thousand parts takes ten lookups.
    """
    there, missing = 0, len(name.parts)
    while missing - there > 1:
        middle = (there + missing) // 2
        if await _exists(viewer, SafeName(name.parts[:middle])):
            there = middle
        else:
            missing = middle
    found = SafeName(name.parts[:missing])
    may_be_seen = any(viewer.principal.may_below(right, found) for right in SEEING)
    return found if missing < len(name.parts) and may_be_seen else None


async def _exists(viewer: Viewer, name: SafeName) -> bool:
    try:
        await viewer.stat(str(name) or "/")
    except FtransferError:
        return False
    return True
