"""Yardsticks, not services: a copy without a network, and the least that a network needs."""

from __future__ import annotations

from pathlib import Path

from bench.measure import Command
from bench.peers.base import About, Peer, tool
from bench.setting import Setting, script


class Cp(Peer):
    name = "cp (no network)"
    about = About("no", "no", "no", "written in place")
    needs = ("cp",)
    is_rival = True

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return Command((tool("cp"), str(at.root / name), str(dest)))

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return Command((tool("cp"), str(source), str(at.root / name)))

    def get_tree(self, at: Setting, name: str, into: Path) -> Command | None:
        return Command((tool("cp"), "-a", str(at.root / name), f"{into}/"))

    def put_tree(self, at: Setting, source: Path, into: str) -> Command | None:
        return Command((tool("cp"), "-a", str(source), f"{at.root / into}/"))

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return Command(("ls", "-l", str(at.root / name)))


class CpSynced(Cp):
    """For disks: with what makes it durable."""

    name = "cp, then sync"
    about = About("no", "no", "yes", "written in place")

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return Command(
            ("sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", str(at.root / name), str(dest))
        )

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return Command(
            ("sh", "-c", 'cp "$1" "$2" && sync "$2"', "sh", str(source), str(at.root / name))
        )


class BareLoop(Peer):
    """Blocking sockets, sendfile and recv_into one large buffer, nothing else."""

    name = "bare loop"
    about = About("no", "no", "no", "written in place")
    words: tuple[str, ...] = ()

    def server(self, at: Setting) -> Command | None:
        return script("bare_loop", *self.words, "serve", at.host, str(at.port), str(at.root))

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return script("bare_loop", *self.words, "get", at.host, str(at.port), name, str(dest))

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return script("bare_loop", *self.words, "put", at.host, str(at.port), str(source), name)


class BareLoopHashed(BareLoop):
    name = "bare loop, BLAKE3"
    about = About("BLAKE3, both ends", "no", "no", "written in place")
    modules = ("blake3",)
    is_rival = True
    words = ("--blake3",)
