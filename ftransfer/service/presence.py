"""The answer to `who`: each session as a viewer may see it. Read-only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftransfer.auth.permissions import Principal, Right
from ftransfer.errors import NameRefused
from ftransfer.names import parse_path
from ftransfer.protocol.live import Activity, Presence
from ftransfer.service.participant import Participant
from ftransfer.service.transfer_group import GroupDownload

# A session that has sent no command yet is shown after this time.
_ARRIVING_S = 1.0


def presences(
    participants: Iterable[Participant], viewer: Participant, now: float
) -> Iterator[Presence]:
    """Yield who is online, in order of arrival.

    Viewers on the server's own machine see all addresses; others see only their own.

    Args:
        now: The time on the clock of the event loop.
    """
    for participant in participants:
        if participant.leader is not None or _is_arriving(participant, now):
            continue
        member = participant.member
        activity = _activity(participant, viewer.member.principal, now)
        is_busy = member.operation is not None or activity is not None
        yield Presence(
            participant.person,
            member.peer if viewer.member.is_local or participant is viewer else "",
            participant.since_ns,
            0.0 if is_busy else now - member.began_at,
            participant.is_listening,
            participant is viewer,
            activity,
        )


def _is_arriving(participant: Participant, now: float) -> bool:
    """Return whether its first command may still arrive, perhaps to help another session."""
    return participant.active_since is None and now - participant.member.began_at < _ARRIVING_S


def _activity(participant: Participant, viewer: Principal, now: float) -> Activity | None:
    operation = participant.member.operation
    download = participant.group_download
    if download is not None and (operation is None or operation.verb == "get"):
        return _group_activity(participant, download, viewer, now)
    if operation is None or not operation.is_transfer:
        return None
    rate = _rate(operation.moved, now - operation.began_at)
    name = _visible_name(operation.name, viewer)
    return Activity(operation.verb, name, operation.moved, operation.total, rate)


def _group_activity(
    participant: Participant, download: GroupDownload, viewer: Principal, now: float
) -> Activity | None:
    moving = 0
    for connection in (participant, *participant.helpers):
        operation = connection.member.operation
        if operation is not None and operation.verb == "get":
            download.note(operation)
            moving += operation.moved
    if not download.name:
        return None
    moved = download.moved + moving
    if download.size is not None:
        moved = min(moved, download.size)  # a segment may arrive twice, over two connections
    rate = _rate(moved, now - download.began_at)
    return Activity("get", _visible_name(download.name, viewer), moved, download.size, rate)


def _rate(moved: int, spent_s: float) -> int:
    return int(moved / spent_s) if spent_s > 0 else 0


def _visible_name(name: str, viewer: Principal) -> str:
    """Return the name of a file that is transferred, or "" if the viewer may not know it."""
    try:
        return name if viewer.may(Right.LIST, parse_path(name)) else ""
    except NameRefused:
        return ""
