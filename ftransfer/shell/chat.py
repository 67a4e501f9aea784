"""chat: messages of others and a line to answer, with a prompt at a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from ftransfer.errors import RequestError, ShareError
from ftransfer.protocol.live import Person, Presence
from ftransfer.shell.console import Console
from ftransfer.shell.context import Delivered
from ftransfer.shell.people import delivery_line, person_text, presence_lines


class Speaker(Protocol):
    """What chat needs of a client."""

    async def say(self, text: str) -> Delivered: ...
    async def tell(self, name: str, text: str) -> Delivered: ...
    async def introduce(self, name: str) -> Person: ...
    async def who(self) -> list[Presence]: ...


HELP = (
    "type a message for everybody; /tell NAME TEXT for one person; /who lists who is here;"
    " /name NAME changes your name; /quit or Ctrl-D leaves"
)


async def chat(speaker: Speaker, console: Console, lines: AsyncIterator[str]) -> None:
    """Send each line, until they end or one is /quit."""
    async for line in lines:
        text = line.strip()
        if text == "/quit":
            return
        try:
            for answer in await _carry_out(speaker, text):
                console.line(answer)
        except (RequestError, ShareError) as error:
            console.error(error)
        console.flush()


async def _carry_out(speaker: Speaker, text: str) -> list[str]:
    if not text:
        return []
    if text == "/who":
        return presence_lines(await speaker.who())
    if text.startswith("/name "):
        return [
            f"you are {person_text(await speaker.introduce(text.removeprefix('/name ').strip()))}"
        ]
    if text.startswith("/tell "):
        name, _, words = text.removeprefix("/tell ").strip().partition(" ")
        delivery = await speaker.tell(name, words)
    elif text.startswith("/") and not text.startswith("//"):
        return [HELP]
    else:
        delivery = await speaker.say(text.removeprefix("/"))
    return [delivery_line(delivery.number, delivery.received)]


async def typed_lines(label: str) -> AsyncIterator[str]:
    """Yield the lines typed at the terminal, until Ctrl-D."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.patch_stdout import patch_stdout

    session: PromptSession[str] = PromptSession()
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            with patch_stdout(raw=True):
                try:
                    line = await session.prompt_async(f"{label}> ")
                except EOFError:
                    return
            yield line
