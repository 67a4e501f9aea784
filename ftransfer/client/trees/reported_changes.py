"""Changes that a server has reported, and the plan that applies them here, without a listing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ftransfer.client.paths import below
from ftransfer.client.request_window import Request, request_many
from ftransfer.client.session import ClientSession
from ftransfer.client.trees.plan import Plan
from ftransfer.errors import FtransferError
from ftransfer.names import SafeName, parse_name
from ftransfer.protocol.live import MOVED, REMOVED, Change
from ftransfer.storage.base import FILE, FOLDER, Entry, Store
from ftransfer.transfer.packs import MAX_PACKED_BYTES
from ftransfer.transfer.records import described_from_wire
from ftransfer.transfer.running_digest import digest_in_store


class ReportedChanges:
    """The names below a folder in a batch of changes: the last change of each name.

    Names are relative to the folder.
    """

    def __init__(self, root: SafeName, changes: Iterable[Change]) -> None:
        self.files: dict[str, Change] = {}
        self.gone: dict[str, Change] = {}
        self.moved: list[tuple[str, str, Change]] = []  # large files: from, to
        self.is_plain = True  # whether only files have changed
        self.is_root_gone = False
        self.is_surprised = False  # whether something here differed from the reports
        self._root = root
        for change in changes:
            self._take(change)

    def _take(self, change: Change) -> None:
        name = self._relative(change.name)
        old = self._relative(change.old) if change.what == MOVED else ""
        if name == "":
            self.is_root_gone = change.what == REMOVED
        if change.kind != FILE or name == "":
            self.is_plain = False
        for last in filter(None, (old, name)):
            self.files.pop(last, None)
            self.gone.pop(last, None)
        if old:
            self.gone[old] = change
        if name and change.what == REMOVED:
            self.gone[name] = change
        elif name and change.kind == FILE:
            self.files[name] = change
            if old and change.size > MAX_PACKED_BYTES:
                self.moved.append((old, name, change))

    def _relative(self, text: str) -> str | None:
        """Return a name relative to the folder ("" is the folder); None if it is elsewhere."""
        name = parse_name(text)
        return "/".join(name.parts[len(self._root.parts) :]) if name.is_within(self._root) else None

    def parents(self) -> Iterator[str]:
        """Yield the folders in which something has changed."""
        yield from sorted({name.rpartition("/")[0] for name in (*self.files, *self.gone)} - {""})


async def plan_reported(
    plan: Plan,
    session: ClientSession,
    store: Store,
    remote: SafeName,
    changes: ReportedChanges,
    *,
    delete: bool,
) -> None:
    """Plan what makes the local names as they were reported."""
    if delete:
        for old, new, change in changes.moved:
            await _take_over(session, store, remote, old, new, change)
    for name, change in changes.files.items():
        here = await _find(store, name)
        changes.is_surprised |= here is not None and here.kind != FILE
        if here is None or (here.kind, here.size, here.mtime_ns) != (
            FILE,
            change.size,
            change.mtime_ns,
        ):
            plan.add_copy(Entry(name, FILE, change.size, change.mtime_ns, 0o600))
    for name, change in changes.gone.items() if delete else ():
        here = await _find(store, name)
        if here is not None and here.kind == change.kind:
            plan.removed.add(here)
        changes.is_surprised |= here is not None and here.kind != change.kind
    await _plan_folders(plan, session, remote, changes)


async def _find(store: Store, name: str) -> Entry | None:
    try:
        return await store.stat(parse_name(name))
    except FtransferError:
        return None


async def _take_over(
    session: ClientSession, store: Store, remote: SafeName, old: str, new: str, change: Change
) -> None:
    """Move a large local file as it was moved on the server, if its content is the same.

    Otherwise it will be fetched.
    """
    here = await _find(store, old)
    if here is None or (here.kind, here.size) != (FILE, change.size):
        return
    try:
        digest = (await session.request("checksum", str(below(remote, new)))).get("digest")
        if digest == await digest_in_store(store, parse_name(old)):
            await store.make_folder(parse_name(new).parent, parents=True)
            await store.rename(parse_name(old), parse_name(new), replace=True)
    except FtransferError:
        if not session.is_in_step:
            raise


async def _plan_folders(
    plan: Plan, session: ClientSession, remote: SafeName, changes: ReportedChanges
) -> None:
    """Plan the folders of the names: their mtime has changed with their content."""
    names = list(changes.parents())
    commands: Iterator[Request] = (("stat", str(below(remote, name)), {}) for name in names)
    async with contextlib.aclosing(request_many(session, commands)) as answers:
        for name in names:
            answer = await anext(answers)
            if isinstance(answer, FtransferError):
                continue  # gone again, which will be reported, or not visible to us
            entry = described_from_wire(answer, below(remote, name))
            if entry.kind == FOLDER:
                plan.folders.add(entry._replace(name=name))
