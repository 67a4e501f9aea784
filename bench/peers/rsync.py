"""The rsync daemon and its client."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Command
from bench.peers.base import About, Peer, tool
from bench.setting import Setting


class Rsync(Peer):
    name = "rsync daemon"
    about = About("MD5 or XXH, both ends", "no", "no", "renamed when complete")
    needs = ("rsync",)
    is_rival = True
    options: tuple[str, ...] = ()

    def configure(self, at: Setting) -> None:
        # Only root may, and must, say as whom files are touched.
        who = f"uid = {os.getuid()}\ngid = {os.getgid()}\n" if os.getuid() == 0 else ""
        (at.home / "rsyncd.conf").write_text(
            f"use chroot = no\nreverse lookup = no\nlog file = {at.home}/rsyncd.log\n{who}"
            f"[share]\npath = {at.root}\nread only = no\n"
        )

    def server(self, at: Setting) -> Command | None:
        where = (f"--config={at.home}/rsyncd.conf", f"--address={at.host}", f"--port={at.port}")
        return Command((tool("rsync"), "--daemon", "--no-detach", *where))

    def _client(self, *words: str) -> Command:
        return Command((tool("rsync"), *self.options, *words))

    def _url(self, at: Setting, name: str) -> str:
        return f"rsync://{at.host}:{at.port}/share/{name}"

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self._client("-t", self._url(at, name), str(dest))

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return self._client("-t", str(source), self._url(at, name))

    def get_tree(self, at: Setting, name: str, into: Path) -> Command | None:
        return self._client("-a", self._url(at, name), f"{into}/")

    def put_tree(self, at: Setting, source: Path, into: str) -> Command | None:
        return self._client("-a", str(source), self._url(at, f"{into}/"))

    def sync_tree(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self._client("-a", "--delete", self._url(at, f"{name}/"), f"{dest}/")

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return self._client("--list-only", self._url(at, f"{name}/"))

    def get_many(self, at: Setting, name: str, count: int, into: Path) -> Sequence[Command] | None:
        return [
            self._client("-t", self._url(at, name), str(into / str(number)))
            for number in range(1, count + 1)
        ]


class RsyncSynced(Rsync):
    """For disks: with what makes it durable, as ftransfer is by default."""

    name = "rsync daemon --fsync"
    about = About("MD5 or XXH, both ends", "no", "yes", "renamed when complete")
    options = ("--fsync",)
