"""Sources that misbehave are refused for a while: longer each time, forgotten with time.

Pure: the clock is passed in. After the manner of OpenSSH's PerSourcePenalties. A single slip costs
nothing that anybody would notice, since a penalty is imposed only when enough have come together.
Memory is bounded: at most `max_sources` are remembered.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ftransfer.addresses import is_loopback


class Offence(Enum):
    """What a source can do wrong; the value is the seconds that the first one costs. Each further
    one costs twice the last.
    """

    LOGIN = 4.0  # a wrong name, password or token: refused after the third
    PROTOCOL = 3.0  # the rules of the wire were broken: after the third
    HANDSHAKE = 2.0  # TLS failed, or was not spoken: after the fourth
    LATE = 1.0  # not ready in time: after the fifth


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, the /64 of an IPv6 address, which one
    household or machine has as a whole; or the text itself if it is no address.
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
    """Return the /48 that the /64 of a source lies in: one customer may have so many of them; ""
    for all other sources.
    """
    if not source.endswith("/64"):
        return ""
    return str(ipaddress.ip_network(source).supernet(new_prefix=48))


@dataclass(frozen=True, slots=True)
class Scale:
    """How hard penalties are.

    `threshold_s`: nothing is refused before so much has come together. `max_s`: no penalty is
    longer. `forget_s`: after so long without an offence, the next one is the first again. `growth`:
    what each one costs more than the one before. `share`: what part of the seconds of an Offence
    counts.
    """

    threshold_s: float = 15.0
    max_s: float = 600.0
    forget_s: float = 3600.0
    growth: float = 2.0
    share: float = 1.0


# So much more may come from a /48, or be held against it, than from one /64.
NETWORK_FACTOR = 16

# All users of a machine, and every tunnel and proxy on it, come from one loopback address: one of
# them must not lock the others out. A flat tenth of a second each still bounds a guesser there to a
# few attempts a second.
LOOPBACK_SCALE = Scale(threshold_s=30.0, max_s=60.0, growth=1.0, share=0.1)
_MAX_DOUBLINGS = 16


@dataclass(slots=True)
class _Record:
    until: float
    last: float
    count: float
    is_refused: bool


class Penalties:
    """What is held against each source.

    Args:
        now: Seconds on any clock that does not go back.
    """

    def __init__(
        self, now: Callable[[], float], scale: Scale | None = None, *, max_sources: int = 10_000
    ) -> None:
        self.scale = scale or Scale()
        self._now = now
        self._max_sources = max_sources
        self._records: dict[str, _Record] = {}  # the one that offended last comes last

    def __len__(self) -> int:
        return len(self._records)

    def add(self, source: str, offence: Offence) -> float:
        """Hold an offence against a source and its network; give for how many seconds it is refused
        now (0: not yet).
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
        """Return for how many more seconds a source is refused, for itself or its network; 0 if it
        is not.
        """
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
        """Forget what is over; or else, when there are too many, the source that has been quiet for
        longest.
        """
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
