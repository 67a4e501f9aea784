"""Who is admitted: limits for all and for each source, penalties, floods of silent connections."""

from __future__ import annotations

from ftransfer.limits import Limits
from ftransfer.service.connection_limiter import ConnectionLimiter, Slot
from ftransfer.service.networks import Networks
from ftransfer.service.penalties import Offence


class Entrance:
    """A gate, and who was cut."""

    def __init__(self, **limits: int) -> None:
        self.now = 0.0
        self.limiter = ConnectionLimiter(
            Limits(**limits), lambda: self.now, Networks(["203.0.113.0/24"])
        )
        self.cut: list[str] = []

    def speak(self, host: str, label: str = "") -> Slot:
        """Come, and say one word."""
        slot = self.come(host, label)
        assert slot is not None
        slot.mark_active()
        return slot

    def come(self, host: str, label: str = "") -> Slot | None:
        if self.limiter.refusal(host) is not None:
            return None
        return self.limiter.enter(host, lambda: self.cut.append(label or host))


def test_sessions_of_all_are_capped_and_a_place_that_is_given_back_is_free() -> None:
    entrance = Entrance(max_sessions=2)
    slots = [entrance.speak("192.0.2.1"), entrance.speak("192.0.2.2")]
    for slot in slots:
        slot.begin()
    assert entrance.come("192.0.2.3") is None
    slots[0].leave()
    slots[0].leave()  # twice is no error
    assert entrance.come("192.0.2.3") is not None


def test_each_source_is_capped_and_a_network_is_one() -> None:
    entrance = Entrance(max_source_sessions=2)
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "192.0.2.1"]
    assert [entrance.come(host) is not None for host in hosts] == [True, True, False, True, True]


def test_loopback_has_no_cap_of_its_own_unless_it_is_given_one() -> None:
    entrance = Entrance(max_sessions=400, max_unauthenticated=400)
    assert sum(entrance.come("127.0.0.1") is not None for _ in range(400)) == 400
    entrance = Entrance(max_sessions=400, max_unauthenticated=400)
    assert sum(entrance.come("192.0.2.1") is not None for _ in range(400)) == 256
    entrance = Entrance(max_source_sessions=3)
    assert sum(entrance.come("127.0.0.1") is not None for _ in range(400)) == 3


def test_flood_of_the_silent_locks_nobody_out_and_displaces_itself() -> None:
    entrance = Entrance(max_sessions=20, max_unauthenticated=10)
    honest = entrance.come("192.0.2.1", "honest")
    assert honest is not None
    honest.mark_active()
    waiting = entrance.come("192.0.2.2", "slow to speak")
    for number in range(1000):
        assert entrance.come("198.51.100.1", f"flood {number}") is not None
    late = entrance.come("192.0.2.3", "late")
    assert late is not None and waiting is not None
    assert entrance.limiter.unauthenticated == 10
    # Its oldest first, and no one else
    assert entrance.cut == [f"flood {number}" for number in range(len(entrance.cut))]


def test_flood_from_many_sources_cuts_the_oldest() -> None:
    entrance = Entrance(max_unauthenticated=3)
    for number in range(6):
        assert entrance.come(f"192.0.2.{number}") is not None
    assert entrance.cut == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]


def test_a_few_from_one_source_amid_a_flood_from_many_are_not_taken_for_one() -> None:
    entrance = Entrance(max_unauthenticated=40)
    for number in range(37):
        entrance.come(f"192.0.2.{number}")
    for number in range(5):
        entrance.come("198.51.100.1", f"honest {number}")
    assert entrance.cut == ["192.0.2.0", "192.0.2.1"]


def test_unauthenticated_make_room_when_the_server_is_full() -> None:
    entrance = Entrance(max_sessions=2, max_unauthenticated=100)
    entrance.come("192.0.2.1", "silent")
    speaking = entrance.come("192.0.2.2", "speaking")
    assert speaking is not None
    speaking.mark_active()
    assert entrance.come("192.0.2.3") is not None
    assert entrance.cut == ["silent"]


def test_the_idle_of_the_largest_source_make_room_those_first_that_are_idle_longest() -> None:
    entrance = Entrance(max_sessions=8)
    entrance.speak("192.0.2.1", "honest")
    crowd = [entrance.speak("198.51.100.1", f"crowd {number}") for number in range(4)]
    entrance.speak("198.51.100.2", "other")
    busy = entrance.speak("198.51.100.1", "busy")
    busy.begin()
    crowd[0].begin()
    crowd[0].end()  # it is idle for the shortest time now
    entrance.speak("192.0.2.2", "late")
    assert entrance.cut == []
    for number in range(3, 7):
        entrance.speak(f"192.0.2.{number}")
    assert entrance.cut == ["crowd 1", "crowd 2", "crowd 3", "crowd 0"]


def test_a_thousand_who_said_one_word_lock_nobody_out() -> None:
    entrance = Entrance()
    for number in range(1024):
        entrance.speak(f"198.51.100.{number % 4}", "idle")
    for number in range(200):
        assert entrance.come(f"192.0.2.{number}", "honest") is not None
        entrance.come(f"198.51.100.{number % 4}", "idle")
    assert "honest" not in entrance.cut


def test_who_carries_out_a_command_is_not_displaced() -> None:
    entrance = Entrance(max_sessions=2)
    for number in range(2):
        entrance.speak("198.51.100.1", f"busy {number}").begin()
    assert entrance.come("192.0.2.1") is None and entrance.cut == []


def test_a_source_with_many_displaces_only_its_own() -> None:
    entrance = Entrance(max_sessions=4)
    entrance.speak("192.0.2.1", "honest")
    for number in range(3):
        entrance.speak("198.51.100.1", f"busy {number}").begin()
    assert entrance.come("198.51.100.1") is None and entrance.cut == []
    entrance.speak("192.0.2.1")
    assert entrance.cut == ["honest"]


def test_who_waits_for_a_login_is_not_displaced_by_the_silent() -> None:
    entrance = Entrance(max_unauthenticated=2)
    honest = entrance.come("192.0.2.1", "honest")
    assert honest is not None
    honest.begin()
    for number in range(5):
        entrance.come("192.0.2.1", f"silent {number}")
    assert entrance.cut == ["silent 0", "silent 1", "silent 2"]
    honest.end()  # the login was wrong
    entrance.come("192.0.2.1")
    assert entrance.cut[3:] == ["honest"]  # who came first of those that are not proven


def test_a_crowd_that_waits_for_logins_makes_room_when_the_server_is_full() -> None:
    entrance = Entrance(max_sessions=3)
    for number in range(3):
        guess = entrance.come("198.51.100.1", f"guess {number}")
        assert guess is not None
        guess.begin()
    assert entrance.come("192.0.2.1") is not None
    assert entrance.cut == ["guess 0"]


def test_who_is_trusted_has_no_cap_and_no_penalty() -> None:
    entrance = Entrance(max_source_sessions=2)
    for _ in range(10):
        slot = entrance.speak("203.0.113.7")
        slot.penalise(Offence.LOGIN)
    assert (
        entrance.come("203.0.113.8") is not None and entrance.come("::ffff:203.0.113.7") is not None
    )
    assert len(entrance.limiter.penalties) == 0


def test_a_network_has_sixteen_times_as_many_as_one_of_its_parts() -> None:
    entrance = Entrance(max_source_sessions=2)
    came = [entrance.come(f"2001:db8:0:{number:x}::1") is not None for number in range(40)]
    assert came == [True] * 32 + [False] * 8
    assert entrance.come("2001:db8:1::1") is not None


def test_source_that_fails_again_and_again_is_refused_for_a_while() -> None:
    entrance = Entrance()
    slot = entrance.come("192.0.2.1")
    assert slot is not None
    for _ in range(3):
        slot.penalise(Offence.LOGIN)
    refusal = entrance.limiter.refusal("192.0.2.1")
    assert refusal is not None and "try again in 28 s" in str(refusal)
    assert entrance.come("192.0.2.2") is not None
    entrance.now += 28
    assert entrance.come("192.0.2.1") is not None


def test_limits_can_be_set_anew() -> None:
    entrance = Entrance(max_source_sessions=1)
    assert entrance.come("192.0.2.1") is not None and entrance.come("192.0.2.1") is None
    entrance.limiter.limits = Limits(max_source_sessions=2)
    assert entrance.come("192.0.2.1") is not None
