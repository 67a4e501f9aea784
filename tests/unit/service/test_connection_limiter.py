"""Who is let in: caps for all and for each source, penalties, and floods of connections that say nothing."""

from __future__ import annotations

from ftransfer.limits import Limits
from ftransfer.service.connection_limiter import Gate, Ticket
from ftransfer.service.networks import Networks
from ftransfer.service.penalties import Offence


class Door:
    """A gate, and who was cut."""

    def __init__(self, **limits: int) -> None:
        self.now = 0.0
        self.gate = Gate(Limits(**limits), lambda: self.now, Networks(["203.0.113.0/24"]))
        self.cut: list[str] = []

    def speak(self, host: str, label: str = "") -> Ticket:
        """Come, and say one word."""
        ticket = self.come(host, label)
        assert ticket is not None
        ticket.prove()
        return ticket

    def come(self, host: str, label: str = "") -> Ticket | None:
        if self.gate.refusal(host) is not None:
            return None
        return self.gate.enter(host, lambda: self.cut.append(label or host))


def test_sessions_of_all_are_capped_and_a_place_that_is_given_back_is_free() -> None:
    door = Door(max_sessions=2)
    tickets = [door.speak("192.0.2.1"), door.speak("192.0.2.2")]
    for ticket in tickets:
        ticket.begin()
    assert door.come("192.0.2.3") is None
    tickets[0].leave()
    tickets[0].leave()  # twice is no error
    assert door.come("192.0.2.3") is not None


def test_each_source_is_capped_and_a_network_is_one() -> None:
    door = Door(max_source_sessions=2)
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "192.0.2.1"]
    assert [door.come(host) is not None for host in hosts] == [True, True, False, True, True]


def test_loopback_has_no_cap_of_its_own_unless_it_is_given_one() -> None:
    door = Door(max_sessions=400, max_unproven=400)
    assert sum(door.come("127.0.0.1") is not None for _ in range(400)) == 400
    door = Door(max_sessions=400, max_unproven=400)
    assert sum(door.come("192.0.2.1") is not None for _ in range(400)) == 256
    door = Door(max_source_sessions=3)
    assert sum(door.come("127.0.0.1") is not None for _ in range(400)) == 3


def test_flood_of_the_silent_locks_nobody_out_and_displaces_itself() -> None:
    door = Door(max_sessions=20, max_unproven=10)
    honest = door.come("192.0.2.1", "honest")
    assert honest is not None
    honest.prove()
    waiting = door.come("192.0.2.2", "slow to speak")
    for number in range(1000):
        assert door.come("198.51.100.1", f"flood {number}") is not None
    late = door.come("192.0.2.3", "late")
    assert late is not None and waiting is not None
    assert door.gate.unproven == 10
    assert door.cut == [f"flood {number}" for number in range(len(door.cut))]  # its oldest first, and no one else


def test_flood_from_many_sources_cuts_the_oldest() -> None:
    door = Door(max_unproven=3)
    for number in range(6):
        assert door.come(f"192.0.2.{number}") is not None
    assert door.cut == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]


def test_a_few_from_one_source_amid_a_flood_from_many_are_not_taken_for_one() -> None:
    door = Door(max_unproven=40)
    for number in range(37):
        door.come(f"192.0.2.{number}")
    for number in range(5):
        door.come("198.51.100.1", f"honest {number}")
    assert door.cut == ["192.0.2.0", "192.0.2.1"]


def test_unproven_make_room_when_the_server_is_full() -> None:
    door = Door(max_sessions=2, max_unproven=100)
    door.come("192.0.2.1", "silent")
    speaking = door.come("192.0.2.2", "speaking")
    assert speaking is not None
    speaking.prove()
    assert door.come("192.0.2.3") is not None
    assert door.cut == ["silent"]


def test_the_idle_of_the_largest_source_make_room_those_first_that_are_idle_longest() -> None:
    door = Door(max_sessions=8)
    door.speak("192.0.2.1", "honest")
    crowd = [door.speak("198.51.100.1", f"crowd {number}") for number in range(4)]
    door.speak("198.51.100.2", "other")
    busy = door.speak("198.51.100.1", "busy")
    busy.begin()
    crowd[0].begin()
    crowd[0].end()  # it is idle for the shortest time now
    door.speak("192.0.2.2", "late")
    assert door.cut == []
    for number in range(3, 7):
        door.speak(f"192.0.2.{number}")
    assert door.cut == ["crowd 1", "crowd 2", "crowd 3", "crowd 0"]


def test_a_thousand_who_said_one_word_lock_nobody_out() -> None:
    door = Door()
    for number in range(1024):
        door.speak(f"198.51.100.{number % 4}", "idle")
    for number in range(200):
        assert door.come(f"192.0.2.{number}", "honest") is not None
        door.come(f"198.51.100.{number % 4}", "idle")
    assert "honest" not in door.cut


def test_who_carries_out_a_command_is_not_displaced() -> None:
    door = Door(max_sessions=2)
    for number in range(2):
        door.speak("198.51.100.1", f"busy {number}").begin()
    assert door.come("192.0.2.1") is None and door.cut == []


def test_a_source_with_many_displaces_only_its_own() -> None:
    door = Door(max_sessions=4)
    door.speak("192.0.2.1", "honest")
    for number in range(3):
        door.speak("198.51.100.1", f"busy {number}").begin()
    assert door.come("198.51.100.1") is None and door.cut == []
    door.speak("192.0.2.1")
    assert door.cut == ["honest"]


def test_who_waits_for_a_login_is_not_displaced_by_the_silent() -> None:
    door = Door(max_unproven=2)
    honest = door.come("192.0.2.1", "honest")
    assert honest is not None
    honest.begin()
    for number in range(5):
        door.come("192.0.2.1", f"silent {number}")
    assert door.cut == ["silent 0", "silent 1", "silent 2"]
    honest.end()  # the login was wrong
    door.come("192.0.2.1")
    assert door.cut[3:] == ["honest"]  # who came first of those that are not proven


def test_a_crowd_that_waits_for_logins_makes_room_when_the_server_is_full() -> None:
    door = Door(max_sessions=3)
    for number in range(3):
        guess = door.come("198.51.100.1", f"guess {number}")
        assert guess is not None
        guess.begin()
    assert door.come("192.0.2.1") is not None
    assert door.cut == ["guess 0"]


def test_who_is_trusted_has_no_cap_and_no_penalty() -> None:
    door = Door(max_source_sessions=2)
    for _ in range(10):
        ticket = door.speak("203.0.113.7")
        ticket.offend(Offence.LOGIN)
    assert door.come("203.0.113.8") is not None and door.come("::ffff:203.0.113.7") is not None
    assert len(door.gate.penalties) == 0


def test_a_network_has_sixteen_times_as_many_as_one_of_its_parts() -> None:
    door = Door(max_source_sessions=2)
    came = [door.come(f"2001:db8:0:{number:x}::1") is not None for number in range(40)]
    assert came == [True] * 32 + [False] * 8
    assert door.come("2001:db8:1::1") is not None


def test_source_that_fails_again_and_again_is_refused_for_a_while() -> None:
    door = Door()
    ticket = door.come("192.0.2.1")
    assert ticket is not None
    for _ in range(3):
        ticket.offend(Offence.LOGIN)
    refusal = door.gate.refusal("192.0.2.1")
    assert refusal is not None and "try again in 28 s" in str(refusal)
    assert door.come("192.0.2.2") is not None
    door.now += 28
    assert door.come("192.0.2.1") is not None


def test_limits_can_be_set_anew() -> None:
    door = Door(max_source_sessions=1)
    assert door.come("192.0.2.1") is not None and door.come("192.0.2.1") is None
    door.gate.limits = Limits(max_source_sessions=2)
    assert door.come("192.0.2.1") is not None
