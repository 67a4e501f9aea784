"""Compare a local tree with one on the server, and plan what makes the one like the other.

If the server offers spans, they come first: what both sides have in common is then neither sent nor
compared name by name, and only the ranges that differ are listed. Both sides walk at the same time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from ftransfer.client.paths import below
from ftransfer.client.request_window import Request, request_many
from ftransfer.client.session import ClientSession, require_count
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.plan import Plan
from ftransfer.client.trees.run import TreeRun
from ftransfer.errors import FtransferError, NotFound, ShareError, SourceChanged, TransferError
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.protocol.replies import SPANS, Listing, Reply
from ftransfer.storage import listings
from ftransfer.storage.base import FOLDER, WHOLE, Entry, Range, Store
from ftransfer.transfer.pipeline import closing, read_ahead
from ftransfer.transfer.records import entries_from_wire
from ftransfer.transfer.running_digest import digest_in_store
from ftransfer.transfer.spans import Span, SpanDifferences, find_differences, span_from_wire
from ftransfer.transfer.tree_actions import Rules
from ftransfer.transfer.treediff import Comparison

# Ranges that are requested ahead, so that each does not cost a round trip. The second constant
# limits the total length of their bounds, so that all lines fit into the socket buffers.
_REQUESTED_AHEAD = 16
_AHEAD_CHARACTERS = 4096

Entries = AsyncIterator[Sequence[Entry]]


async def compare_with_server(
    plan: Plan,
    session: ClientSession,
    store: Store,
    remote: SafeName,
    options: TreeOptions,
    *,
    pulls: bool,
) -> None:
    """Compare a whole store with a folder of the server.

    Args:
        pulls: Whether the server's folder is the source; else it is the destination.

    Raises:
        NotFound: The source does not exist. (A missing destination is empty.)
        SourceChanged: The server listed less than its spans announced.
        NotAFolder, and what ends a session.
    """
    differences = await fetch_differences(session, store, remote, options, pulls=pulls)
    await compare_ranges(plan, differences, session, store, remote, options, pulls=pulls)


async def compare_ranges(
    plan: Plan,
    differences: SpanDifferences,
    session: ClientSession,
    store: Store,
    remote: SafeName,
    options: TreeOptions,
    *,
    pulls: bool,
) -> None:
    """List and plan what differs on both sides: the second half of compare_with_server."""
    comparison = Comparison(options.rules)
    ranges = differences.ranges
    requested = 0
    has_shrunk = False
    for number, within in enumerate(ranges):
        if differences.told:
            requested = await _request_ahead(
                session, remote, ranges, number, requested, links=options.links
            )
        if within.after:
            plan.add_all(comparison.resume(await _folders_down_to(store, within.after)))
        ours = store.scan(ROOT, recursive=True, links=options.links, others=True, within=within)
        theirs = _Counted(_answer(session, remote, pulls=pulls) if differences.told else nothing())
        async with closing(ours), closing(theirs.batches):
            async for actions in (
                comparison.actions(theirs, ours) if pulls else comparison.actions(ours, theirs)
            ):
                plan.add_all(actions)
        has_shrunk |= (
            number < len(differences.entries) and theirs.count < differences.entries[number]
        )
    if pulls and has_shrunk:
        raise SourceChanged(
            "the folder changed while it was listed; run the command again when nobody writes to it"
        )
    plan.add_all(comparison.finish())
    plan.unchanged += comparison.unchanged + differences.same


class _Counted:
    """Batches of entries, and the number of entries so far."""

    def __init__(self, batches: Entries) -> None:
        self.batches = batches
        self.count = 0

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> Sequence[Entry]:
        batch = await anext(self.batches)
        self.count += len(batch)
        return batch


async def compare_listings(plan: Plan, source: Entries, there: Entries, rules: Rules) -> None:
    """Compare two listings as they stream in."""
    comparison = Comparison(rules)
    async with closing(source), closing(there), closing(comparison.actions(source, there)) as steps:
        async for actions in steps:
            plan.add_all(actions)
    plan.add_all(comparison.finish())
    plan.unchanged += comparison.unchanged


async def remote_entries(
    session: ClientSession, remote: SafeName, *, links: bool, recursive: bool = True
) -> Entries:
    """Yield all entries below a folder of the server in batches, with names relative to it.

    A recursive listing is in comparison order.

    Raises:
        NotFound, NotAFolder, RemoteProtocolError, NameRefused.
    """
    how = {"recursive": recursive or None, "links": links or None, "others": recursive or None}
    await session.send("dir", str(remote), how)
    async for entries in _answer(session, remote, pulls=True):
        yield entries


async def nothing() -> Entries:
    """Yield no entries."""
    no_entries: Sequence[Sequence[Entry]] = ()
    for entries in no_entries:
        yield entries


async def fetch_differences(
    session: ClientSession, store: Store, remote: SafeName, options: TreeOptions, *, pulls: bool
) -> SpanDifferences:
    """Return the ranges of names in which a store and a folder of the server differ.

    Raises as compare_with_server.
    """
    # Spans have no digests of content, and names that take no part would make them differ.
    if SPANS not in session.hello.features or options.checksum or options.selects:
        return SpanDifferences([WHOLE])
    lines = read_ahead(listings.lines(store, ROOT, links=options.links, others=True))
    try:
        async with contextlib.aclosing(lines):
            return await find_differences(_spans(session, remote, links=options.links), lines)
    except NotFound:
        if pulls:
            raise
        return SpanDifferences([WHOLE], told=False)


async def _spans(session: ClientSession, remote: SafeName, *, links: bool) -> AsyncIterator[Span]:
    await session.send(
        "dir",
        str(remote),
        {"spans": True, "recursive": True, "links": links or None, "others": True},
    )
    count = 0
    while isinstance(event := await session.next_event(), Listing):
        for item in event.items:
            span = span_from_wire(item)
            count += span.entries
            yield span
    if not isinstance(event, Reply):
        raise session.unexpected(event)
    require_count(event.values, "entries", count)


async def _request_ahead(
    session: ClientSession,
    remote: SafeName,
    ranges: Sequence[Range],
    number: int,
    requested: int,
    *,
    links: bool,
) -> int:
    """Request a range by its number, unless that is done, and some of those after it.

    Returns:
        How many ranges have been requested.
    """
    left = _AHEAD_CHARACTERS - sum(
        len(within.after) + len(within.until) for within in ranges[number:requested]
    )
    while requested < len(ranges) and requested < number + _REQUESTED_AHEAD:
        within = ranges[requested]
        left -= len(within.after) + len(within.until)
        if left < 0 and requested > number:
            break
        bounds = {"after": within.after or None, "until": within.until or None}
        await session.send(
            "dir",
            str(remote),
            {"recursive": True, "links": links or None, "others": True, **bounds},
        )
        requested += 1
    return requested


async def _answer(session: ClientSession, remote: SafeName, *, pulls: bool) -> Entries:
    """Yield the entries that answer a `dir`. A missing destination has none."""
    count = 0
    try:
        while isinstance(event := await session.next_event(), Listing):
            count += len(event.items)
            yield entries_from_wire(event.items, remote, relative=True)
    except NotFound:
        if pulls:
            raise
        return
    if not isinstance(event, Reply):
        raise session.unexpected(event)
    require_count(event.values, "entries", count)


async def _folders_down_to(store: Store, name: str) -> Sequence[Entry]:
    """Return the folders above a name, the outermost first, and the name itself if it is a folder.

    Both sides have the same folders there.
    """
    parts, folders = name.split("/"), []
    try:
        for depth in range(1, len(parts) + 1):
            entry = await store.stat(parse_name("/".join(parts[:depth])))
            if entry.kind != FOLDER:
                break
            folders.append(entry._replace(identity=""))
    except FtransferError:
        pass  # removed meanwhile: there is no mtime to set
    return folders


async def compare_digests(
    session: ClientSession, store: Store, remote: SafeName, plan: Plan, run: TreeRun
) -> None:
    """Compare files of the same size by digest on both sides; plan to copy what differs."""
    commands: Iterator[Request] = (
        ("checksum", str(below(remote, entry.name)), {}) for entry, _ in plan.all_compared()
    )
    async with contextlib.aclosing(request_many(session, commands)) as answers:
        for entry, differs_besides in plan.all_compared():
            answer = await anext(answers)
            try:
                if isinstance(answer, FtransferError):
                    raise answer
                is_same = await digest_in_store(store, parse_name(entry.name)) == answer.get(
                    "digest"
                )
            except (ShareError, TransferError) as error:
                run.failed(entry.name, error)
            else:
                plan.add_compared(entry, is_same=is_same, differs_besides=differs_besides)
    plan.settle_compared()
