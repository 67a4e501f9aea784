"""Who is here, and what they are sent: a hub, fake sessions, and no wire."""

from __future__ import annotations

import pytest

from ftransfer.auth.permissions import ALL_RIGHTS, NO_RIGHTS, Grant, Principal
from ftransfer.errors import BadArgument, NameTaken, NotFound
from ftransfer.limits import Limits
from ftransfer.names import ROOT, parse_name
from ftransfer.protocol.live import CREATED, Change
from ftransfer.service.hub import Hub
from tests.support.members import Lines, Room

# Everything but the folder "secret".
LIMITED = Principal("eve", (Grant(ROOT, ALL_RIGHTS), Grant(parse_name("secret"), NO_RIGHTS)))


async def test_a_message_goes_to_all_others_who_listen(room: Room) -> None:
    ann, bob = room.enter("ann", listens=True), room.enter("bob", listens=True)
    room.enter("deaf")
    cleo = room.enter("cleo")
    assert room.hub.send_message(cleo.participant, "hello") == (1, 2)
    assert room.hub.send_message(cleo.participant, "psst", bob.participant) == (2, 1)
    assert (await ann.sink.next())["event"] == "joined"  # bob
    said = await ann.sink.next()
    assert said == {
        "event": "said", "session": 4, "name": "cleo", "verified": False, "time_ns": 5,
        "message": 1, "text": "hello",
    }  # fmt: skip
    assert (await bob.sink.next())["text"] == "hello"
    assert (await bob.sink.next())["private"] is True
    assert ann.sink.pieces.empty()


async def test_an_event_is_encoded_once_for_each_form(room: Room) -> None:
    other = Lines()
    ears = [room.enter(listens=True, form=form) for form in (room.format, other) for _ in range(3)]
    room.format.encoded.clear()
    other.encoded.clear()
    speaker = room.enter("ann")
    assert room.hub.send_message(speaker.participant, "hello") == (1, 6)
    for ear in ears:
        while (await ear.sink.next())["event"] != "said":
            pass
    assert len(room.format.encoded) == len(other.encoded) == 1


async def test_a_change_is_encoded_once_for_all_who_see_the_same(room: Room) -> None:
    ears = [room.enter(), room.enter(), room.enter("eve", principal=LIMITED)]
    for ear in ears:
        ear.participant.watches[""] = ROOT
        room.hub.open_outbox(ear.participant)
    for name in ("secret/a", "b"):
        room.hub.broadcaster.publish_change(Change(CREATED, name))
    pieces = [await ear.sink.pieces.get() for ear in ears]
    assert pieces[0] is pieces[1] and pieces[0].count(b"\n") == 2
    assert pieces[2].count(b"\n") == 1 and b"secret" not in pieces[2]
    assert len(room.format.encoded) == 2


async def test_a_change_goes_by_the_watches_of_its_time(room: Room) -> None:
    ear = room.enter()
    room.hub.open_outbox(ear.participant)
    ear.participant.watches["a"] = parse_name("a")
    room.hub.broadcaster.publish_change(Change(CREATED, "a/x"))
    room.hub.broadcaster.flush_changes()
    ear.participant.watches.clear()
    room.hub.broadcaster.publish_change(Change(CREATED, "a/y"))
    room.hub.send_message(room.enter().participant, "hello", ear.participant)
    ear.participant.is_listening = True
    room.hub.send_message(room.enter().participant, "hello", ear.participant)
    assert (await ear.sink.next())["name"] == "a/x"
    assert (await ear.sink.next())["text"] == "hello"


async def test_whoever_does_not_read_delays_nobody(room: Room) -> None:
    stuck, ear = room.enter(listens=True), room.enter(listens=True)
    stuck.sink.is_read.clear()
    speaker = room.enter("ann")
    for number in range(10):
        room.hub.send_message(speaker.participant, str(number))
    assert [(await ear.sink.next())["text"] for _ in range(10)] == list("0123456789")
    assert stuck.sink.pieces.empty()


async def test_whoever_has_left_is_sent_nothing(room: Room) -> None:
    ear = room.enter("bob", listens=True)
    await room.hub.leave(ear.participant)
    assert room.hub.send_message(room.enter("ann").participant, "hello") == (1, 0)
    with pytest.raises(NotFound):
        room.hub.find("bob")


async def test_a_name_of_its_own_is_had_once(room: Room) -> None:
    ann, other = room.enter("ann"), room.enter("bob")
    with pytest.raises(NameTaken):
        room.hub.introduce(other.participant, "Ann")
    room.hub.introduce(other.participant, "ann", is_unique=False)
    assert ann.participant.person.name == other.participant.person.name == "ann"


async def test_a_token_takes_the_name_over(room: Room) -> None:
    old = room.enter("ann", token="secret word")
    with pytest.raises(NameTaken):
        room.hub.introduce(room.enter().participant, "ann", token="another word")
    new = room.enter("ann", token="secret word")
    assert old.participant.person.name == "" and room.hub.find("ann") is new.participant


async def test_whoever_is_logged_in_goes_by_that_name(room: Room) -> None:
    eve = room.enter("eve", principal=LIMITED)
    assert eve.participant.person.verified
    with pytest.raises(BadArgument, match="logged in as eve"):
        room.hub.introduce(eve.participant, "ann")


@pytest.mark.parametrize("name", ["x" * 65, "a\nb", " a", 'a"b', "a\\b", "#7"])
async def test_names_that_could_not_be_shown_or_typed(room: Room, name: str) -> None:
    with pytest.raises(BadArgument):
        room.enter(name)


async def test_sessions_are_found_by_name_and_number(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter()
    for guest in (room.enter(), room.enter()):
        room.hub.introduce(guest.participant, "lab@pc", is_unique=False)
    assert room.hub.find("ann") is room.hub.find("?ann") is room.hub.find("#1") is ann.participant
    assert room.hub.find("#2") is bob.participant
    with pytest.raises(BadArgument, match="2 sessions have this name; use a number: #3, #4"):
        room.hub.find("lab@pc")


async def test_a_session_whose_machine_does_not_answer_is_cut() -> None:
    room = Room(Hub(Limits(vanish_s=0.06)))
    there, gone = room.enter(), room.enter()
    gone.member.silent_s = 1.0
    await gone.member.was_aborted.wait()
    assert not there.member.was_aborted.is_set()
    await room.close()


async def test_a_listener_is_sent_heartbeats() -> None:
    room = Room(Hub(Limits(heartbeat_s=0.02)))
    ear, deaf = room.enter(listens=True), room.enter()
    assert await ear.sink.pieces.get() == Lines.heartbeat
    assert deaf.sink.pieces.empty()
    await room.close()
