"""Temporary refusal of sources that misbehave: longer each time, forgotten with time.

Pure: the clock is passed in. Modelled on OpenSSH's PerSourcePenalties. A single slip goes
unnoticed, since a source is refused only when enough penalties have accumulated. Memory is bounded:
at most `max_sources` are remembered.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ftransfer.addresses import is_loopback


class Offence(Enum):
    """An offence of a source; the value is the penalty in seconds for the first one.

    Each further one costs twice the last.
    """

    LOGIN = 4.0  # a wrong name, password or token: refused after the third
    PROTOCOL = 3.0  # the rules of the wire were broken: after the third
    HANDSHAKE = 2.0  # TLS failed, or was not spoken: after the fourth
    LATE = 1.0  # not ready in time: after the fifth


def source_of(host: str) -> str:
    """Return what counts as one source.

    This is an IPv4 address; the /64 of an IPv6 address, which one household or machine has as a
    whole; or the text itself if it is no address.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def network_of(source: str) -> str:
    """Return the /48 that contains a source's /64, or "" for all other sources.

    One customer may have a whole /48.
    """
    if not source.endswith("/64"):
        return ""
    return str(ipaddress.ip_network(source).supernet(new_prefix=48))


@dataclass(frozen=True, slots=True)
class Scale:
    """How severe penalties are.

    `threshold_s`: nothing is refused before this much has accumulated. `max_s`: the longest
    penalty. `forget_s`: after this time without an offence, the next one counts as the first.
    `growth`: the factor by which each one costs more than the one before. `share`: the part of an
    Offence's seconds that counts.
    """

    threshold_s: float = 15.0
    max_s: float = 600.0
    forget_s: float = 3600.0
    growth: float = 2.0
    share: float = 1.0


# A /48 may have this many times the sessions of one /64, and its offences count for that much less.
NETWORK_FACTOR = 16

# All users of a machine, and every tunnel and proxy on it, share one loopback address: one of them
# must not lock the others out. A flat tenth of each offence still limits a guesser there to a few
# attempts a second.
LOOPBACK_SCALE = Scale(threshold_s=30.0, max_s=60.0, growth=1.0, share=0.1)
_MAX_DOUBLINGS = 16


@dataclass(slots=True)
class _Record:
    until: float
    last: float
    count: float
    is_refused: bool


class Penalties:
    """The offences of each source.

    Args:
        now: Seconds on any clock that does not go back.
    """

    def __init__(
        self, now: Callable[[], float], scale: Scale | None = None, *, max_sources: int = 10_000
    ) -> None:
        self.scale = scale or Scale()
        self._now = now
        self._max_sources = max_sources
        self._records: dict[str, _Record] = {}  # latest offender last

    def __len__(self) -> int:
        return len(self._records)

    def add(self, source: str, offence: Offence) -> float:
        """Count an offence of a source and its network.

        Returns for how many seconds the source is refused now (0: not yet).
        """
        self._add(source, offence, 1)
        if network := network_of(source):
            self._add(network, offence, 1 / NETWORK_FACTOR)
        return self.left_s(source)

    def _add(self, source: str, offence: Offence, part: float) -> None:
        scale = self._scale_of(source)
        now = self._now()
        record = self._records.pop(source, None)
        if record is None or now - record.last > scale.forget_s:
            record = _Record(now, now, 0, is_refused=False)
        cost = (
            part * offence.value * scale.share * scale.growth ** min(record.count, _MAX_DOUBLINGS)
        )
        record.until = min(max(record.until, now) + min(cost, scale.max_s), now + scale.max_s)
        record.last = now
        record.count += part
        record.is_refused = record.is_refused or record.until - now >= scale.threshold_s
        self._make_room()
        self._records[source] = record

    def left_s(self, source: str) -> float:
        """Return the seconds for which a source or its network is still refused, else 0."""
        network = network_of(source)
        return max(self._left_s(source), self._left_s(network) if network else 0.0)

    def _left_s(self, source: str) -> float:
        record = self._records.get(source)
        if record is None or not record.is_refused:
            return 0.0
        left = record.until - self._now()
        if left <= 0:
            record.is_refused = False
            return 0.0
        return left

    def _scale_of(self, source: str) -> Scale:
        return LOOPBACK_SCALE if is_loopback(source) else self.scale

    def _make_room(self) -> None:
        """Forget expired records, then if need be the sources that were quiet for longest."""
        if len(self._records) < self._max_sources:
            return
        now = self._now()
        for source in list(self._records):
            record = self._records[source]
            if now - record.last <= self._scale_of(source).forget_s:
                break  # those behind it offended later
            del self._records[source]
        while len(self._records) >= self._max_sources:
            del self._records[next(iter(self._records))]
