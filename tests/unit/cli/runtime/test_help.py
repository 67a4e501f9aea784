"""The help screens: examples first, options in groups, no words of Python's."""

from __future__ import annotations

import re

import pytest

from ftransfer.cli.runtime.commands import HOMES
from ftransfer.cli.runtime.entry import run_program


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run_program([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [name for name in HOMES if name != "user"])
def test_examples_stand_before_the_options(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = help_of(capsys, command)
    order = [
        out.index(title) for title in ("Usage: ", "\n  Examples:", "\nArguments:", "\nOptions:")
    ]
    assert order == sorted(order)
    assert "<" not in out.split("\nArguments:")[1]  # as <str> and <list[str]>
    assert len(re.findall(r"^  (?:-h, )?--help ", out, re.MULTILINE)) == 1


@pytest.mark.parametrize("command", ["get", "put", "dir", "connect", "serve"])
def test_who_is_trusted_has_a_group_of_its_own(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    own, security = help_of(capsys, command).split("\nOptions:")[1].split("\nSecurity:")
    assert "--tls" in security and "--token-file" in security and "--help" not in security
    assert "--tls" not in own and "--token-file" not in own


def test_bounds_of_a_server_have_a_group_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    before, bounds = help_of(capsys, "serve").split("\nQuotas and limits:")
    assert "--max-unauthenticated" in bounds and "--rate" in bounds and "--host" not in bounds
    assert "--host" in before and "--max-unauthenticated" not in before.split("\nOptions:")[1]


def test_summaries_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    listed = help_of(capsys).split("\nCommands:")[1].split("\n\n")[0]
    assert "..." not in listed and len(listed.splitlines()) > len(HOMES) - 1
