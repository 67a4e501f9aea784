"""Rights by name: which grant counts, and the words for rights."""

from __future__ import annotations

from itertools import combinations

import pytest

from ftransfer.auth.permissions import (
    ALL_RIGHTS,
    ANYONE,
    NO_RIGHTS,
    Grant,
    Principal,
    Right,
    format_rights,
    parse_rights,
)
from ftransfer.names import ROOT, SafeName


def name(text: str) -> SafeName:
    return SafeName.trusted(text)


def principal(**rights_of_prefix: str) -> Principal:
    """Make one from prefix=words; "root" is the root, and _ stands for /."""
    grants = tuple(
        Grant(ROOT if prefix == "root" else name(prefix.replace("_", "/")), parse_rights(words))
        for prefix, words in rights_of_prefix.items()
    )
    return Principal("ann", grants)


def test_without_a_grant_nothing_is_allowed() -> None:
    nobody = Principal("nobody", ())
    assert not any(nobody.may(right, name(text)) for right in Right for text in ("", "a", "a/b"))
    assert not any(nobody.may_below(right, ROOT) or nobody.may_somewhere(right) for right in Right)


def test_anyone_may_everything() -> None:
    assert all(
        ANYONE.may(right, name("a/b")) and ANYONE.may_all_below(right, ROOT) for right in Right
    )
    assert ANYONE.is_anonymous


def test_longest_prefix_wins_both_ways() -> None:
    ann = principal(root="read", a="all", a_b="none", a_b_c="list")
    assert ann.rights_at(name("x")) == {Right.LIST, Right.READ}
    assert ann.rights_at(name("a")) == ann.rights_at(name("a/x/y")) == ALL_RIGHTS
    assert ann.rights_at(name("a/b")) == ann.rights_at(name("a/b/x")) == NO_RIGHTS
    assert ann.rights_at(name("a/b/c/d")) == {Right.LIST}


def test_prefix_is_of_parts_and_not_of_letters() -> None:
    assert principal(a="all").rights_at(name("ab")) == NO_RIGHTS


def test_of_two_grants_for_one_prefix_the_later_counts() -> None:
    both = Principal("ann", (Grant(ROOT, ALL_RIGHTS), Grant(ROOT, NO_RIGHTS)))
    assert both.rights_at(name("a")) == NO_RIGHTS
    assert not both.may_below(Right.READ, ROOT)


def test_may_below_finds_a_grant_that_is_deeper() -> None:
    ann = principal(a_b="read")
    assert (
        ann.may_below(Right.LIST, ROOT)
        and ann.may_below(Right.LIST, name("a"))
        and ann.may_below(Right.LIST, name("a/b/c"))
    )
    assert not ann.may_below(Right.LIST, name("a/c")) and not ann.may_below(Right.WRITE, ROOT)


def test_may_all_below_sees_what_a_narrower_grant_takes_away() -> None:
    ann = principal(root="all", a_b="read")
    assert not ann.may_all_below(Right.DELETE, name("a")) and not ann.may_all_below(
        Right.DELETE, ROOT
    )
    assert ann.may_all_below(Right.DELETE, name("a/c")) and ann.may_all_below(Right.READ, ROOT)


def test_restricted_principal_keeps_its_name_and_loses_the_rest() -> None:
    ann = principal(root="all", a="drop-box").restricted_to(parse_rights("read"))
    assert ann.name == "ann"
    assert (
        ann.rights_at(name("x")) == {Right.LIST, Right.READ}
        and ann.rights_at(name("a")) == NO_RIGHTS
    )


@pytest.mark.parametrize(
    ("words", "rights"),
    [
        ("read", {Right.LIST, Right.READ}),
        ("get", {Right.READ}),
        ("drop-box", {Right.WRITE}),
        ("change", {Right.LIST, Right.READ, Right.WRITE, Right.OVERWRITE, Right.DELETE}),
        ("read, write say", {Right.LIST, Right.READ, Right.WRITE, Right.SAY}),
        (["list", "watch"], {Right.LIST, Right.WATCH}),
        ("all", set(Right)),
        ("none", set()),
    ],
)
def test_words_stand_for_rights(words: str | list[str], rights: set[Right]) -> None:
    assert parse_rights(words) == rights


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "no rights"),
        ([], "no rights"),
        ("reed", "'reed' is no right"),
        ("none,read", "'none' cannot"),
        (["Read"], "'Read'"),
    ],
)
def test_wrong_words_are_named(words: str | list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_rights(words)


def test_every_set_of_rights_can_be_written_and_read() -> None:
    for count in range(len(Right) + 1):
        for some in combinations(Right, count):
            assert parse_rights(format_rights(frozenset(some))) == frozenset(some)


@pytest.mark.parametrize(
    ("grants", "is_uniform"),
    [
        ({"root": "read"}, True),
        ({}, True),
        ({"root": "read", "a": "read"}, True),
        ({"root": "read", "a": "none"}, False),
        ({"a": "read"}, False),
        ({"root": "none", "a": "none"}, True),
    ],
)
def test_uniform_rights_are_the_same_everywhere(grants: dict[str, str], is_uniform: bool) -> None:
    assert principal(**grants).is_uniform is is_uniform
