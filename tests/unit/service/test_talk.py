"""What is checked before a message or a name reaches the others."""

from __future__ import annotations

import pytest

from ftransfer.auth.permissions import Grant, Principal, parse_rights
from ftransfer.errors import BadArgument, Forbidden, NotFound, TooFast
from ftransfer.limits import Limits
from ftransfer.names import ROOT
from ftransfer.service import talk
from ftransfer.service.hub import Hub
from tests.support.members import Room

READER = Principal("", (Grant(ROOT, parse_rights("read,watch")),), is_anonymous=True)


async def test_a_message_is_counted_and_delivered(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter("bob", listens=True)
    assert await talk.say(ann, "hello") == (1, 1)
    assert await talk.tell(ann, "bob", "psst") == (2, 1)
    assert [(await bob.sink.next())["text"] for _ in range(2)] == ["hello", "psst"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty message"),
        ("  ", "empty message"),
        ("a\nb", "one line"),
        ("a\x9bb", "one line"),
        ("\udcff", "not valid UTF-8"),
        ("ä" * 2049, "too long: 4098 bytes; the limit is 4096"),
    ],
)
async def test_text_that_is_no_message(room: Room, text: str, why: str) -> None:
    assert room.hub.limits.max_text_bytes == 4096
    ann, bob = room.enter("ann"), room.enter("bob", listens=True)
    for sending in (talk.say(ann, text), talk.tell(ann, "bob", text)):
        with pytest.raises(BadArgument, match=why):
            await sending
    assert await talk.say(ann, "ä" * 2048) == (1, 1)  # nothing was counted
    assert (await bob.sink.next())["message"] == 1


async def test_without_the_right_nothing_is_said(room: Room) -> None:
    ann, bob = room.enter("ann", principal=READER), room.enter("bob", listens=True)
    for sending in (
        talk.say(ann, "hello"),
        talk.tell(ann, "bob", "psst"),
        talk.tell(ann, "x", "y"),
    ):
        with pytest.raises(Forbidden):
            await sending
    await talk.say(room.enter("cleo"), "after")
    assert (await bob.sink.next())["text"] == "after"


async def test_tell_refuses_unknown_names_before_it_counts(room: Room) -> None:
    ann = room.enter("ann")
    for _ in range(10 * room.hub.limits.say_most):
        with pytest.raises(NotFound):
            await talk.tell(ann, "nobody", "psst")


async def test_too_many_messages_are_refused() -> None:
    room = Room(Hub(Limits(say_burst=2, say_most=2, say_per_s=0.01)))
    ann = room.enter("ann")
    await talk.say(ann, "one")
    await talk.say(ann, "two")
    with pytest.raises(TooFast):
        await talk.say(ann, "three")
    await room.close()


async def test_a_new_name_counts_as_a_message_once_others_know_the_old_one() -> None:
    room = Room(Hub(Limits(say_burst=1, say_most=1, say_per_s=0.01)))
    quiet, known = room.enter(), room.enter(listens=True)
    for name in ("a", "b", "c"):
        await talk.introduce(quiet, name)
    await talk.introduce(known, "d")
    with pytest.raises(TooFast):
        await talk.introduce(known, "e")
    with pytest.raises(TooFast):
        await talk.help_session(known, 1, "token")
    await room.close()


@pytest.mark.parametrize(
    ("user", "host", "name"),
    [
        ("ann", "pc", "ann@pc"),
        ("ann", "", "ann"),
        ("", "pc", "pc"),
        ("", "", ""),
        ('#a"n\nn\\', "pc", "annn@pc"),
        ("ä" * 40, "pc", "ä" * 32),
    ],
)
async def test_a_place_becomes_a_name_that_can_be_shown(
    room: Room, user: str, host: str, name: str
) -> None:
    person = await talk.introduce(room.enter(), user=user, host=host)
    assert (person.name, person.verified) == (name, False)


async def test_several_may_share_a_place(room: Room) -> None:
    for _ in range(2):
        assert (await talk.introduce(room.enter(), user="ann", host="pc")).name == "ann@pc"


async def test_a_helper_has_the_name_of_its_leader(room: Room) -> None:
    leader, helper = room.enter("ann", token="secret word"), room.enter()
    for number, token in ((1, "guess"), (1, ""), (2, "secret word"), (9, "secret word")):
        with pytest.raises(BadArgument, match="no such session to help"):
            await talk.help_session(helper, number, token)
    person = await talk.help_session(helper, 1, "secret word")
    assert (person.session, person.name) == (2, "ann")
    assert helper.participant.leader is leader.participant
    assert room.hub.find("ann") is leader.participant
