"""chat: what is typed there, and what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ftransfer.errors import NameTaken
from ftransfer.shell.chat import HELP, chat
from tests.unit.shell.conftest import FakeShare, Screen


async def typed(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def test_words_of_the_chat(share: FakeShare, screen: Screen) -> None:
    await chat(
        share,
        screen.shell.console,
        typed("hello", "/tell ann psst", "/name bob", "/what", "", "//path", "/quit", "more"),
    )
    assert share.asked == ["say hello", "tell ann: psst", "as bob", "say /path"]
    assert screen.lines[2:4] == ["you are ?bob", HELP]


async def test_name_that_is_taken_is_told_and_another_can_be_had(
    share: FakeShare, screen: Screen
) -> None:
    share.failures = [NameTaken("the name ann is taken; choose another one")]
    await chat(share, screen.shell.console, typed("/name ann", "/name bea"))
    assert screen.notes == ["the name ann is taken; choose another one"]
    assert screen.lines == ["you are ?bea"]
