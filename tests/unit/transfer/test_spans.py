"""Spans of a listing: how they are cut, and what is found to differ by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.digest import digest_of
from ftransfer.errors import NameRefused, RemoteProtocolError
from ftransfer.names import sort_key
from ftransfer.storage.base import FILE, FOLDER, Range, line_of
from ftransfer.transfer.spans import (
    MAX_ENTRIES,
    Span,
    SpanDifferences,
    find_differences,
    span_from_wire,
    span_of,
    span_to_wire,
)

NAMES = ["a", "a/b", "a/c", "a.b", "b", "é", "\udcff"]


def line(name: str, size: int = 1) -> str:
    return line_of(name, FILE, size, 1, 0o644)


async def in_batches(lines: Sequence[str], size: int = 2) -> AsyncIterator[Sequence[str]]:
    for start in range(0, len(lines), size):
        yield lines[start : start + size]


async def cut(lines: Sequence[str], size: int) -> list[Span]:
    return [span_of(batch) async for batch in in_batches(lines, size)]


async def compare(theirs: Sequence[str], ours: Sequence[str], size: int = 2) -> SpanDifferences:
    async def told() -> AsyncIterator[Span]:
        for span in await cut(theirs, size):
            yield span

    return await find_differences(told(), in_batches(ours, 3))


async def test_spans_cover_all_lines_in_order() -> None:
    lines = [line(name) for name in NAMES]
    spans = await cut(lines, 3)
    assert [(span.until, span.entries) for span in spans] == [("a/c", 3), ("é", 3), ("\udcff", 1)]
    assert spans[2].digest == digest_of(b"\xff\0file 1 1 420\0")


async def test_folder_that_cannot_be_read_is_like_no_other() -> None:
    lines = [line_of("a", FOLDER, 0, 1, 0o755, unreadable=True)]
    assert span_of(lines) == Span("a", 1, "")
    assert (await compare(lines, lines)).ranges == [Range("", "a")]


async def test_equal_trees_have_no_ranges() -> None:
    lines = [line(name) for name in NAMES]
    assert await compare(lines, lines) == SpanDifferences([], same=7, entries=[])


async def test_ranges_that_touch_are_one() -> None:
    theirs = [line(name) for name in "abcdefgh"]
    ours = [line(name, 2 if name in "cef" else 1) for name in "abcdefgh"]
    assert await compare(theirs, ours) == SpanDifferences([Range("b", "f")], same=4, entries=[4])


async def test_what_only_we_have_is_in_a_range() -> None:
    assert (await compare([line("b"), line("d")], [line(name) for name in "bcd"])).ranges == [
        Range("", "d")
    ]
    assert (await compare([line("b")], [line(name) for name in "bcd"], size=1)).ranges == [
        Range("b", "")
    ]


async def test_the_other_side_has_nothing() -> None:
    async def never() -> AsyncIterator[Sequence[str]]:
        raise AssertionError("our own tree is looked at for nothing")
        yield []

    async def told() -> AsyncIterator[Span]:
        for span in await cut([], 2):
            yield span

    assert await find_differences(told(), never()) == SpanDifferences([Range()], same=0, told=False)


async def test_spans_out_of_order_are_refused() -> None:
    async def told() -> AsyncIterator[Span]:
        yield Span("b", 1, "")
        yield Span("a", 1, "")

    with pytest.raises(RemoteProtocolError, match="order"):
        await find_differences(told(), in_batches([]))


trees = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2))


@given(trees, trees, st.integers(1, 4))
def test_every_difference_is_in_a_range(
    theirs: dict[str, int], ours: dict[str, int], size: int
) -> None:
    def lines(tree: dict[str, int]) -> list[str]:
        return [line(name, tree[name]) for name in sorted(tree, key=sort_key)]

    found = asyncio.run(compare(lines(theirs), lines(ours), size))

    def is_inside(name: str, within: Range) -> bool:
        return sort_key(within.after) < sort_key(name) and (
            not within.until or sort_key(name) <= sort_key(within.until)
        )

    same = [
        name
        for name in theirs.keys() | ours.keys()
        if not any(is_inside(name, within) for within in found.ranges)
    ]
    assert all(theirs.get(name) == ours.get(name) for name in same)
    assert found.same == len(same)
    bounds = [
        bound
        for within in found.ranges
        for bound in (sort_key(within.after), sort_key(within.until))
    ]
    assert all(one < other or not other for one, other in zip(bounds, bounds[1:], strict=False))


def test_wire_form_is_read_again() -> None:
    for span in (Span("a/b", 3, digest_of(b"")), Span("\udcff", MAX_ENTRIES, "")):
        assert span_from_wire(span_to_wire(span)) == span


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"until": "a"},
        {"entries": 1},
        {"until": "a", "entries": 0},
        {"until": "a", "entries": MAX_ENTRIES + 1},
    ],
)
def test_what_is_no_span(value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        span_from_wire(value)


def test_span_may_not_end_with_a_bad_name() -> None:
    with pytest.raises(NameRefused):
        span_from_wire({"until": "../a", "entries": 1})
