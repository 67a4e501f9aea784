"""A client and a server Connection joined in memory, with any split of the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.protocol.connection import Connection, Event, InputEnded, Payload, Role
from ftransfer.protocol.framing import Kind
from ftransfer.protocol.replies import End, Hello
from ftransfer.protocol.state import State

HELLO = Hello(protocol=1, server="ftransfer test", session=1)


@dataclass(frozen=True, slots=True)
class Content:
    """A data or pack frame with its whole payload."""

    kind: Kind
    data: bytes


Heard = Event | Content


class Side:
    """One end of a session, which tells what the bytes from its peer mean."""

    def __init__(self, role: Role, limits: Limits = DEFAULT_LIMITS) -> None:
        self.connection = Connection(role, limits)
        self._kind: Kind | None = None
        self._content = bytearray()

    def hear(self, data: bytes) -> list[Heard]:
        """Receive bytes; return all complete events. No bytes at all is the end of input."""
        self.connection.receive_bytes(data)
        return self.listen()

    def hear_pieces(self, pieces: Iterable[bytes]) -> list[Heard]:
        return [heard for piece in pieces if piece for heard in self.hear(piece)]

    def listen(self) -> list[Heard]:
        """Return the events of earlier bytes now that it is this side's turn to receive."""
        heard: list[Heard] = []
        while self._take_content(heard):
            event = self.connection.next_event()
            if event is None:
                break
            if isinstance(event, Payload):
                self._kind = event.kind
                continue
            if isinstance(event, End):
                assert self.connection.has_right_head(event)
                event = event._replace(head="")
            heard.append(event)
            if isinstance(event, InputEnded):
                break
        return heard

    def _take_content(self, heard: list[Heard]) -> bool:
        """Take the available payload; return whether the next event may be requested."""
        if self._kind is None:
            return True
        self._content += self.connection.take_payload(self.connection.payload_left)
        if self.connection.payload_left:
            return False
        heard.append(Content(self._kind, bytes(self._content)))
        self._kind = None
        self._content.clear()
        return True


class Pair:
    """Two sides, the server's hello said and heard unless `greet` is false."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, greet: bool = True) -> None:
        self.client_side = Side(Role.CLIENT, limits)
        self.server_side = Side(Role.SERVER, limits)
        self.client = self.client_side.connection
        self.server = self.server_side.connection
        if greet:
            assert self.to_client(self.server.send_hello(HELLO)) == [HELLO]

    def to_server(self, *sent: bytes | memoryview) -> list[Heard]:
        """Carry what the client has sent; return what the server hears."""
        return self.server_side.hear_pieces(map(bytes, sent))

    def to_client(self, *sent: bytes | memoryview) -> list[Heard]:
        """Carry what the server has sent; return what the client hears."""
        return self.client_side.hear_pieces(map(bytes, sent))


def byte_by_byte(data: bytes) -> Iterable[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def ready_server(limits: Limits = DEFAULT_LIMITS) -> Side:
    """Return a server that has greeted and waits for a command."""
    side = Side(Role.SERVER, limits)
    side.connection.state = State.READY
    return side


def ready_client(limits: Limits = DEFAULT_LIMITS) -> Side:
    """Return a client that has been greeted and may send a command."""
    side = Side(Role.CLIENT, limits)
    side.connection.state = State.READY
    return side


def only(heard: list[Heard]) -> Heard:
    """Return the one event that was heard."""
    assert len(heard) == 1, heard
    return heard[0]
