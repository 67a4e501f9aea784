"""The systemd unit and the Containerfile start a server with valid flags, on all addresses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ftransfer.cli.runtime.app import COMMANDS

CONTRIB = Path(__file__).parents[3] / "contrib"


def words_of_unit() -> list[str]:
    (line,) = re.findall(
        r"^ExecStart=(.*)$", (CONTRIB / "ftransfer.service").read_text(), re.MULTILINE
    )
    program, *words = shlex.split(line)
    assert program == "/opt/ftransfer/bin/ftransfer"
    return words


def words_of_container() -> list[str]:
    text = (CONTRIB / "Containerfile").read_text()
    (words,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    assert "/opt/ftransfer" in text
    return list(json.loads(words))


@pytest.mark.parametrize(
    "words", [words_of_unit(), words_of_container()], ids=["unit", "container"]
)
def test_the_server_is_started_as_it_can_be(words: list[str]) -> None:
    name, *arguments = words
    given = COMMANDS[name].make_context("ftransfer serve", arguments).params
    assert (given["host"], given["port"]) == ("::", 9021) and Path(given["folder"]).is_absolute()
