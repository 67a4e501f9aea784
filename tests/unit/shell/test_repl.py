from __future__ import annotations

import stat
from pathlib import Path

import pytest
from prompt_toolkit.history import InMemoryHistory

from ftransfer.shell.repl import open_history


def test_history_is_for_nobody_else_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = open_history()
    history.append_string("get a")
    path = tmp_path / "ftransfer" / "history"
    assert (
        stat.S_IMODE(path.stat().st_mode) == 0o600
        and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    )
    assert list(open_history().load_history_strings()) == ["get a"]


def test_history_that_others_could_read_is_closed_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "ftransfer").mkdir()
    path = tmp_path / "ftransfer" / "history"
    path.touch(mode=0o644)
    open_history()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_place_for_it_history_lives_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(open_history(), InMemoryHistory)


def test_history_on_a_full_disk_does_not_end_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = open_history()
    (tmp_path / "ftransfer" / "history").unlink()
    (tmp_path / "ftransfer" / "history").mkdir()  # stands for any failure to write
    history.append_string("get a")
    assert history.get_strings() == ["get a"]
