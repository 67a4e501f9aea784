"""The canary itself: a proof that nothing was touched is worth as much as what it would notice."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.canary import canary

OFFENCES: dict[str, Callable[[Path], object]] = {
    "write": lambda folder: (folder / "secret").write_bytes(b""),
    "make": lambda folder: (folder / "new").touch(),
    "make folder": lambda folder: (folder / "folder" / "new").mkdir(),
    "remove": lambda folder: (folder / "secret").unlink(),
    "mode": lambda folder: (folder / "secret").chmod(0o777),
    "time": lambda folder: os.utime(folder / "folder" / "secret", ns=(1, 1)),
    "move": lambda folder: (folder / "secret").rename(folder / "other"),
}
GLANCES: dict[str, Callable[[Path], object]] = {
    "read": lambda folder: (folder / "secret").read_bytes(),
    "list": os.listdir,
    "list below": lambda folder: os.listdir(folder / "folder"),
    "open": lambda folder: os.close(os.open(folder / "folder" / "secret", os.O_RDONLY)),
}


@pytest.mark.parametrize("offence", OFFENCES)
@pytest.mark.parametrize("watched", [True, False])
def test_change_is_noticed(tmp_path: Path, offence: str, watched: bool) -> None:
    with (
        pytest.raises(AssertionError, match="outside"),
        canary(tmp_path / "outside", watched=watched) as made,
    ):
        OFFENCES[offence](made.folder)


@pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")
@pytest.mark.parametrize("glance", GLANCES)
def test_glance_is_noticed(tmp_path: Path, glance: str) -> None:
    with pytest.raises(AssertionError, match="opened"), canary(tmp_path / "outside") as made:
        GLANCES[glance](made.folder)


def test_nothing_is_noticed_where_nothing_was(tmp_path: Path) -> None:
    with canary(tmp_path / "outside") as made:
        made.check()
        made.check()
