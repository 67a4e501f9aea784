"""One folder with a share, output folders and the servers of all peers, each on its own port."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contest import Contestant
from bench.data import empty_folder
from bench.measure import Command, Failed, Sample, run_clients, running_server
from bench.peers.base import Peer
from bench.setting import Setting, free_port, make_certificate

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Network:
    """Where servers and clients run.

    On the loopback address, or each behind a program that puts it elsewhere.
    """

    host: str = "127.0.0.1"
    server_prefix: tuple[str, ...] = ()
    client_prefix: tuple[str, ...] = ()


LOOPBACK = Network()


@dataclass(frozen=True, slots=True)
class Entrant:
    """A peer whose server runs."""

    peer: Peer
    at: Setting
    pid: int | None
    network: Network = LOOPBACK

    def run(
        self, commands: Sequence[Command], *, timeout_s: float = 300, may_be_cut: bool = False
    ) -> Sample:
        wrapped = [command.behind(self.network.client_prefix) for command in commands]
        return run_clients(wrapped, self.pid, timeout_s=timeout_s, may_be_cut=may_be_cut)


class Arena:
    """The folders of one case.

    `share` is served by all peers; puts arrive in `taken`, gets in `out`.
    """

    def __init__(self, folder: Path, *, synced: bool = False, network: Network = LOOPBACK) -> None:
        self.folder = folder
        self.share = folder / "share"
        self.taken = self.share / "in"
        self.out = folder / "out"
        self._synced = synced
        self._network = network
        for path in (self.taken, self.out):
            path.mkdir(parents=True, exist_ok=True)

    def enter(
        self,
        stack: contextlib.ExitStack,
        peers: Sequence[Peer],
        action: str,
        *,
        encrypted: bool = False,
    ) -> tuple[list[Entrant], dict[str, str]]:
        """Start the servers of those who can take part; they stop with the stack.

        Returns: who takes part; and, by name, why others do not who might.
        """
        entrants, missing = [], {}
        for peer in peers:
            if peer.tls == "never" and encrypted or peer.tls == "always" and not encrypted:
                continue
            reason = peer.missing() or peer.lacks(action, encrypted=encrypted)
            if reason is None:
                try:
                    entrants.append(self._start(stack, peer, encrypted))
                except (Failed, OSError) as error:
                    reason = str(error)
            if reason is not None:
                missing[peer.name] = reason
        return entrants, missing

    def _start(self, stack: contextlib.ExitStack, peer: Peer, encrypted: bool) -> Entrant:
        home = self.folder / "homes" / re.sub(r"\W+", "-", peer.name)
        home.mkdir(parents=True, exist_ok=True)
        host = self._network.host
        # Those that always encrypt have keys of their own.
        certificate = (
            make_certificate(self.folder, (host,)) if encrypted and peer.tls == "optional" else None
        )
        for attempt in range(_ATTEMPTS):
            at = Setting(self.share, home, host, free_port(), certificate)
            peer.configure(at)
            command = peer.server(at)
            if command is None:
                break
            server = running_server(
                command.behind(self._network.server_prefix), at.port, home / "server.log"
            )
            try:
                return Entrant(peer, at, stack.enter_context(server), self._network)
            except Failed:
                # A port that was free may be taken by now.
                if attempt == _ATTEMPTS - 1:
                    raise
        return Entrant(peer, at, None, self._network)

    def clean(self) -> None:
        """Empty the output folders.

        On a disk, also wait until nothing is left to be written that would disturb the next run.
        """
        empty_folder(self.out)
        empty_folder(self.taken)
        if self._synced:
            subprocess.run(["sync", "-f", str(self.folder)], check=False)

    def contestants(
        self,
        entrants: Sequence[Entrant],
        work: float,
        build: Callable[[Entrant], Command | Sequence[Command] | None],
        check: Callable[[], None],
        clean: Callable[[], None] | None = None,
        timeout_s: float = 60,
    ) -> list[Contestant]:
        """Make contestants of those who have a command for this."""
        made = []
        for entrant in entrants:
            built = build(entrant)
            if built is None:
                continue
            commands = [built] if isinstance(built, Command) else list(built)
            run = _timed(entrant, commands, timeout_s)
            made.append(
                Contestant(
                    entrant.peer.name,
                    work,
                    run,
                    check,
                    clean or self.clean,
                    few=not entrant.peer.is_rival,
                )
            )
        return made


def _timed(entrant: Entrant, commands: Sequence[Command], timeout_s: float) -> Callable[[], Sample]:
    return lambda: entrant.run(commands, timeout_s=timeout_s)
