"""A case, and what it may use of the run that it is part of."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contest import DROPPED, Contestant, alternate
from bench.measure import Failed
from bench.peers.base import Peer
from bench.results import Result


@dataclass(frozen=True, slots=True)
class Bench:
    """The options of a run."""

    peers: Sequence[Peer]
    places: dict[str, Path]  # "tmpfs" and "disk", as far as there are such
    scale: float = 1.0  # sizes and counts are multiplied with it
    rounds: int | None = None  # instead of what each case says
    say: Callable[[str], None] = lambda text: None

    def scaled(self, count: int, least: int = 1) -> int:
        return max(least, int(count * self.scale))

    def peer(self, name: str) -> Peer | None:
        return next((peer for peer in self.peers if peer.name == name), None)

    def named(self, *names: str) -> list[Peer]:
        return [peer for peer in self.peers if peer.name in names]

    @contextlib.contextmanager
    def folder(self, place: str, needed_bytes: int) -> Iterator[Path]:
        """Create a fresh folder in a place; it is removed afterwards.

        Raises:
            Failed: There is no such place, or not enough room.
        """
        if place not in self.places:
            raise Failed(f"there is no {place} here")
        free = shutil.disk_usage(self.places[place]).free
        if free < needed_bytes * 1.1:
            raise Failed(f"{needed_bytes >> 20} MiB are needed on {place}, {free >> 20} are free")
        made = Path(tempfile.mkdtemp(prefix="ftransfer-bench-", dir=self.places[place]))
        os.chmod(made, 0o755)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def contest(
        self,
        result: Result,
        contestants: Sequence[Contestant],
        rounds: int,
        *,
        dropped: int = DROPPED,
    ) -> None:
        """Run the contestants and put what they did into the result."""
        rows, failed = alternate(
            contestants,
            self.rounds or rounds,
            lambda text: self.say(f"{result.name}: {text}"),
            dropped=dropped,
        )
        result.rows += rows
        result.missing.update(failed)


class Case:
    """One thing that is measured. `rounds` do not count the one that is dropped."""

    name: str
    title: str
    unit: str
    rounds = 3

    def run(self, bench: Bench) -> Result:
        """Measure. A case that cannot be measured gives a result without rows that says why."""
        result = Result(self.name, self.title, self.unit)
        began = time.monotonic()
        try:
            self.measure(bench, result)
        except Failed as error:
            result.missing["all"] = str(error)
        result.seconds = round(time.monotonic() - began, 1)
        return result

    def measure(self, bench: Bench, result: Result) -> None:
        """Fill the result.

        Raises:
            Failed: It cannot be measured here.
        """
        raise NotImplementedError


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
