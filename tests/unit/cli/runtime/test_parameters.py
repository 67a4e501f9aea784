"""Command lines read without typer: what typer would have read; the rest is left to typer."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.cli.runtime.commands import HOMES, command_of
from ftransfer.cli.runtime.parameters import parameters_of, read
from ftransfer.cli.runtime.typer_adapter import AppCommand, for_typer

NAMES = sorted(set(HOMES) - {"serve", "user"})


@functools.cache
def parts_of(name: str) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Return a command's parameters, the command of typer, and the list of its calls."""
    calls: list[dict[str, Any]] = []
    function, _ = command_of(name)

    def record(**values: Any) -> None:
        calls.append(values)

    record.__signature__ = function.__signature__  # type: ignore[attr-defined]  # what inspect looks for
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=AppCommand)(for_typer(record))
    return parameters_of(function), typer.main.get_command(app), calls


def read_by_typer(name: str, words: list[str]) -> dict[str, Any] | None:
    _, command, calls = parts_of(name)
    calls.clear()
    try:
        command(words, prog_name="x", standalone_mode=False)
    except Exception as error:
        assert hasattr(error, "exit_code"), repr(error)
        return None
    return calls[0] if calls else None  # nothing is called to show the help


def flags_of(name: str) -> list[str]:
    return [
        flag
        for parameter in parts_of(name)[0]
        if parameter.declaration.maker == "Option"
        for flag in parameter.flags
    ]


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    name = draw(st.sampled_from(NAMES))
    flags = st.sampled_from([*flags_of(name), "--help", "--", "-", "--bogus", "-rn"])
    values = st.sampled_from(
        ["", "0", "1", "-1", "65536", "x", "get", "[::1]", " 7", "a=b", "-", "7d"]
    )
    word = st.one_of(flags, values, st.builds("{}={}".format, flags, values))
    start = draw(st.sampled_from([["h", "1"], ["h", "1", "n"], ["h", "1", "get", "a", "b"], []]))
    return name, [*start, *draw(st.lists(word, max_size=6))]


@given(lines())
def test_what_is_read_is_what_typer_reads(line: tuple[str, list[str]]) -> None:
    name, words = line
    values = read(parts_of(name)[0], words)
    if values is not None:
        assert values == read_by_typer(name, words)


@pytest.mark.parametrize(
    "line",
    [
        "get h 1 n",
        "get [::1] 1 n -",
        "get h 1 n d --json --offset 1 --length=2 --retries 0 --streams 4",
        (
            "get -r --no-fsync h 1 n d --tls --user ann --token-file f --fingerprint x --ca system"
            " --cert c --key k"
        ),
        "put --if-absent --plain h 1 - n",
        "put h 1 f --streams 3",
        "dir h 1",
        "sync h 1 put a b --delete -n -c --links --include x --exclude y --exclude z",
        "rm -r h 1 a b c",
        "mkdir -p h 1 a",
        "mv h 1 a b --force",
        "tell h 1 ann hello --as bob",
        "watch --get d --exec c h 1 p",
        "partials --clear --older 7d h 1",
    ],
)
def test_common_lines_are_read_without_typer(line: str) -> None:
    name, *words = line.split()
    assert read(parts_of(name)[0], words) == read_by_typer(name, words) is not None


@pytest.mark.parametrize(
    "words",
    [[], ["h"], ["h", "0", "n"], ["h", "x", "n"], ["h", "1", "n", "--help"], ["h", "1", "n", "-x"]],
)
def test_what_raises_a_question_is_left_to_typer(words: list[str]) -> None:
    assert read(parts_of("get")[0], words) is None
