"""One end of a session: bytes in -> events; commands, replies and headers -> bytes out.

Combines framing, commands, replies and state. It never sees bulk payloads of data or packs: when
such a frame begins it reports how many bytes follow, and the channel moves them past it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from ftransfer.digest import Digest, digest_of
from ftransfer.errors import (
    FtransferError,
    LineTooLong,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)
from ftransfer.limits import Limits
from ftransfer.protocol.commands import BadLine, Body, Command, format_command, parse_line
from ftransfer.protocol.framing import (
    BULK,
    HEADER_SIZE,
    Header,
    Kind,
    decode_header,
    encode_header,
    encode_json,
    encode_pack,
    refuse_crowd,
)
from ftransfer.protocol.replies import (
    End,
    Hello,
    JsonValue,
    Meta,
    Notice,
    decode_payload,
    encode_end,
    encode_error,
    encode_hello,
    encode_meta,
    encode_notice,
)
from ftransfer.protocol.state import State, Step, advance
from ftransfer.protocol.steps import (
    FRAME_STATES,
    FROM_CLIENT,
    FROM_SERVER,
    LINE_STATES,
    UNFINISHED_STATES,
    step_of,
)


class Role(Enum):
    """Which end this is."""

    CLIENT = "client"
    SERVER = "server"


class Payload(NamedTuple):
    """The start of a data or pack frame; take its `length` bytes before the next event."""

    kind: Kind
    length: int


class InputEnded(NamedTuple):
    """The end of the peer's stream. `clean` is true if it ended between two commands."""

    clean: bool


Event = Command | BadLine | JsonValue | Payload | InputEnded


class Connection:
    """The protocol of one session, for either end. Not safe for use from two threads at once.

    Pass bytes from the socket to `receive_bytes`, then call `next_event` until it returns None. The
    methods named after messages return the bytes to send.
    """

    def __init__(self, role: Role, limits: Limits) -> None:
        self.role = role
        self.limits = limits
        self.peer_limits = limits  # what may be sent; a client sets it to the server's limits
        self.state = State.GREETING
        self.payload_left = 0  # bytes of the current frame not taken yet
        # The length of the last content frame; an error frame after it means that it may be padding
        self.last_payload = 0
        self._buffer = bytearray()
        self._scanned = 0  # how far the buffer was searched for the end of a line
        self._header: Header | None = None
        self._ended = False
        self._is_ours = False  # the peer has sent a command: it speaks this protocol
        # How a file began: the line of a put, or the meta of a get. The end of the file contains
        # its digest.
        self._head_sent = b""
        self._head_heard = b""
        # Client: the future states of the few commands sent ahead.
        self._ahead: list[State] = []

    # Input.

    def receive_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes from the socket; no bytes mean the end of the peer's stream."""
        if len(data) == 0:
            self._ended = True
        self._buffer += data

    def next_event(self) -> Event | None:
        """Return the next event, or None if more bytes are needed or this side must send.

        Raises:
            RemoteProtocolError: The peer broke the rules; the session cannot continue.
            ForeignProtocol: It speaks another protocol; nothing that it sent is carried out.
            LocalProtocolError: A payload has begun and has not been taken.
        """
        if self.payload_left:
            raise LocalProtocolError("the payload of the last frame has not been taken")
        event: Event | None
        if self.awaits_line:
            event = self._next_line()
        elif self.role is Role.CLIENT or self.state in FRAME_STATES:
            event = self._next_frame()
        else:
            return None
        if event is None and self._ended:
            return InputEnded(clean=self.state is State.READY and not self._buffer)
        return event

    def check_opening(self) -> None:
        """Check what the peer has sent before hello.

        Raises:
            ForeignProtocol: It speaks another protocol.
        """
        # A starting client does not need them
        from ftransfer.protocol.foreign_protocols import foreign_in

        found = foreign_in(self._buffer)
        try:
            if found is not None:
                raise found
        finally:
            del found  # an error in its own frame would keep the session until garbage collection

    @property
    def wanted(self) -> int:
        """Return how many bytes the next frame's event still needs from the socket."""
        size = HEADER_SIZE if self._header is None else self._header.length
        return max(0, size - len(self._buffer))

    @property
    def awaits_line(self) -> bool:
        """Return whether a line is expected next from the peer."""
        return self.role is Role.SERVER and self.state in LINE_STATES

    @property
    def is_mid_line(self) -> bool:
        """Return whether a line has begun but not ended."""
        return bool(self._buffer) and self.awaits_line

    @property
    def is_mid_frame(self) -> bool:
        """Return whether a frame that is read whole has begun but not ended."""
        return self._header is not None

    @property
    def has_ended(self) -> bool:
        return self._ended

    def take_payload(self, at_most: int) -> bytes:
        """Return payload bytes that came in with the header; b"" if none are left here."""
        count = min(at_most, self.payload_left, len(self._buffer))
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        self.payload_left -= count
        return taken

    def payload_moved(self, count: int) -> None:
        """Count payload bytes that went directly from the socket to their destination."""
        if self._buffer or count > self.payload_left:
            raise LocalProtocolError("payload bytes were moved that were not there to move")
        self.payload_left -= count

    def _next_line(self) -> Command | BadLine | None:
        end = self._buffer.find(b"\n", self._scanned)
        cap = self.limits.max_line_bytes
        if end > cap or (end < 0 and len(self._buffer) > cap):
            self._buffer.clear()
            self._scanned = 0
            self._advance(Step.COMMAND, remote=True)
            return BadLine(LineTooLong(f"the line is longer than {cap} bytes"), in_step=False)
        if not self._is_ours:
            self.check_opening()
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        self._head_heard = line.removesuffix(b"\r")
        command = parse_line(line)
        self._is_ours = self._is_ours or isinstance(command, Command)
        self._advance(
            Step.COMMAND if isinstance(command, BadLine) else step_of(command), remote=True
        )
        return command

    def _next_frame(self) -> JsonValue | Payload | None:
        if self._header is None:
            if len(self._buffer) < HEADER_SIZE:
                return None
            self._header = decode_header(self._buffer[:HEADER_SIZE], self.limits)
            del self._buffer[:HEADER_SIZE]
            # A frame out of turn is reported at its header, before an unwanted payload is read.
            self._following(
                self.state, self._step_from_peer(self._header.kind), RemoteProtocolError
            )
        header = self._header
        if header.kind in BULK:
            self._header = None
            self.payload_left = header.length
            self.last_payload = header.length or self.last_payload  # an empty one is a heartbeat
            self._advance(self._step_from_peer(header.kind), remote=True)
            return Payload(header.kind, header.length)
        if len(self._buffer) < header.length:
            return None
        payload = bytes(self._buffer[: header.length])
        del self._buffer[: header.length]
        if header.kind is Kind.LISTING and self.role is Role.SERVER:
            refuse_crowd(payload, self.limits.max_items, "a frame of names")
        value = decode_payload(header.kind, payload)
        if header.kind is Kind.META:
            self._head_heard = payload
        self._header = None
        self._advance(self._step_from_peer(header.kind), remote=True)
        return value

    def _step_from_peer(self, kind: Kind) -> Step:
        step = (FROM_SERVER if self.role is Role.CLIENT else FROM_CLIENT).get(kind)
        if step is None:
            raise RemoteProtocolError(
                f"a {self.role.value} is not sent frames of kind {kind.value.decode()}"
            )
        return step

    # Output. Each method returns the bytes to send.

    def send_hello(self, hello: Hello) -> bytes:
        return self._send_json(Step.HELLO, encode_hello(hello))

    def send_command(self, command: Command) -> bytes:
        """Return the line of a command.

        A client may send commands ahead, with their frames; each takes its turn when the previous
        one is answered.

        Raises:
            LineTooLong: The line exceeds the cap; nothing has changed.
            LocalProtocolError: Frames of the previous command must be sent first: the server
                would take the line for one.
        """
        line = format_command(command)
        if len(line) > self.peer_limits.max_line_bytes + 1:
            raise LineTooLong(
                f"the command is longer than the {self.peer_limits.max_line_bytes} bytes that the"
                " server takes"
            )
        if self.said in UNFINISHED_STATES:
            raise LocalProtocolError("what belongs to the last command has not been sent yet")
        self._head_sent = line[:-1] if command.body is Body.FILE else b""
        if self.state is State.READY:
            self._advance(step_of(command))
        else:
            self._ahead.append(advance(State.READY, step_of(command)))
        return line

    def send_meta(self, meta: Meta) -> bytes:
        frame = self._send_json(Step.META, encode_meta(meta))
        self._head_sent = frame[HEADER_SIZE:]
        return frame

    def send_data_header(self, length: int) -> bytes:
        """Return the header of a data frame; `length` bytes of content must follow."""
        if length > self.peer_limits.max_chunk_bytes:
            raise LocalProtocolError(
                f"a chunk of {length} bytes is above the cap of {self.peer_limits.max_chunk_bytes}"
            )
        self._advance(self._own(Step.DATA_DOWN, Step.DATA_UP))
        return encode_header(Kind.DATA, length)

    def send_end(self, end: End) -> bytes:
        """Return the end of a file, with the digest of our meta or line, if there was one.

        Source: docs/protocol.md section 7.
        """
        end = End(end.size, end.digest, digest_of(self._head_sent) if self._head_sent else "")
        return self._send_json(self._own(Step.END_DOWN, Step.END_UP), encode_end(end))

    def has_right_head(self, end: End) -> bool:
        """Return whether a file arrived with the name and attributes with which it was sent.

        A peer need not report them.
        """
        return end.head in ("", digest_of(self._head_heard))

    def send_list(self, items: Sequence[Any]) -> bytes:
        """Return a listing frame: entries from the server, names from the client.

        Raises:
            LocalProtocolError: It exceeds the cap for a frame; send it in halves.
        """
        if self.role is Role.CLIENT and len(items) > self.peer_limits.max_items:
            raise LocalProtocolError(
                f"{len(items)} names are above the cap of {self.peer_limits.max_items}"
            )
        return self._send_json(
            self._own(Step.LISTING, Step.NAMES), encode_json(Kind.LISTING, items)
        )

    def send_pack(
        self, columns: Mapping[str, Sequence[Any]], contents: Sequence[bytes | memoryview]
    ) -> tuple[list[bytes | memoryview], Digest]:
        """Return the buffers of a pack, and the digest of its index. Raises as encode_pack."""
        packed = encode_pack(columns, contents, self.peer_limits)
        self._advance(self._own(Step.PACK_DOWN, Step.PACK_UP))
        return packed

    def send_outcomes(self, items: Sequence[dict[str, Any]]) -> bytes:
        """Return a frame of outcomes. Raises as send_list."""
        return self._send_json(Step.OUTCOMES, encode_json(Kind.OUTCOMES, items))

    def send_finish(self) -> bytes:
        self._advance(Step.FINISH)
        return encode_header(Kind.FINISH, 0)

    def send_reply(self, values: dict[str, Any]) -> bytes:
        return self._send_json(Step.REPLY, encode_json(Kind.REPLY, values))

    def send_error(self, error: FtransferError) -> bytes:
        """Return the error that ends the command.

        From a client: the file that it is sending will not be completed.
        """
        return self._send_json(self._own(Step.ERROR, Step.ABORT), encode_error(error))

    def send_last_error(self, error: FtransferError) -> bytes:
        """Return the error that ends the session, in any state."""
        self.state = State.CLOSED
        return encode_error(error)

    def send_notice(self, notice: Notice) -> bytes:
        return self._send_json(Step.EVENT, encode_notice(notice))

    def _send_json(self, step: Step, frame: bytes) -> bytes:
        size = len(frame) - HEADER_SIZE
        if size > self.peer_limits.max_json_bytes:
            raise LocalProtocolError(
                f"a payload of {size} bytes is above the cap of {self.peer_limits.max_json_bytes}"
            )
        self._advance(step)
        return frame

    # The state.

    def _own(self, down: Step, up: Step) -> Step:
        return down if self.role is Role.SERVER else up

    @property
    def said(self) -> State:
        """Return the state of the last command sent ahead, or else the current one."""
        return self._ahead[-1] if self._ahead else self.state

    @property
    def is_sending(self) -> bool:
        """Return whether this client has frames of its last command to send."""
        return self.said in FRAME_STATES

    def _advance(self, step: Step, *, remote: bool = False) -> None:
        if self._ahead and not remote:
            self._ahead[-1] = self._following(self._ahead[-1], step, LocalProtocolError)
            return
        self.state = self._following(
            self.state, step, RemoteProtocolError if remote else LocalProtocolError
        )
        if self.state is State.READY and self._ahead:
            self.state = self._ahead.pop(0)

    def _following(self, state: State, step: Step, failure: type[ProtocolError]) -> State:
        try:
            return advance(state, step)
        except ProtocolError as error:
            raise failure(str(error)) from None
