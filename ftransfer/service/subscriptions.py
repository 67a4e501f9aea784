"""Changes for those who watch: what each may know of them, encoded only once.

What a session is sent depends only on its subscription: the paths that it watches, and whom it acts
for. So the work for a change grows with the number of different subscriptions, which are few, and
not with the number of listeners, who get a reference to a whole batch.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator

from ftransfer.auth.permissions import Principal, Right
from ftransfer.names import SafeName, sort_key
from ftransfer.protocol.live import CREATED, MOVED, REMOVED, Change, is_below
from ftransfer.service.outbox import EncodedEvents, EventFormat
from ftransfer.service.watched_paths import key_range
from ftransfer.storage.base import FOLDER

# At most this much is joined, so that an outbox has space for several: it takes each as a whole or
# not at all.
_JOINED_BYTES = 16 * 1024


class ChangeBatch:
    """The changes since the last round."""

    def __init__(self) -> None:
        self._changes: list[_VisibleChange] = []
        # Each name that a change is about, with the index of that change; in order
        self._keys: list[tuple[bytes, int]] = []
        self._encoded: dict[tuple[object, ...], list[EncodedEvents]] = {}

    def __len__(self) -> int:
        return len(self._changes)

    def add(self, change: Change) -> None:
        """Add a change, before the first call of `encoded`."""
        assert not self._encoded
        for name in (change.name, change.old):
            if name:
                insort(self._keys, (sort_key(name), len(self._changes)))
        self._changes.append(_VisibleChange(change))

    def encoded(
        self, form: EventFormat, principal: Principal, folders: Collection[SafeName]
    ) -> list[EncodedEvents]:
        """Return the events for somebody who watches these folders, in order."""
        # By identity, which is cheaper than hashing all grants: sessions share principals
        subscription = (form, id(principal), *folders)
        events = self._encoded.get(subscription)
        if events is None:
            pieces = (change.encoded(form, principal, folders) for change in self._in(folders))
            events = self._encoded[subscription] = list(_joined(filter(None, pieces)))
        return events

    def _in(self, folders: Collection[SafeName]) -> Iterator[_VisibleChange]:
        """Yield the changes in some folders, in order; most are in no watched folder."""
        if any(folder.is_root for folder in folders):
            return iter(self._changes)
        places: set[int] = set()
        for folder in folders:
            first, behind = key_range(str(folder))
            start, end = bisect_left(self._keys, (first, -1)), bisect_left(self._keys, (behind, -1))
            places.update(place for _, place in self._keys[start:end])
        return (self._changes[place] for place in sorted(places))


def _joined(pieces: Iterable[bytes]) -> Iterator[EncodedEvents]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if held and size + len(piece) > _JOINED_BYTES:
            yield EncodedEvents(b"".join(held), len(held))
            held, size = [], 0
        held.append(piece)
        size += len(piece)
    if held:
        yield EncodedEvents(b"".join(held), len(held))


class _VisibleChange:
    """One change in its up to three visible forms, each encoded on first use."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._encoded: dict[tuple[EventFormat, Change], bytes] = {}
        if change.what == MOVED:
            # A viewer who sees only one side gets only that side.
            self._went = change._replace(what=REMOVED, name=change.old, old="", size=0, mtime_ns=0)
            self._came = change._replace(what=CREATED, old="")

    def encoded(
        self, form: EventFormat, principal: Principal, folders: Collection[SafeName]
    ) -> bytes:
        """Return the event for one subscription, or nothing."""
        change = self._visible_part(principal, folders)
        if change is None:
            return b""
        key = (form, change)
        data = self._encoded.get(key)
        if data is None:
            data = self._encoded[key] = form.encode(change)
        return data

    def _visible_part(self, principal: Principal, folders: Collection[SafeName]) -> Change | None:
        if self._change.what != MOVED:
            return self._change if _may_see(self._change, principal, folders) else None
        sees_old = _may_see(self._went, principal, folders)
        sees_new = _may_see(self._came, principal, folders)
        if sees_old and sees_new:
            return self._change
        if sees_old:
            return self._went
        return self._came if sees_new else None


def _may_see(change: Change, principal: Principal, folders: Collection[SafeName]) -> bool:
    """Return whether a change is below one of the folders and may be known."""
    if not any(is_below(change, folder) for folder in folders):
        return False
    name = SafeName.trusted(change.name)
    may = principal.may_below if change.kind == FOLDER else principal.may
    return may(Right.LIST, name) and may(Right.WATCH, name)
