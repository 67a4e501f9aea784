"""Connections of one client that share a transfer; `who` shows them as one, with their total."""

from __future__ import annotations

from typing import Protocol


class RunningOperation(Protocol):
    """What `who` shows of a running operation.

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


class GroupDownload:
    """One file that the connections of a client receive in segments.

    A put in parts needs no such total: the put itself counts it.
    """

    def __init__(self) -> None:
        self.name = ""
        self.began_at = 0.0
        self.moved = 0  # in operations that have ended
        self.size: int | None = None  # of the whole file

    def note(self, operation: RunningOperation) -> None:
        """Take the name and the size from a running get."""
        if operation.name != self.name:
            self.name, self.began_at, self.moved = operation.name, operation.began_at, 0
            self.size = None
        if operation.size is not None:
            self.size = operation.size

    def finish(self, operation: RunningOperation) -> None:
        """Count what an operation has moved as it ends; all but a get are ignored."""
        if operation.verb == "get":
            self.note(operation)
            self.moved += operation.moved
