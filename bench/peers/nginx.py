"""Nginx as Debian sets it up, with WebDAV for puts, and curl."""

from __future__ import annotations

import os

from bench.measure import Command
from bench.peers.base import About, tool
from bench.peers.curl import CurlPeer
from bench.setting import Setting

_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(CurlPeer):
    name = "nginx + curl"
    about = About("no", "TLS 1.3", "no", "put: renamed; get: written in place")
    needs = ("nginx", "curl")
    tls = "optional"
    is_rival = True

    def configure(self, at: Setting) -> None:
        for kind in _KINDS:
            (at.home / kind).mkdir(exist_ok=True)
        (at.home / "nginx.conf").write_text(self._configuration(at))

    def _configuration(self, at: Setting) -> str:
        folders = "\n".join(f"  {kind}_temp_path {at.home}/{kind};" for kind in _KINDS)
        listen = f"listen {at.host}:{at.port}{' ssl' if at.certificate else ''} backlog=1024;"
        keys = ""
        if at.certificate:
            keys = (
                f"ssl_certificate {at.certificate.cert}; ssl_certificate_key {at.certificate.key};"
                " ssl_protocols TLSv1.3;"
            )
        return f"""\
{"user root root;" if os.getuid() == 0 else ""}
daemon off;
worker_processes auto;
pid {at.home}/nginx.pid;
error_log {at.home}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_max_body_size 0;
{folders}
  server {{
    {listen}
    {keys}
    root {at.root};
    autoindex on;
    dav_methods PUT DELETE MKCOL;
    create_full_put_path on;
  }}
}}
"""

    def server(self, at: Setting) -> Command | None:
        return Command(
            (
                tool("nginx"),
                "-e",
                f"{at.home}/error.log",
                "-p",
                str(at.home),
                "-c",
                f"{at.home}/nginx.conf",
            )
        )

    def list_folder(self, at: Setting, name: str) -> Command | None:
        return self.curl(at, "-o", "/dev/null", self.url(at, f"{name}/"))
