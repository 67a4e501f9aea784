"""Entries of a listing, as they come from a peer that is not trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.errors import FtransferError, NameRefused, RemoteProtocolError
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry
from ftransfer.transfer.records import entries_from_wire, entry_from_wire, entry_to_wire

ENTRIES = [
    Entry("a/b", FILE, 5, -7, 0o644),
    Entry("a/c", FOLDER, 0, 1, 0o755),
    Entry("a/c/x", FILE, 0, 1, 0o644),
    Entry("a/c/y", LINK, 0, 1, 0o777, target="x"),
    Entry("a/d", FOLDER, 0, 1, 0, unreadable=True),
    Entry("a/\udcff/.x", FILE, 1, 1, 0o600),
]


def test_entries_are_relative_to_the_folder_that_was_asked_for() -> None:
    wire = [entry_to_wire(entry) for entry in ENTRIES]
    assert entries_from_wire(wire, ROOT) == ENTRIES
    assert entries_from_wire(wire, parse_name("a")) == ENTRIES
    relative = entries_from_wire(wire, parse_name("a"), relative=True)
    assert [entry.name for entry in relative] == ["b", "c", "c/x", "c/y", "d", "\udcff/.x"]


names = st.lists(
    st.sampled_from(
        ["a", "b", "..", ".", "", "\0", ".ftransfer", "\udcc3", "\udca9", "é", "x" * 300]
    ),
    max_size=4,
).map("/".join)
values = st.fixed_dictionaries(
    {},
    optional={
        "name": names | st.none(),
        "kind": st.sampled_from([FILE, FOLDER, LINK, "view"]),
        "size": st.sampled_from([0, -1, 2**63 - 1, 2**63, True, 1.0, "1"]),
        "mtime_ns": st.sampled_from([0, -(2**63), 2**63, -1]),
        "mode": st.sampled_from([0, -1, 2**63]),
        "else": st.just(1),
    },
)


@given(st.lists(values, max_size=4), st.sampled_from([ROOT, parse_name("a"), parse_name("é")]))
def test_many_are_read_as_one_is(items: list[dict[str, Any]], below: SafeName) -> None:
    def one_by_one() -> list[Entry]:
        cut = 0 if below.is_root else len(str(below)) + 1
        entries = [entry_from_wire(item, below) for item in items]
        return [
            Entry(entry.name[cut:], entry.kind, entry.size, entry.mtime_ns, entry.mode)
            for entry in entries
        ]

    try:
        expected = one_by_one()
    except FtransferError as error:
        with pytest.raises(type(error)):
            entries_from_wire(items, below, relative=True)
    else:
        assert entries_from_wire(items, below, relative=True) == expected


def test_what_is_not_below_the_folder_is_refused() -> None:
    for name, error in (
        ("b/x", RemoteProtocolError),
        ("a", RemoteProtocolError),
        ("ab", RemoteProtocolError),
        ("a/../b", NameRefused),
    ):
        with pytest.raises(error):
            entries_from_wire(
                [
                    entry_to_wire(Entry("a/x", FILE, 1, 1, 1)),
                    entry_to_wire(Entry(name, FILE, 1, 1, 1)),
                ],
                parse_name("a"),
            )
