"""Which comings and goings are announced, and when."""

from __future__ import annotations

from ftransfer.auth.permissions import ANYONE
from ftransfer.protocol.live import JOINED, LEFT, NAMED, Person
from ftransfer.service.attendance import RETURN_S, STAY_S, AttendanceAnnouncer
from ftransfer.service.participant import Participant
from tests.support.manual_loop import ManualLoop
from tests.support.members import FakeMember, FakeSink, Lines


class Door:
    """An announcer, its clock, and what it has announced."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.announced: list[tuple[str, int, str]] = []
        self.announcer = AttendanceAnnouncer(self.loop, self._announce)
        self.here: list[Participant] = []

    def _announce(self, what: str, person: Person, old: str) -> None:
        self.announced.append((what, person.session, old))

    def enter(self, token: str = "", *, listens: bool = False) -> Participant:
        number = len(self.here) + 1
        participant = Participant(
            FakeMember(number, FakeSink(Lines()), ANYONE), Person(number, f"name {number}"), 0
        )
        participant.token, participant.is_listening = token, listens
        self.here.append(participant)
        if token:
            self.announcer.take_over(participant, self.here)
        self.announcer.note_activity(participant)
        return participant

    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self.announcer.announce_who_stayed(self.here)


def test_whoever_listens_is_announced_at_once_and_once() -> None:
    door = Door()
    ann = door.enter(listens=True)
    door.announcer.note_activity(ann)
    door.advance(2 * STAY_S)
    assert door.announced == [(JOINED, 1, "")]


def test_whoever_stays_is_announced_then() -> None:
    door = Door()
    door.enter()
    door.advance(STAY_S - 1)
    assert door.announced == []
    door.advance(1)
    assert door.announced == [(JOINED, 1, "")]


def test_a_script_that_has_ended_is_not_announced() -> None:
    door = Door()
    ann = door.enter()
    door.announcer.note_name(ann, "another")
    door.announcer.note_end(ann)
    door.here.clear()
    door.advance(2 * STAY_S)
    assert door.announced == []


def test_another_name_is_announced_to_those_who_knew_the_old_one() -> None:
    door = Door()
    ann = door.enter(listens=True)
    door.announcer.note_name(ann, ann.person.name)
    door.announcer.note_name(ann, "before")
    assert door.announced[1:] == [(NAMED, 1, "before")]


def test_the_end_is_announced_at_once_without_a_token() -> None:
    door = Door()
    door.announcer.note_end(door.enter(listens=True))
    assert door.announced[1:] == [(LEFT, 1, "")]


def test_a_client_that_comes_back_has_not_left() -> None:
    door = Door()
    first = door.enter("word", listens=True)
    door.here.clear()
    door.announcer.note_end(first)
    door.advance(RETURN_S / 2)
    again = door.enter("word", listens=True)
    door.advance(2 * STAY_S)
    assert door.announced == [(JOINED, 1, "")]
    assert again.was_announced and again.earlier == (1,)


def test_a_client_that_does_not_come_back_has_left() -> None:
    door = Door()
    first = door.enter("word", listens=True)
    door.announcer.note_end(first)
    door.advance(RETURN_S)
    assert door.announced[1:] == [(LEFT, 1, "")]
    assert not door.loop.timer_count


def test_a_session_that_is_replaced_ends_in_silence() -> None:
    door = Door()
    old = door.enter("word", listens=True)
    new = door.enter("word", listens=True)
    door.announcer.note_end(old)
    door.advance(2 * STAY_S)
    assert door.announced == [(JOINED, 1, "")]
    assert new.earlier == (1,) and not new.is_silent and old.is_silent


def test_only_the_last_numbers_are_kept() -> None:
    door = Door()
    for _ in range(20):
        last = door.enter("word", listens=True)
    assert last.earlier == tuple(range(19, 11, -1))
