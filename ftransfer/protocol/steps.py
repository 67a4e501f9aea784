"""The step of each command and frame in the table of states, and the states for reading lines.

Pure. Source: docs/protocol.md sections 2 and 9.
"""

from __future__ import annotations

from ftransfer.protocol.commands import Body, Command
from ftransfer.protocol.framing import Kind
from ftransfer.protocol.state import State, Step

_STEP_OF_BODY = {
    Body.NONE: Step.COMMAND,
    Body.FILE: Step.PUT,
    Body.NAMES: Step.MGET,
    Body.PACKS: Step.MPUT,
}
FROM_SERVER = {
    Kind.HELLO: Step.HELLO,
    Kind.META: Step.META,
    Kind.DATA: Step.DATA_DOWN,
    Kind.END: Step.END_DOWN,
    Kind.LISTING: Step.LISTING,
    Kind.PACK: Step.PACK_DOWN,
    Kind.OUTCOMES: Step.OUTCOMES,
    Kind.REPLY: Step.REPLY,
    Kind.ERROR: Step.ERROR,
    Kind.EVENT: Step.EVENT,
}
FROM_CLIENT = {
    Kind.DATA: Step.DATA_UP,
    Kind.END: Step.END_UP,
    Kind.LISTING: Step.NAMES,
    Kind.PACK: Step.PACK_UP,
    Kind.FINISH: Step.FINISH,
    Kind.ERROR: Step.ABORT,
}
# Where the server reads a line, and where frames. Elsewhere it is the server's turn, and early
# input waits.
LINE_STATES = frozenset((State.READY,))
FRAME_STATES = frozenset((State.RECEIVING, State.PULLING, State.PUSHING, State.DISCARDING))
# Where a client has more to send before the server reads a line again.
UNFINISHED_STATES = FRAME_STATES | {State.OFFERED}


def step_of(command: Command) -> Step:
    return Step.OFFER if command.waits else _STEP_OF_BODY[command.body]
