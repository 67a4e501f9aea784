"""Names from the wire: what is let through, what is refused, and what is safe to print."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.errors import NameRefused
from ftransfer.limits import Limits
from ftransfer.names import (
    ROOT,
    SafeName,
    encode_name,
    escape,
    is_reserved,
    parse_name,
    parse_path,
)

LIMITS = Limits(max_name_bytes=20, max_part_bytes=10)

# Pieces of which bad names are made, and characters that are special somewhere.
PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "//",
        "\0",
        "\\",
        ".ftransfer",
        ".FTRANSFER",
        ".ftran\u017ffer",
        "a",
        "~",
        "C:",
        "\n",
        "\udc2e",
        "\udcc3",
        "\udca9",
        "\ud800",
    ]
)
WIRE_TEXT = st.one_of(
    st.text(st.characters()), st.lists(st.one_of(PIECES, st.text(st.characters()))).map("".join)
)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a/b",
        ".hidden",
        "...",
        "..a",
        "a..",
        "~",
        "a b",
        "-",
        "a\\b",
        "a\nb",
        "\u00e9",
        "\udcff",
        "C:\\x",
        '"',
    ],
)
def test_good_names_keep_their_parts(text: str) -> None:
    name = parse_name(text)
    assert name.parts == tuple(text.split("/"))
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/etc/passwd",
        "//a",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        "./a",
        "a/./b",
        "a/",
        "a//b",
        "a\0",
        "\0",
        ".ftransfer",
        ".ftransfer/partials",
        "a/.ftransfer",
        ".ftransfer-old",
        ".FTransfer",
        ".ftran\u017ffer",
        "\ud800",
        "a\udfff",
        "\udc7f",
        "\udc2e\udc2e",
    ],
)
def test_bad_names_are_refused(text: str) -> None:
    with pytest.raises(NameRefused) as caught:
        parse_name(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "is_good"),
    [("a" * 10, True), ("a" * 11, False), ("\u00e9" * 5, True), ("\u00e9" * 5 + "a", False)],
)
def test_part_is_bounded_in_bytes(text: str, is_good: bool) -> None:
    check(text, is_good)


@pytest.mark.parametrize(
    ("text", "is_good"), [("aaaaaaaaa/bbbbbbbbbb", True), ("aaaaaaaaaa/bbbbbbbbbb", False)]
)
def test_name_is_bounded_in_bytes(text: str, is_good: bool) -> None:
    check(text, is_good)


def check(text: str, is_good: bool) -> None:
    if is_good:
        assert str(parse_name(text, LIMITS)) == text
    else:
        with pytest.raises(NameRefused, match="longer than"):
            parse_name(text, LIMITS)


def test_message_about_an_endless_name_is_short() -> None:
    with pytest.raises(NameRefused) as caught:
        parse_name("a" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", ".", "/"])
def test_path_may_be_the_root(text: str) -> None:
    assert parse_path(text) == ROOT
    assert ROOT.is_root and ROOT.last == "" and ROOT.parent == ROOT and str(ROOT) == ""


def test_path_may_end_in_a_slash() -> None:
    assert parse_path("a/b/") == parse_path("a/b") == SafeName(("a", "b"))


@pytest.mark.parametrize("text", ["//", "/a", "..", "../", "a//", "./"])
def test_bad_paths_are_refused(text: str) -> None:
    with pytest.raises(NameRefused):
        parse_path(text)


def test_parts_of_a_name() -> None:
    name = parse_name("a/b/c")
    assert (name.last, str(name.parent), name.is_root) == ("c", "a/b", False)
    assert name.is_within(name) and name.is_within(parse_name("a/b")) and name.is_within(ROOT)
    assert not name.is_within(parse_name("a/bb")) and not parse_name("a").is_within(name)


def test_trusted_name_is_that_of_the_text() -> None:
    assert SafeName.trusted("a/b") == parse_name("a/b")
    assert SafeName.trusted("") == ROOT


def test_one_name_has_one_spelling() -> None:
    assert parse_name("\udcc3\udca9") == parse_name("\u00e9")


@given(WIRE_TEXT)
def test_accepted_names_never_climb(text: str) -> None:
    try:
        name = parse_name(text)
    except NameRefused:
        return
    path = os.fsencode(str(name))
    assert path == encode_name(text)
    assert not path.startswith(b"/") and b"\0" not in path
    for part in path.split(b"/"):
        assert part not in (b"", b".", b"..") and len(part) <= 255
        assert not is_reserved(os.fsdecode(part))
    assert os.path.normpath(b"/root/" + path) == b"/root/" + path
    assert parse_name(str(name)) == name


@given(WIRE_TEXT)
def test_accepted_paths_never_climb(text: str) -> None:
    try:
        name = parse_path(text)
    except NameRefused:
        return
    assert os.path.normpath("/root/" + str(name)) == ("/root/" + str(name)).rstrip("/")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain name.txt", "plain name.txt"),
        ("\u00e9\u4e2d", "\u00e9\u4e2d"),
        ("a\\b", "a\\\\b"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\0\x7f\x85\xad", "\\x00\\x7f\\x85\\xad"),
        ("\u202eexe.txt", "\\u202eexe.txt"),
        ("\u2066\u2069\u200b\u2028\ufeff\u061c", "\\u2066\\u2069\\u200b\\u2028\\ufeff\\u061c"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("👨\u200d👩\u200d👧.txt", "👨\u200d👩\u200d👧.txt"),
        ("🏳\ufe0f\u200d🌈", "🏳\ufe0f\u200d🌈"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क\u094d\u200dष", "क\u094d\u200dष"),
        ("read\u200dme\u200c", "read\\u200dme\\u200c"),
        ("\u200d👩👩\u200d\u200d👩", "\\u200d👩👩\\u200d\\u200d👩"),
        ("👩\u200da\u202e", "👩\\u200da\\u202e"),
    ],
)
def test_escape(text: str, printed: str) -> None:
    assert escape(text) == printed


@given(st.text(st.characters()))
def test_escaped_text_cannot_harm_a_terminal(text: str) -> None:
    printed = escape(text)
    printed.encode("utf-8")  # no lone surrogate is left
    assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in printed)
    assert not any(
        unicodedata.bidirectional(character)
        in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")
        for character in printed
    )


@given(st.text(st.characters()), st.text(st.characters()))
def test_different_bytes_are_printed_differently(one: str, other: str) -> None:
    if one != other:
        assert escape(one) != escape(other)
