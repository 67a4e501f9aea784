from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.shell.columns import cells, fitted, in_columns, wrapped


def test_names_are_set_downwards_in_as_many_columns_as_fit() -> None:
    assert in_columns(["a", "b", "c", "d", "e"], 7) == ["a  c  e", "b  d"]


def test_wide_characters_count_two_cells() -> None:
    lines = in_columns(["天线15.doc", "a", "射频", "bb"], 20)
    assert lines == ["天线15.doc  射频", "a           bb"]
    assert cells("天线15.doc") == 10


def test_name_wider_than_the_terminal_stands_alone() -> None:
    assert in_columns(["a" * 30, "b"], 10) == ["a" * 30, "b"]


def test_no_names_no_lines() -> None:
    assert in_columns([], 80) == []


@given(st.lists(st.text("a天e\u0301🙂", max_size=12), max_size=30), st.integers(1, 60))
def test_every_name_is_there_and_no_line_too_wide(names: list[str], width: int) -> None:
    lines = in_columns(names, width)
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(names))
    widest = max(map(cells, names), default=0)
    assert all(cells(line) <= max(width, widest) for line in lines)


def test_every_row_begins_its_columns_at_the_same_cell() -> None:
    names = [f"文件{'宽' * (number % 4)}{number:02}" for number in range(12)]
    lines = in_columns(names, 60)
    assert len(lines) == 3
    starts = [[cells(line[: line.index(name)]) for name in line.split()] for line in lines]
    assert starts[0] == starts[1] == starts[2]


# Long lines.


@pytest.mark.parametrize("width", range(10, 90))
def test_lines_break_between_words(width: int) -> None:
    text = (
        "射频仿真 connected to 127.0.0.1 9021 (ftransfer 0.1.0); help lists the commands,  Ctrl-D"
        " leaves"
    )
    lines = wrapped(text, width, 4).split("\n")
    assert all(cells(line) <= width or len(line.split()) == 1 for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())


def test_line_that_fits_stays_as_it_is() -> None:
    assert wrapped("a  b   c", 8) == "a  b   c"
    assert wrapped("", 8) == "" and wrapped("word", 2) == "word"


def test_only_a_terminal_has_a_width() -> None:
    assert fitted("a b " * 100, io.StringIO()) == "a b " * 100
