"""Other words for commands, as people type them out of habit."""

from __future__ import annotations

import pytest

from ftransfer.cli.runtime.commands import HOMES, without_aliases
from ftransfer.cli.runtime.entry import run_program
from ftransfer.version import VERSION


@pytest.mark.parametrize(
    ("line", "stands_for"),
    [
        ("ls h 1 x", "dir h 1 x"),
        ("help", "--help"),
        ("help get", "get --help"),
        ("help user add", "user add --help"),
        ("version", "--version"),
        ("-V", "--version"),
        ("get h 1 ls", "get h 1 ls"),
    ],
)
def test_words(line: str, stands_for: str) -> None:
    assert list(without_aliases(line.split())) == stands_for.split()
    assert line.split()[0] not in HOMES or line == stands_for


@pytest.mark.parametrize("word", ["version", "-V"])
def test_version(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert run_program([word]) == 0
    assert capsys.readouterr().out == f"ftransfer {VERSION}\n"


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["help", "mv"]) == 0
    assert capsys.readouterr().out.startswith("Usage: ftransfer mv ")


def test_no_words() -> None:
    assert list(without_aliases([])) == []
