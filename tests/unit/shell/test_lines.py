from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.lines import Word, quote, scan, split_line

NAMES = st.text(
    st.one_of(st.characters(), st.sampled_from("ab '\"\\$x41nu\n\udc80\u202e\x85")), max_size=12
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  \t ", []),
        ("get a", ["get", "a"]),
        ("  get\ta  ", ["get", "a"]),
        ('get "my photo.jpg"', ["get", "my photo.jpg"]),
        ("get 'my photo.jpg'", ["get", "my photo.jpg"]),
        (r"get my\ photo.jpg", ["get", "my photo.jpg"]),
        (r'get "a\"b\\c\d"', ["get", r"a\"b\c\d".replace(r"\"", '"')]),
        (r"get 'a\b'", ["get", r"a\b"]),
        ("""get 'it'"'"s""", ["get", "it's"]),
        ("get 'my photo'.jpg", ["get", "my photo.jpg"]),
        ('get ""', ["get", ""]),
        (r"get $'a\tb\x1b\xff\u202e\'\\'", ["get", "a\tb\x1b\udcff\u202e'\\"]),
        ("get $HOME", ["get", "$HOME"]),
        ("get 天线 15", ["get", "天线", "15"]),
    ],
)
def test_words_of_a_line(line: str, words: list[str]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize("line", ['get "a', "get 'a", "get $'a", "get a\\", 'get "a\\"'])
def test_quote_that_is_never_closed(line: str) -> None:
    with pytest.raises(WrongUsage, match="missing closing quote|at the end of the line"):
        split_line(line)


@pytest.mark.parametrize(
    ("line", "last"),
    [('cd "two words/', "two words/"), ("cd 'a b/", "a b/"), ("cd $'a\\n/", "a\n/")],
)
def test_quote_that_completion_leaves_open_behind_a_folder_counts_as_closed_at_the_prompt(
    line: str, last: str
) -> None:
    assert split_line(line, is_lenient=True) == ["cd", last]


@pytest.mark.parametrize(
    "line", ["checksum it's.txt", 'get "my photo', "get a\\", "rm it's a/", "rm a b'"]
)
def test_any_other_open_quote_is_told_at_the_prompt_too(line: str) -> None:
    with pytest.raises(WrongUsage, match="missing closing quote|at the end of the line"):
        split_line(line, is_lenient=True)


def test_scan_says_where_a_word_begins_and_which_quote_is_open() -> None:
    assert scan('get "my ph') == [Word("get", 0), Word("my ph", 4, '"')]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("plain.txt", "plain.txt"),
        ("射频仿真.pptx", "射频仿真.pptx"),
        ("my photo.jpg", '"my photo.jpg"'),
        ("it's", '"it\'s"'),
        ('say "hi"', "'say \"hi\"'"),
        ("esc\x1b[31m", r"$'esc\x1b[31m'"),
        ("bytes\udcff", r"$'bytes\xff'"),
        ("", '""'),
    ],
)
def test_quotes_are_set_only_where_needed(name: str, typed: str) -> None:
    assert quote(name) == typed


def test_quote_stays_open_when_more_is_to_be_typed() -> None:
    assert quote("two words/", is_complete=False) == '"two words/'
    assert quote("plain/", is_complete=False) == "plain/"


@given(st.lists(NAMES, max_size=4))
def test_quoted_names_are_read_back(names: list[str]) -> None:
    assert split_line(" ".join(quote(name) for name in names)) == names


@given(NAMES)
def test_quoted_name_can_be_printed(name: str) -> None:
    assert "\n" not in quote(name) and "\x1b" not in quote(name)


@given(st.text(max_size=30))
def test_any_line_is_scanned(line: str) -> None:
    for word in scan(line):
        assert 0 <= word.start < len(line)
