"""The live layer in the shell: its commands, and how events are worded."""

from __future__ import annotations

import json

import pytest

from ftransfer.errors import TooFast
from ftransfer.protocol.live import Attendance, Change, LiveEvent, Message, Missed, Person, Rescan
from ftransfer.shell.commands import execute
from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.people import delivery_line, event_line, event_record
from tests.unit.shell.conftest import FakeShare, Screen

ANN = Person(1, "ann", True)
EVE = Person(2, "e\x1bve")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Message(ANN, 0, "hello \x1b[2J", 1), "ann: hello \\x1b[2J"),
        (Message(EVE, 0, "psst", 1, True), "?e\\x1bve (to you): psst"),
        (Attendance("joined", Person(7), 0), "* #7 joined"),
        (Attendance("left", ANN, 0), "* ann left"),
        (Attendance("named", ANN, 0, "a\nb"), "* a\\nb is now ann"),
        (Change("created", "a\nb", "file", 1500, 0, person=ANN), "created  a\\nb, 1.5 kB, by ann"),
        (Change("moved", "b", "dir", old="a"), "moved    a -> b/"),
        (Change("removed", "b"), "removed  b"),
        (Rescan("", "the\x07 why"), "rescan   / (the\\x07 why)"),
        (Missed(3), "missed   3 events, because they came faster than they were read"),
    ],
)
def test_an_event_is_one_printable_line(event: LiveEvent, line: str) -> None:
    assert event_line(event).endswith(line)
    assert event_line(event).isprintable()


def test_a_record_of_a_change_says_what_it_is() -> None:
    record = json.loads(event_record(Change("moved", "b", "file", 1, 2, old="a", person=ANN)))
    assert (record["event"], record["name"], record["old"], record["by"]["name"]) == (
        "moved",
        "b",
        "a",
        "ann",
    )


async def test_who_shows_a_line_for_each(share: FakeShare, screen: Screen) -> None:
    await execute(screen.shell, "who")
    first, second = screen.lines
    assert first.startswith("#1  ann") and first.endswith("idle 3.0 s, you, listening")
    assert (
        "?e\\x1bve" in second and "10.0.0.1:5" in second and second.endswith("put a b 25 %, 5 B/s")
    )


async def test_what_is_said_is_taken_as_it_is_typed(share: FakeShare, screen: Screen) -> None:
    await execute(screen.shell, "say  it's \"done\" -- isn't it? ")
    await execute(screen.shell, "tell 'ann b' it's  me")
    assert share.asked == ["say it's \"done\" -- isn't it?", "tell ann b: it's  me"]
    assert screen.lines == ["message 1, received by 2", "message 2, received by 1"]


def test_message_that_reaches_nobody_says_so() -> None:
    assert delivery_line(3, 0) == "message 3, nobody else is listening"


@pytest.mark.parametrize(
    "line", ["say", "say  ", "tell", "tell ann", "who is there", "watch", "unwatch"]
)
async def test_wrong_usage(screen: Screen, line: str) -> None:
    with pytest.raises(WrongUsage):
        await execute(screen.shell, line)


async def test_a_refusal_comes_out(share: FakeShare, screen: Screen) -> None:
    share.failures.append(TooFast("too many messages"))
    with pytest.raises(TooFast):
        await execute(screen.shell, "say again")
