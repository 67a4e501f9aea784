"""The client that many servers share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measure import Command
from bench.peers.base import Peer, tool
from bench.setting import Setting


class CurlPeer(Peer):
    """A server that curl talks to.

    Curl checks the length of what arrives, nothing else, and writes under the final name.
    """

    scheme = "http"
    can_put = True

    def url(self, at: Setting, name: str) -> str:
        return f"{self.scheme}{'s' if at.encrypts and self.scheme == 'http' else ''}://{at.host}:{at.port}/{name}"

    def curl(self, at: Setting, *words: str) -> Command:
        trust = ("--cacert", str(at.certificate.cert)) if at.certificate else ()
        return Command((tool("curl"), "-q", "-sS", "--fail", *trust, *words))

    def get(self, at: Setting, name: str, dest: Path) -> Command | None:
        return self.curl(at, "-o", str(dest), self.url(at, name))

    def put(self, at: Setting, source: Path, name: str) -> Command | None:
        return self.curl(at, "-T", str(source), self.url(at, name)) if self.can_put else None

    def get_many(self, at: Setting, name: str, count: int, into: Path) -> Sequence[Command] | None:
        """Run one process for all files.

        So the server is compared, not the start of a hundred programs.
        """
        many = ("--parallel", "--parallel-immediate", "--parallel-max", str(count))
        pairs = (
            word
            for number in range(1, count + 1)
            for word in ("-o", str(into / str(number)), self.url(at, name))
        )
        return [self.curl(at, *many, *pairs)]
