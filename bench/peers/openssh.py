"""OpenSSH: a server of its own on a loopback port, with keys that are made for the run."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from bench.measure import Command
from bench.peers.base import About, Peer, tool
from bench.setting import Setting

_ABOUT = About("MAC on the way", "always", "no", "written in place")


class _OpenSsh(Peer):
    about = _ABOUT
    needs = ("sshd", "ssh-keygen", "scp", "sftp")
    tls = "always"

    def configure(self, at: Setting) -> None:
        for name in ("host_key", "user_key"):
            if not (at.home / name).exists():
                subprocess.run(
                    [
                        tool("ssh-keygen"),
                        "-q",
                        "-t",
                        "ed25519",
                        "-N",
                        "",
                        "-f",
                        str(at.home / name),
                    ],
                    check=True,
                )
        (at.home / "authorized_keys").write_bytes((at.home / "user_key.pub").read_bytes())
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
        (at.home / "sshd_config").write_text(
            f"ListenAddress {at.host}\nPort {at.port}\nHostKey {at.home}/host_key\nPidFile"
            f" none\nAuthorizedKeysFile {at.home}/authorized_keys\nStrictModes no\nUsePAM"
            " no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups"
            " 200\nSubsystem sftp internal-sftp\n"
        )

    def server(self, at: Setting) -> Command | None:
        return Command((tool("sshd"), "-D", "-e", "-f", f"{at.home}/sshd_config"))

    def _words(self, at: Setting, name: str) -> tuple[str, ...]:
        options = (
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={at.home}/known_hosts",
            "IdentitiesOnly=yes",
        )
        given = tuple(word for option in options for word in ("-o", option))
        return (
            tool(name),
            "-q",
            "-F",
            "none",
            "-P",
            str(at.port),
            "-i",
            f"{at.home}/user_key",
            *given,
        )

    def _there(self, at: Setting, name: str) -> str:
        return f"{getpass.getuser()}@{at.host}:{at.root}/{name}"


class Scp(_OpenSsh):
    name = "scp"
    is_rival = True

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return Command((*self._words(at, "scp"), self._there(at, name), str(dest)))

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return Command((*self._words(at, "scp"), str(source), self._there(at, name)))

    def get_tree(self, at: Setting, name: str, into: Path) -> Command | None:
        return Command((*self._words(at, "scp"), "-r", self._there(at, name), f"{into}/"))

    def put_tree(self, at: Setting, source: Path, into: str) -> Command | None:
        return Command((*self._words(at, "scp"), "-r", str(source), self._there(at, f"{into}/")))


class Sftp(_OpenSsh):
    name = "sftp"

    def _batch(self, at: Setting, line: str) -> Command:
        batch = at.home / "batch"
        batch.write_text(line + "\n")
        return Command(
            (*self._words(at, "sftp"), "-b", str(batch), f"{getpass.getuser()}@{at.host}")
        )

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self._batch(at, f"get {at.root}/{name} {dest}")

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return self._batch(at, f"put {source} {at.root}/{name}")
