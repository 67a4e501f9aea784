"""Commands that are imported when they are named: all work, and all are listed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ftransfer.cli.runtime.app import app, run_app

PROGRAM: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]  # since it has a callback
NAMES = list(PROGRAM.commands)


@pytest.mark.parametrize("name", NAMES)
def test_command_is_found_under_its_name(name: str) -> None:
    command = PROGRAM.commands[name]
    assert command.name == name
    assert command is PROGRAM.commands[name]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "user"])
def test_command_shows_its_own_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app([name, "--help"]) == 0
    assert f"ftransfer {name} " in capsys.readouterr().out.partition("Examples:")[2]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["--help"]) == 0
    listed = [
        line.split()[0]
        for line in capsys.readouterr().out.partition("Commands:")[2].splitlines()
        if line.strip()
    ]
    assert listed[: len(NAMES)] == NAMES


def test_mistyped_name_is_answered_with_one_that_is_not_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_app(["partails"]) == 2
    assert "no such command 'partails'; did you mean 'partials'?\n" in capsys.readouterr().err


def test_names_are_listed_without_importing_anything() -> None:
    code = """
import sys
import typer
from ftransfer.cli.runtime.app import app
assert "sync" in list(typer.main.get_command(app).commands)
unwanted = {"ftransfer.cli.trees", "ftransfer.cli.serve", "ftransfer.cli.connect"}
sys.exit(repr(unwanted & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "set()"
