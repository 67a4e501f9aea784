"""Who is let in: caps for all and for each source, penalties, and floods of connections that say nothing."""

from __future__ import annotations

from ftransfer.limits import Limits
from ftransfer.penalties import Offence
from ftransfer.server.gate import Gate, Ticket


class Door:
    """A gate, and who was cut."""

    def __init__(self, **limits: int) -> None:
        self.now = 0.0
        self.gate = Gate(Limits(**limits), lambda: self.now)
        self.cut: list[str] = []

    def come(self, host: str, label: str = "") -> Ticket | None:
        if self.gate.refusal(host) is not None:
            return None
        return self.gate.enter(host, lambda: self.cut.append(label or host))


def test_sessions_of_all_are_capped_and_a_place_that_is_given_back_is_free() -> None:
    door = Door(max_sessions=2)
    tickets = [door.come("192.0.2.1"), door.come("192.0.2.2")]
    for ticket in tickets:
        assert ticket is not None
        ticket.prove()
    assert door.come("192.0.2.3") is None
    tickets[0].leave()  # type: ignore[union-attr]
    tickets[0].leave()  # type: ignore[union-attr]  # twice is no error
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
