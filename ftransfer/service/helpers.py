"""Connections that belong to one transfer: to the others they are one session, their leader, with the sum of what they move."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftransfer.errors import BadArgument
from ftransfer.protocol.commands import Command

if TYPE_CHECKING:
    from ftransfer.service.hub import Seat


class SharedGet:
    """What the connections of one client have received of one file, in segments. (A put in parts is counted by the put itself.)"""

    def __init__(self) -> None:
        self.name = ""
        self.began_at = 0.0
        self.moved = 0  # in commands that have ended
        self.size: int | None = None  # of the whole file

    def note(self, command: Command, began_at: float, moved: int, size: int | None) -> None:
        """Count what a command has moved, when it has ended; or learn from one that runs what is moved."""
        if command.verb != "get":
            return
        if command.argument != self.name:
            self.name, self.began_at, self.moved, self.size = command.argument, began_at, 0, None
        self.moved += moved
        self.size = self.size if size is None else size


def join_leader(seat: Seat, number: int, token: str, seats: Mapping[int, Seat]) -> None:
    """Make a session a helper of another one of the same client.

    Raises:
        BadArgument: There is none of that number and token; which of the two is wrong is not said.
    """
    leader = seats.get(number)
    if (
        leader is None
        or leader is seat
        or leader.leader is not None
        or leader.user != seat.user
        or not _is_same(leader.token, token)
    ):
        raise BadArgument("there is no such session of this client to help")
    seat.leader, seat.is_quiet, seat.came_at = leader, True, leader.came_at
    seat.person = leader.person._replace(session=seat.member.number)
    leader.helpers.append(seat)
    leader.shared = seat.shared = leader.shared or SharedGet()


def leave_leader(seat: Seat) -> None:
    """Let a session go that leads others, or helps one."""
    if seat.leader is not None:
        seat.leader.helpers.remove(seat)
        if not seat.leader.helpers:
            seat.leader.shared = None
        seat.leader = None
    for helper in seat.helpers:
        helper.leader = helper.shared = None
    seat.helpers = []


def _is_same(token: str, said: str) -> bool:
    return bool(token) and hmac.compare_digest(token.encode("utf-8", "surrogatepass"), said.encode("utf-8", "surrogatepass"))
