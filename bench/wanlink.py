"""A long, thin link between two network namespaces in user space, without netem in the kernel.

    python -m bench.wanlink A B --rtt 50 --rate 200 --loss 0.1

Prints "ready" and runs until SIGTERM. Needs root and Linux.

    python -m bench.wanlink A B --rtt 50 --rate 200 --loss 0.1       # prints "ready"; lasts until
    SIGTERM

Interface wan0 is 10.77.0.1 in A and 10.77.0.2 in B. Packets pass one by one through this process,
which gives each its time on the wire, delays it by half the round trip, and drops some: one in so
many at random, and those that find the queue full.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

ADDRESSES = ("10.77.0.1", "10.77.0.2")
INTERFACE = "wan0"
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_PR_SET_TIMERSLACK = 29
_PACKET_BYTES = 65_536
_BURST = 64  # packets taken from one side before the other has its turn
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Line:
    """The properties of the link.

    Times in seconds, the rate in bit/s each way, loss as a fraction, the queue in packets.
    """

    delay_s: float
    rate: float
    loss: float
    queue: int = 1000


class Direction:
    """Packets in flight, ordered by the time when they are due.

    Knows no clock and no descriptors.
    """

    def __init__(self, line: Line, dice: random.Random) -> None:
        self._line = line
        self._dice = dice
        self._waiting: list[tuple[float, int, bytes]] = []
        self._free_at = 0.0  # when the wire has sent what is queued
        self.carried = self.dropped = 0

    def enter(self, packet: bytes, now: float) -> None:
        """Accept a packet, or drop it."""
        line = self._line
        self.carried += 1
        if (
            len(self._waiting) >= line.queue + line.rate * line.delay_s / 12_000
            or self._dice.random() < line.loss
        ):
            self.dropped += 1
            return
        self._free_at = max(self._free_at, now) + len(packet) * 8 / line.rate
        heapq.heappush(self._waiting, (self._free_at + line.delay_s, self.carried, packet))

    def leave(self, now: float) -> list[bytes]:
        """Return the packets that are due."""
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heapq.heappop(self._waiting)[2])
        return due

    @property
    def next_at(self) -> float:
        return self._waiting[0][0] if self._waiting else float("inf")


def open_interface(namespace: str, address: str, mtu: int = 1500) -> int:
    """Create the interface in a namespace and return its descriptor.

    This process stays in its own namespace.
    """
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _libc.setns(there, 0):
            raise OSError(ctypes.get_errno(), f"cannot enter namespace {namespace}")
        try:
            interface = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(
                interface, _TUNSETIFF, struct.pack("16sH", INTERFACE.encode(), _IFF_TUN_NO_PI)
            )
        finally:
            _libc.setns(home, 0)
    finally:
        os.close(there)
        os.close(home)
    for command in (
        f"addr add {address}/30 dev {INTERFACE}",
        f"link set {INTERFACE} mtu {mtu} txqueuelen 10000 up",
    ):
        subprocess.run(["ip", "-n", namespace, *command.split()], check=True)
    return interface


def _pull(interface: int, direction: Direction) -> None:
    for _ in range(_BURST):
        try:
            packet = os.read(interface, _PACKET_BYTES)
        except BlockingIOError:
            return
        direction.enter(packet, time.monotonic())


def _push(interface: int, direction: Direction) -> None:
    for packet in direction.leave(time.monotonic()):
        try:
            os.write(interface, packet)
        except OSError:
            direction.dropped += 1


def carry(a: int, b: int, forth: Direction, back: Direction) -> None:
    """Carry packets between two interfaces until a signal comes."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(1))
    _libc.prctl(_PR_SET_TIMERSLACK, 1)  # the default would be late by 50 us a packet
    # A wire does not wait for a processor: what it carries would take every pause for a queue, and
    # send less.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    while not stopped:
        wait_s = min(forth.next_at, back.next_at) - time.monotonic()
        readable, _, _ = select.select([a, b], [], [], max(0.0, min(wait_s, 1.0)))
        if a in readable:
            _pull(a, forth)
        if b in readable:
            _pull(b, back)
        _push(b, forth)
        _push(a, back)


def main() -> None:
    parser = argparse.ArgumentParser(prog="wanlink")
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--rtt", type=float, default=50.0, help="round trip in ms")
    parser.add_argument("--rate", type=float, default=200.0, help="Mbit/s each way")
    parser.add_argument("--loss", type=float, default=0.0, help="percent")
    options = parser.parse_args()
    line = Line(options.rtt / 2000, options.rate * 1e6, options.loss / 100)
    dice = random.Random(1)
    a, b = open_interface(options.a, ADDRESSES[0]), open_interface(options.b, ADDRESSES[1])
    forth, back = Direction(line, dice), Direction(line, dice)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(a, b, forth, back)
    sys.stdout.write(
        f"A to B {forth.carried} dropped {forth.dropped}, B to A {back.carried} dropped"
        f" {back.dropped}\n"
    )


if __name__ == "__main__":
    main()
