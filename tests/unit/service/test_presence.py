"""The answer to who: what one session may see of the others."""

from __future__ import annotations

from ftransfer.auth.permissions import ALL_RIGHTS, Grant, Principal, parse_rights
from ftransfer.names import ROOT, parse_name
from ftransfer.protocol.live import Activity, Presence
from ftransfer.service.participant import Participant
from ftransfer.service.presence import presences
from tests.support.members import FakeOperation, Guest, Room

NOW = 1000.0


def seen(room: Room, viewer: Guest, now: float = NOW) -> list[Presence]:
    return list(presences([guest.participant for guest in room.guests], viewer.participant, now))


def activity(room: Room, guest: Guest, viewer: Guest | None = None) -> Activity | None:
    (found,) = [
        presence
        for presence in seen(room, viewer or guest)
        if presence.person.session == guest.member.number
    ]
    return found.activity


async def test_everybody_is_listed_in_the_order_of_coming(room: Room) -> None:
    ann, _, bob = room.enter("ann"), room.enter(), room.enter("bob", listens=True)
    found = seen(room, ann)
    assert [presence.person.name for presence in found] == ["ann", "", "bob"]
    assert [presence.is_you for presence in found] == [True, False, False]
    assert [presence.is_listening for presence in found] == [False, False, True]
    assert [presence.since_ns for presence in found] == [5, 5, 5]
    assert not bob.member.is_local


async def test_addresses_are_for_the_servers_own_machine(room: Room) -> None:
    ann, local = room.enter("ann"), room.enter("local")
    local.member.is_local, ann.member.peer = True, "198.51.100.9:1"
    assert [presence.address for presence in seen(room, ann)] == ["198.51.100.9:1", ""]
    assert all(presence.address for presence in seen(room, local))


async def test_a_session_that_has_only_just_come_is_left_out(room: Room) -> None:
    ann = room.enter("ann")
    new = room.enter()
    new.participant.active_since = None
    new.member.began_at = NOW
    assert len(seen(room, ann, NOW + 0.9)) == 1
    assert len(seen(room, ann, NOW + 1.0)) == 2


async def test_idle_time_counts_from_the_last_operation(room: Room) -> None:
    ann = room.enter("ann")
    ann.member.began_at = NOW - 7
    assert seen(room, ann)[0].idle_s == 7
    ann.member.operation = FakeOperation("who", "", is_transfer=False)
    assert seen(room, ann)[0].idle_s == 0 and seen(room, ann)[0].activity is None


async def test_a_transfer_is_shown_with_its_rate(room: Room) -> None:
    ann = room.enter("ann")
    ann.member.operation = FakeOperation("put", "a", moved=50, total=200, began_at=NOW - 5)
    assert activity(room, ann) == Activity("put", "a", 50, 200, 10)
    ann.member.operation = FakeOperation("put", "a", moved=50, began_at=NOW)
    assert activity(room, ann) == Activity("put", "a", 50, None, 0)


async def test_names_that_a_viewer_may_not_list_are_not_shown(room: Room) -> None:
    rights = Grant(ROOT, ALL_RIGHTS), Grant(parse_name("secret"), parse_rights("none"))
    ann, eve = room.enter("ann"), room.enter("eve", principal=Principal("eve", rights))
    for name, shown in (("secret/a", ""), ("a", "a"), ("../a", ""), ("", "")):
        ann.member.operation = FakeOperation("get", name)
        found = activity(room, ann, eve)
        assert found is not None and found.name == shown


def helper_of(room: Room, leader: Guest) -> Guest:
    helper = room.enter()
    helper.participant.join_group(leader.participant)
    return helper


async def test_connections_of_one_transfer_are_shown_as_one(room: Room) -> None:
    ann = room.enter("ann")
    helpers = [helper_of(room, ann) for _ in range(2)]
    for number, guest in enumerate((ann, *helpers), 1):
        guest.member.operation = FakeOperation(
            "get", "a", moved=10 * number, total=100, size=300, began_at=NOW - 6
        )
    assert [presence.person.session for presence in seen(room, ann)] == [1]
    assert activity(room, ann) == Activity("get", "a", 60, 300, 10)


def finish(participant: Participant, operation: FakeOperation) -> None:
    assert participant.group_download is not None
    participant.group_download.finish(operation)


async def test_segments_that_have_ended_count_and_never_more_than_all(room: Room) -> None:
    ann = room.enter("ann")
    helper = helper_of(room, ann)
    assert activity(room, ann) is None  # nothing is known yet
    finish(helper.participant, FakeOperation("get", "a", moved=100, size=300, began_at=NOW - 10))
    finish(helper.participant, FakeOperation("stat", "b", moved=9))
    assert activity(room, ann) == Activity("get", "a", 100, 300, 10)
    helper.member.operation = FakeOperation("get", "a", moved=250, size=300)
    assert activity(room, ann) == Activity("get", "a", 300, 300, 30)


async def test_the_next_file_is_counted_afresh(room: Room) -> None:
    ann = room.enter("ann")
    helper = helper_of(room, ann)
    finish(helper.participant, FakeOperation("get", "a", moved=100, size=300))
    ann.member.operation = FakeOperation("get", "b", moved=1, began_at=NOW - 1)
    assert activity(room, ann) == Activity("get", "b", 1, None, 1)
    ann.member.operation = FakeOperation("put", "c", moved=2, began_at=NOW - 1)
    assert activity(room, ann) == Activity("put", "c", 2, None, 2)


async def test_who_is_left_by_the_leader_stands_alone(room: Room) -> None:
    ann = room.enter("ann")
    first, second = helper_of(room, ann), helper_of(room, ann)
    first.participant.leave_group()
    assert ann.participant.helpers == [second.participant]
    assert ann.participant.group_download is not None
    ann.participant.leave_group()
    for guest in (ann, first, second):
        assert guest.participant.leader is None and not guest.participant.helpers
    assert second.participant.group_download is None
