"""Connections that belong to one transfer: to the others they are one session, their leader, with
the sum of what they move.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ftransfer.errors import BadArgument

if TYPE_CHECKING:
    from ftransfer.service.hub import Participant


class RunningOperation(Protocol):
    """What `who` shows of an operation that runs.

    `moved` counts bytes of content, of `total` if that is known; `size` is that of the whole file
    when the operation gets a segment of it. `began_at` is on the clock of the event loop.
    """

    @property
    def verb(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def is_transfer(self) -> bool: ...
    @property
    def moved(self) -> int: ...
    @property
    def total(self) -> int | None: ...
    @property
    def size(self) -> int | None: ...
    @property
    def began_at(self) -> float: ...


class SharedGet:
    """What the connections of one client have received of one file, in segments. (A put in parts is
    counted by the put itself.)
    """

    def __init__(self) -> None:
        self.name = ""
        self.began_at = 0.0
        self.moved = 0  # in operations that have ended
        self.size: int | None = None  # of the whole file

    def note(self, operation: RunningOperation) -> None:
        """Take the name and the size from a get that runs."""
        if operation.name != self.name:
            self.name, self.began_at, self.moved = operation.name, operation.began_at, 0
            self.size = None
        if operation.size is not None:
            self.size = operation.size

    def finish(self, operation: RunningOperation) -> None:
        """Count what an operation has moved, which ends now; what is no get does not matter."""
        if operation.verb == "get":
            self.note(operation)
            self.moved += operation.moved


def join_leader(
    participant: Participant, number: int, token: str, participants: Mapping[int, Participant]
) -> None:
    """Make a session a helper of another one of the same client.

    Raises:
        BadArgument: There is none of that number and token; which of the two is wrong is not said.
    """
    leader = participants.get(number)
    if (
        leader is None
        or leader is participant
        or leader.leader is not None
        or leader.user != participant.user
        or not _is_same(leader.token, token)
    ):
        raise BadArgument("there is no such session of this client to help")
    participant.leader, participant.is_quiet, participant.came_at = leader, True, leader.came_at
    participant.person = leader.person._replace(session=participant.member.number)
    leader.helpers.append(participant)
    leader.shared = participant.shared = leader.shared or SharedGet()


def leave_leader(participant: Participant) -> None:
    """Let a session go that leads others, or helps one."""
    if participant.leader is not None:
        participant.leader.helpers.remove(participant)
        if not participant.leader.helpers:
            participant.leader.shared = None
        participant.leader = None
    for helper in participant.helpers:
        helper.leader = helper.shared = None
    participant.helpers = []


def _is_same(token: str, said: str) -> bool:
    return bool(token) and hmac.compare_digest(
        token.encode("utf-8", "surrogatepass"), said.encode("utf-8", "surrogatepass")
    )
