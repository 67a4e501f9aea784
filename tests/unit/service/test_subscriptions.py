"""What each session is told of a change, by what it watches and may know of."""

from __future__ import annotations

import json
import struct
from typing import Any

from ftransfer.auth.permissions import ALL_RIGHTS, ANYONE, NO_RIGHTS, Grant, Principal
from ftransfer.gateways.native.endpoint import EventFrames
from ftransfer.names import ROOT, SafeName, parse_name, parse_path
from ftransfer.protocol.live import CREATED, MOVED, REMOVED, Change
from ftransfer.service.outbox import EncodedEvents
from ftransfer.service.subscriptions import ChangeBatch

EVERYTHING = [ROOT]
FRAMES = EventFrames()
# All but the folder "secret".
LIMITED = Principal("ann", (Grant(ROOT, ALL_RIGHTS), Grant(parse_name("secret"), NO_RIGHTS)))


def told(bundles: list[EncodedEvents]) -> list[Any]:
    """Return the events in some bundles."""
    events = []
    for bundle in bundles:
        data, count = bundle.data, 0
        while data:
            kind, length = struct.unpack_from(">cI", data)
            assert kind == b"V"
            events.append(json.loads(data[5 : 5 + length]))
            data, count = data[5 + length :], count + 1
        assert count == bundle.count
    return events


def seen(
    change: Change, principal: Principal = ANYONE, folders: list[SafeName] = EVERYTHING
) -> list[tuple[str, str]]:
    changes = ChangeBatch()
    changes.add(change)
    return [
        (event["change"], event["name"])
        for event in told(changes.encoded(FRAMES, principal, folders))
    ]


def test_one_interest_is_told_the_same_bytes() -> None:
    changes = ChangeBatch()
    for number in range(3):
        changes.add(Change(CREATED, f"{number}", "file"))
    first = changes.encoded(FRAMES, ANYONE, [ROOT])
    assert changes.encoded(FRAMES, ANYONE, [parse_path("")]) is first
    assert [event["name"] for event in told(first)] == ["0", "1", "2"]
    assert changes.encoded(FRAMES, LIMITED, [ROOT]) is not first


def test_a_round_is_told_in_bundles_that_an_outbox_has_room_for() -> None:
    changes = ChangeBatch()
    names = [f"{number}{'x' * 200}" for number in range(64)]
    for name in names:
        changes.add(Change(CREATED, name, "file", digest="0" * 64))
    bundles = changes.encoded(FRAMES, ANYONE, [ROOT])
    assert len(bundles) > 1 and all(len(bundle.data) <= 16 * 1024 for bundle in bundles)
    assert [event["name"] for event in told(bundles)] == names


def test_an_event_that_is_longer_than_a_bundle_is_told_by_itself() -> None:
    changes = ChangeBatch()
    names = ["a", "/".join(["\x01" * 255] * 16), "b"]
    for name in names:
        changes.add(Change(CREATED, name, "file"))
    bundles = changes.encoded(FRAMES, ANYONE, [ROOT])
    assert [bundle.count for bundle in bundles] == [1, 1, 1]
    assert [event["name"] for event in told(bundles)] == names


def test_what_lies_elsewhere_or_may_not_be_known_of_is_not_told() -> None:
    assert seen(Change(CREATED, "a/b", "file"), folders=[parse_name("a")]) == [(CREATED, "a/b")]
    assert seen(Change(CREATED, "ab", "file"), folders=[parse_name("a")]) == []
    assert seen(Change(CREATED, "secret/x", "file"), LIMITED) == []
    assert seen(Change(CREATED, "open", "file"), LIMITED) == [(CREATED, "open")]


def test_a_change_below_two_watched_paths_is_told_once() -> None:
    assert seen(Change(CREATED, "a/b", "file"), folders=[ROOT, parse_name("a")]) == [
        (CREATED, "a/b")
    ]


def test_who_sees_one_side_of_a_move_is_told_of_that_side() -> None:
    move = Change(MOVED, "secret/x", "file", old="open")
    assert seen(move) == [(MOVED, "secret/x")]
    assert seen(move, LIMITED) == [(REMOVED, "open")]
    assert seen(Change(MOVED, "open", "file", old="secret/x"), LIMITED) == [(CREATED, "open")]
    assert seen(move, folders=[parse_name("secret")]) == [(CREATED, "secret/x")]
    assert seen(Change(MOVED, "secret/x", "file", old="secret/y"), LIMITED) == []
