"""Which names are hidden by patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.names import SafeName
from ftransfer.transfer.hidden_names import SECRETS
from ftransfer.transfer.selection import hidden_names


def covers(patterns: tuple[str, ...], name: str) -> bool:
    return hidden_names(patterns).covers(SafeName.trusted(name))


@pytest.mark.parametrize(
    "name",
    [
        ".ssh",
        ".ssh/id",
        "a/.ssh/b/c",
        ".env",
        ".env.local",
        "a/key.pem",
        ".git/config",
        "deep/er/.git",
        ".GIT/config",
        "KEY.Pem",
    ]
    + ["line\nfeed/.git", ".git/line\nfeed", "id_ed25519", "a/.bash_history"],
)
def test_secrets_are_hidden_wherever_they_are(name: str) -> None:
    assert covers(SECRETS, name)


@pytest.mark.parametrize(
    "name",
    ["a", ".gitignore", ".github/x", "git", "pem", "a.pem.txt", "ssh", "environment", "a/env"],
)
def test_other_names_are_not(name: str) -> None:
    assert not covers(SECRETS, name)


@pytest.mark.parametrize(
    ("patterns", "hidden", "shown"),
    [
        (("secret/",), ["secret", "a/secret/b"], ["secrets", "a"]),
        (("/top",), ["top", "top/a", "TOP"], ["a/top"]),
        (("a/b",), ["a/b", "a/b/c"], ["b", "x/a/b"]),
        (("*.key", "!public.key"), ["a.key", "b/c.key"], ["public.key", "b/public.key"]),
        (("x", "!x/y"), ["x/y"], ["y"]),
        (("te?t*",), ["text", "a/testing"], ["tet"]),
        (("[ab]",), ["a", "b/x"], ["c"]),
        (("**/deep/*.txt",), ["deep/a.txt", "x/deep/b.txt"], ["a.txt", "deep"]),
        (("größe",), ["Größe", "a/GRÖSSE"], ["grosse"]),
        ((), [], ["a", ".ssh"]),
    ],
)
def test_patterns_are_those_of_a_gitignore_without_case(
    patterns: tuple[str, ...], hidden: list[str], shown: list[str]
) -> None:
    assert [name for name in hidden if not covers(patterns, name)] == []
    assert [name for name in shown if covers(patterns, name)] == []


@given(
    st.lists(st.text(alphabet="ab.*?!/", min_size=1, max_size=5), max_size=4),
    st.lists(st.text(alphabet="aAb.\n", min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_what_is_in_a_hidden_folder_is_hidden(patterns: list[str], parts: list[str]) -> None:
    try:
        hidden = hidden_names(patterns)
    except ValueError:
        return  # a pattern that git does not take either
    above = [hidden.covers(SafeName(tuple(parts[:end]))) for end in range(1, len(parts) + 1)]
    assert above == sorted(above)
    assert any(above) == any(hidden("/".join(parts[:end])) for end in range(1, len(parts) + 1))


@given(st.text(alphabet="aAb.eEnNvV", min_size=1, max_size=6))
def test_the_glance_never_misses_what_the_patterns_hide(last: str) -> None:
    words = ("a*", "*b", ".env", "NEb")
    # One that no glance can tell
    by_glance, in_full = (
        hidden_names(words),
        hidden_names((*words, "[x]y")),
    )
    assert by_glance(last) == in_full(last)
