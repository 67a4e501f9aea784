"""Moves that would reveal something hidden by its place, or hide something visible."""

from __future__ import annotations

import contextlib

from ftransfer.errors import Forbidden, NotAFolder
from ftransfer.names import SafeName
from ftransfer.storage.base import Store
from ftransfer.transfer.hidden_names import HiddenNames


async def refuse_to_uncover(
    store: Store, hiding: HiddenNames, source: SafeName, target: SafeName
) -> None:
    """Raise an error if a move would change whether something in a folder is hidden.

    Args:
        store: Shows hidden names, too.

    Raises:
        Forbidden: Something is hidden at only one of the two places.
    """
    if hiding.looks_at_last:
        return
    with contextlib.suppress(NotAFolder):
        batches = store.scan(source, recursive=True, links=True)
        async with contextlib.aclosing(batches):
            async for batch in batches:
                for name in (SafeName.trusted(entry.name) for entry in batch):
                    moved = SafeName(target.parts + name.parts[len(source.parts) :])
                    if hiding.covers(name) != hiding.covers(moved):
                        raise Forbidden.about(
                            source, "cannot be moved there, because of names that this server hides"
                        )
