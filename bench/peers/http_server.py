"""What Python brings along, and curl. It serves, and takes nothing."""

from __future__ import annotations

from bench.measure import Command
from bench.peers.base import About
from bench.peers.curl import CurlPeer
from bench.setting import Setting, python


class HttpServer(CurlPeer):
    name = "http.server + curl"
    about = About("no", "no", "no", "written in place")
    needs = ("curl",)
    can_put = False

    def server(self, at: Setting) -> Command | None:
        return Command(
            python(
                "-m", "http.server", str(at.port), "--bind", at.host, "--directory", str(at.root)
            )
        )

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return self.curl(at, "-o", "/dev/null", self.url(at, f"{name}/"))
