"""Old spellings of flags and keys of `serve`: each still works, and help does not show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from ftransfer.cli.renamed_flags import RENAMED_KEYS, current_flag
from ftransfer.cli.runtime.app import COMMANDS, app, run_app
from ftransfer.shell.errors import WrongUsage

# Old key -> (flags on the command line, text in the file, value).
GIVEN: dict[str, tuple[list[str], str, Any]] = {
    "lock_down": (["--no-lock-down"], "false", False),
    "max_unproven": (["--max-unproven", "7"], "7", 7),
    "least_progress": (["--least-progress=9K"], '"9K"', "9K"),
    "quiet_time": (["--quiet-time", "20m"], '"20m"', "20m"),
}


def parameters(*arguments: str) -> dict[str, Any]:
    """Return what `serve` is given, by the names of its parameters."""
    program = typer.main.get_command(app).make_context("ftransfer", ["serve"])
    return dict(COMMANDS["serve"].make_context("serve", list(arguments), parent=program).params)


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    return str(path)


def test_every_renamed_key_is_tried() -> None:
    assert GIVEN.keys() == RENAMED_KEYS.keys()


@pytest.mark.parametrize("old", GIVEN)
def test_old_flag_means_the_new_one(old: str) -> None:
    flags, _, value = GIVEN[old]
    assert parameters(".", *flags)[RENAMED_KEYS[old]] == value


@pytest.mark.parametrize("old", GIVEN)
def test_old_and_new_key_mean_the_same(tmp_path: Path, old: str) -> None:
    _, text, value = GIVEN[old]
    for key in (old, RENAMED_KEYS[old]):
        found = parameters(".", "--config", config(tmp_path, f"{key} = {text}"))
        assert found[RENAMED_KEYS[old]] == value


@pytest.mark.parametrize("old", GIVEN)
def test_both_keys_at_once_are_refused(tmp_path: Path, old: str) -> None:
    new, text = RENAMED_KEYS[old], GIVEN[old][1]
    path = config(tmp_path, f"{new} = {text}\n {old} = {text}\n")
    with pytest.raises(WrongUsage) as refused:
        run_app(["serve", str(tmp_path), "--config", path])
    assert str(refused.value) == f"{path}:2:2: {old} is the old name of {new}; keep only {new}"


def test_old_spellings_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    for old, new in RENAMED_KEYS.items():
        assert f"--{new.replace('_', '-')}" in shown
        assert old.replace("_", "-") not in shown


def test_other_flags_keep_their_spelling() -> None:
    assert [current_flag(flag) for flag in ("no-fsync", "port", "h")] == ["no-fsync", "port", "h"]


def test_config_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = config(tmp_path, "\ufeffport = 9\nread_only = true\n")
    found = parameters(".", "--config", path)
    assert (found["port"], found["read_only"]) == (9, True)
