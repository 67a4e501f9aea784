"""No sequence of protocol lines and frames leaves a session without an answer or an end."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftransfer.digest import digest_of
from ftransfer.protocol.commands import VERBS
from fuzz.sessions import session
from tests.support.service import end_frame, frame

_NAMES = st.sampled_from([".", "", "a", "b", "folder", "folder/a", "../x", "/"])
_VALUES: dict[type, st.SearchStrategy[object]] = {
    int: st.sampled_from([0, 1, 5, 2**62]),
    bool: st.booleans(),
    str: st.sampled_from(["", "a", "b", "t", "word"]),
}


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw a line that the protocol allows, or nearly so."""
    verb = VERBS[draw(st.sampled_from(sorted(VERBS)))]
    options = {
        key: draw(_VALUES[kind])
        for key, kind in verb.options.items()
        if key in verb.needs or draw(st.booleans())
    }
    if not verb.takes_argument:
        return f"{verb.word}\n".encode()
    return f"{verb.word} {json.dumps(draw(_NAMES))} {json.dumps(options)}\n".encode()


def _pack(*names: str) -> bytes:
    count = len(names)
    index = {
        "name": names,
        "size": [1] * count,
        "digest": [digest_of(b"x")] * count,
        "mtime_ns": [1] * count,
        "mode": [420] * count,
    }
    head = json.dumps(index).encode()
    return len(head).to_bytes(4, "big") + bytes.fromhex(digest_of(head)) + head + b"x" * count


FRAMES = st.sampled_from(
    [
        *(
            frame(b"D"),
            frame(b"D", b"x"),
            frame(b"D", b"hello"),
            end_frame(0, digest_of(b"")),
            end_frame(1, digest_of(b"x")),
        ),
        *(frame(b"L", b"[]"), frame(b"L", b'["a"]'), frame(b"L", b'["a","../x","folder"]')),
        *(frame(b"P", _pack()), frame(b"P", _pack("a")), frame(b"P", _pack("folder/a", "../x"))),
        *(frame(b"F"), frame(b"X", b'{"code":"aborted","message":""}')),
    ]
)
SAID = st.lists(lines() | st.lists(FRAMES, max_size=8).map(b"".join) | FRAMES, max_size=8).map(
    b"".join
)


def _chosen(
    said: bytes,
    repeats: int,
    *,
    direct: bool,
    guarded: bool = False,
    stays: bool = False,
    piece: int = 0,
) -> bytes:
    choice = repeats | direct << 2 | guarded << 3 | stays << 4 | piece << 5
    return choice.to_bytes(2, "big") + said


_RECURSIVE = b'mget "." {"recursive":true}\n' + frame(b"L", b'["x"]') * 6 + frame(b"F")


@given(
    said=SAID,
    repeats=st.integers(0, 3),
    direct=st.booleans(),
    guarded=st.booleans(),
    stays=st.booleans(),
    piece=st.integers(0, 99),
)
@example(said=_RECURSIVE, repeats=0, direct=True, guarded=False, stays=True, piece=0)
@example(said=_RECURSIVE, repeats=0, direct=False, guarded=False, stays=False, piece=0)
@example(
    said=b"put a\n" + frame(b"D") * 500, repeats=3, direct=True, guarded=False, stays=False, piece=0
)
@example(
    said=b"put ../x\n" + frame(b"D") * 500,
    repeats=3,
    direct=False,
    guarded=False,
    stays=True,
    piece=0,
)
@example(said=b"\n" * 4000, repeats=3, direct=True, guarded=False, stays=False, piece=0)
@example(said=b"help\n" * 800, repeats=3, direct=False, guarded=False, stays=True, piece=0)
@settings(deadline=None)
def test_every_session_comes_to_an_end(
    said: bytes, repeats: int, direct: bool, guarded: bool, stays: bool, piece: int
) -> None:
    session(_chosen(said, repeats, direct=direct, guarded=guarded, stays=stays, piece=piece))
