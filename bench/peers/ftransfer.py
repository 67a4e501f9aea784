"""The program of this repository as people use it: verified, atomic and synced."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Command
from bench.peers.base import About, Peer
from bench.setting import Setting, python, script

_CHECKOUT = str(Path(__file__).parents[2])
# What the installed entry script does.
_START = "import sys; from ftransfer.cli import main; sys.exit(main())"


class Ftransfer(Peer):
    name = "ftransfer"
    about = About("BLAKE3, both ends", "TLS 1.3", "yes", "renamed when verified")
    modules = ("aiofiles", "blake3", "typer")
    tls = "optional"
    is_rival = True

    def command(self, at: Setting, *words: str) -> Command:
        # A home of its own: what the client remembers of servers must not mix with the user's.
        return Command(
            python("-c", _START, *words),
            {"PYTHONPATH": _CHECKOUT, "HOME": str(at.home), **_xdg(at.home)},
        )

    def lacks(self, action: str, *, encrypted: bool) -> str | None:
        if encrypted and not has_option("serve", "--tls"):
            return "this version has no serve --tls"
        if action in ("get_tree", "put_tree") and not has_option(
            action.removesuffix("_tree"), "--recursive"
        ):
            return f"this version has no {action.removesuffix('_tree')} -r"
        if action == "sync_tree" and not has_option("sync", "--help"):
            return "this version has no sync"
        return None

    def server(self, at: Setting) -> Command | None:
        words = ["serve", str(at.root), "--host", at.host, "--port", str(at.port)]
        if has_option("serve", "--tls"):
            words += ["--tls", "on" if at.encrypts else "off"]
        if has_option("serve", "--anonymous"):
            words += ["--anonymous", "all"]  # the others have no logins either
        return self.command(at, *words)

    def client(self, at: Setting, verb: str, *words: str) -> Command:
        # Away from the loopback address it would encrypt by itself.
        tls = ("--tls",) if at.encrypts else ("--plain",) if has_option(verb, "--plain") else ()
        options = (*tls, *(word for word in words if word.startswith("-")))
        return self.command(
            at,
            verb,
            *options,
            at.host,
            str(at.port),
            *(word for word in words if not word.startswith("-")),
        )

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self.client(at, "get", name, str(dest))

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return self.client(at, "put", str(source), name)

    def get_tree(self, at: Setting, name: str, into: Path) -> Command | None:
        return self.client(at, "get", "-r", name, str(into))

    def put_tree(self, at: Setting, source: Path, into: str) -> Command | None:
        return self.client(at, "put", "-r", str(source), f"{into}/")

    def sync_tree(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self.client(at, "sync", "--delete", "get", name, str(dest))

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return self.client(at, "dir", name)

    def get_many(self, at: Setting, name: str, count: int, into: Path) -> Sequence[Command] | None:
        return [script("crowd", at.host, str(at.port), name, str(count), str(into))]


def _xdg(home: Path) -> dict[str, str]:
    return {
        f"XDG_{kind}_HOME": str(home / kind.lower())
        for kind in ("CONFIG", "DATA", "STATE", "CACHE")
    }


@functools.cache
def has_option(verb: str, option: str) -> bool:
    """Return whether this version has a verb with an option."""
    words = python("-c", _START, verb, "--help")
    found = subprocess.run(
        words, capture_output=True, text=True, cwd=_CHECKOUT, env=None, check=False
    )
    return found.returncode == 0 and option in found.stdout
