"""The interface of all peers.

A method for which a peer has no command returns None; the peer is left out of that case.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command
from bench.setting import Setting, program


@dataclass(frozen=True, slots=True)
class About:
    """What a peer does besides moving bytes, in a word or two for a table."""

    verifies: str
    encrypts: str
    syncs: str
    publishes: str  # how the file appears under its name


class Peer:
    """One program, or one pair of client and server.

    Sources and targets are paths; `name` is below the served folder. A tree that is copied appears
    under its own last name in the given folder.
    """

    name: str
    about: About
    needs: tuple[str, ...] = ()  # programs
    modules: tuple[str, ...] = ()  # Python modules
    tls = "never"  # or "optional", or "always"
    is_rival = False  # what others are compared with first: it runs in all rounds and all places

    def missing(self) -> str | None:
        """Return what is not installed, or None."""
        lacking = [name for name in self.needs if program(name) is None]
        lacking += [
            f"Python module {name}"
            for name in self.modules
            if importlib.util.find_spec(name) is None
        ]
        return f"not installed: {', '.join(lacking)}" if lacking else None

    def lacks(self, action: str, *, encrypted: bool) -> str | None:
        """Return why an installed peer cannot be measured in an action, or None."""
        return None

    def configure(self, at: Setting) -> None:
        """Write what the server needs into at.home."""

    def server(self, at: Setting) -> Command | None:
        """The server, which stays in the foreground; None if there is none."""
        return None

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return None

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return None

    def get_tree(self, at: Setting, name: str, into: Path) -> Command | None:
        return None

    def put_tree(self, at: Setting, source: Path, into: str) -> Command | None:
        return None

    def sync_tree(self, at: Setting, name: str, dest: Path) -> Command | None:
        """Make `dest`, a folder, the same as the folder `name` of the server."""
        return None

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return None

    def get_many(self, at: Setting, name: str, count: int, into: Path) -> Sequence[Command] | None:
        """Clients that get one file `count` times at once, into the files 1, 2, ... of a folder."""
        return None


def tool(name: str) -> str:
    """The path of a program that `missing` has not missed."""
    return program(name) or name
