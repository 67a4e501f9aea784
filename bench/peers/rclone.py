"""Rclone serving WebDAV to curl.

Trees are left out: with its own client it copies less than a hundred small files a second.
"""

from __future__ import annotations

from bench.measure import Command
from bench.peers.base import About, tool
from bench.peers.curl import CurlPeer
from bench.setting import Setting


class Rclone(CurlPeer):
    name = "rclone WebDAV + curl"
    about = About("size", "TLS 1.3", "no", "written in place")
    needs = ("rclone", "curl")
    tls = "optional"

    def configure(self, at: Setting) -> None:
        (at.home / "rclone.conf").write_text("")

    def _rclone(self, at: Setting, *words: str) -> Command:
        return Command((tool("rclone"), "--config", f"{at.home}/rclone.conf", *words))

    def server(self, at: Setting) -> Command | None:
        keys = (
            ("--cert", str(at.certificate.cert), "--key", str(at.certificate.key))
            if at.certificate
            else ()
        )
        # What is deleted between the rounds is deleted behind its back: it must not remember
        # folders for long.
        return self._rclone(
            at,
            "serve",
            "webdav",
            str(at.root),
            "--addr",
            f"{at.host}:{at.port}",
            "--dir-cache-time",
            "100ms",
            *keys,
        )
