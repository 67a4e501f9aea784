"""The same strings through every verb of the protocol: each is answered, none reaches outside."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.digest import digest_of
from ftransfer.protocol.commands import VERBS, Body
from tests.proofs.test_every_name import ALPHABET, set_out, strings
from tests.support.canary import SECRET, Canary
from tests.support.service import RawPeer, Service, end_frame, frame, serve

# What a person says and is called is no name of a file.
TESTED = sorted(VERBS.keys() - {"close", "help", "as", "who", "say", "tell", "listen", "unlisten"})
OTHER_OPTIONS: dict[str, dict[str, Any]] = {
    "dir": {"recursive": True},
    "rm": {"recursive": True},
    "mkdir": {"parents": True},
    "setstat": {"mode": 0o777, "mtime_ns": 1},
    "mv": {"replace": True},
    "partials": {"clear": True},
    "mget": {"recursive": True},
}


@pytest.fixture
async def service(tmp_path: Path, outside: Canary) -> AsyncIterator[Service]:
    async with serve(tmp_path, watcher=None) as service:
        yield service


def conversation(word: str, text: str, options: dict[str, Any]) -> bytes:
    """Return all that a client sends for one command whose names are this text."""
    verb = VERBS[word]
    options = {**{need: text for need in verb.needs}, **options}
    line = (
        f"{word} {json.dumps(text)} {json.dumps(options)}\n" if verb.takes_argument else f"{word}\n"
    )
    return line.encode() + _body(verb.body, text)


def _body(body: Body, text: str) -> bytes:
    match body:
        case Body.NONE:
            return b""
        case Body.FILE:
            return frame(b"D", b"x") + end_frame(1, digest_of(b"x"))
        case Body.NAMES:
            return frame(b"L", json.dumps([text, f"{text}/secret"]).encode()) + frame(b"F")
        case Body.PACKS:
            about = {"mtime_ns": 1, "mode": 420, "digest": digest_of(b"x")}
            index = [
                {"name": text, "kind": "file", "size": 1, **about},
                {"name": "link", "kind": "link", "target": text, **about},
                {"name": f"{text}/secret", "kind": "file", "size": 1, **about},
            ]
            head = json.dumps(index).encode()
            return frame(b"P", len(head).to_bytes(4, "big") + head + b"xx") + frame(b"F")


async def answer(peer: RawPeer) -> bytes:
    """Read up to the reply or error of one command; return all that came."""
    came = b""
    while True:
        kind, payload = await peer.frame()
        assert kind, "the server hung up"
        came += kind + payload
        if kind in (b"R", b"X"):
            return came


@pytest.mark.parametrize("word", TESTED)
async def test_no_string_reaches_outside_by_any_verb(
    service: Service, outside: Canary, word: str
) -> None:
    for text in (
        *strings(ALPHABET, 1),
        "a/secret",
        "a/folder/secret",
        "../outside/secret",
        str(outside.folder / "secret"),
    ):
        for options in ({}, OTHER_OPTIONS.get(word, {})):
            set_out(service.root)
            # A new one, since what cannot be kept in step is ended
            async with service.peer() as peer:
                await peer.send(conversation(word, text, options))
                assert SECRET not in await answer(peer), text
        outside.check(f"{word} {text!r}")
