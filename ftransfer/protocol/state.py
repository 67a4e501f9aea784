"""The states of a session and the one table of transitions; both ends follow it in step.

docs/protocol.md section 9 prints the same table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ftransfer.errors import ProtocolError


class State(Enum):
    """The state of the conversation, seen from the command that is being answered."""

    GREETING = "greeting"  # the server has sent nothing yet
    READY = "ready"  # a command may come
    ANSWERING = "answering"  # the server works on a command
    SENDING = "sending"  # between meta and end of a get
    OFFERED = "offered"  # a put waits for the server's answer
    RECEIVING = "receiving"  # the client sends a file
    PULLING = "pulling"  # the client sends names, the server packs
    PUSHING = "pushing"  # the client sends packs, the server outcomes
    DISCARDING = "discarding"  # the server has refused; remaining input from the client is dropped
    CLOSED = "closed"

    __hash__ = object.__hash__


class Step(Enum):
    """A message. `put` and the like are the client's lines.

    `-up` is from the client, `-down` from the server.
    """

    HELLO = "hello"
    COMMAND = "command"
    PUT = "put"
    OFFER = "put that waits"
    MGET = "mget"
    MPUT = "mput"
    META = "meta"
    DATA_DOWN = "data-down"
    DATA_UP = "data-up"
    END_DOWN = "end-down"
    END_UP = "end-up"
    LISTING = "listing"
    NAMES = "names"
    PACK_DOWN = "pack-down"
    PACK_UP = "pack-up"
    OUTCOMES = "outcomes"
    FINISH = "finish"
    ABORT = "abort"
    REPLY = "reply"
    ERROR = "error"
    EVENT = "event"

    __hash__ = object.__hash__


_ = State  # short, so that the table reads as a table
TRANSITIONS: Mapping[tuple[State, Step], State] = {
    (_.GREETING, Step.HELLO): _.READY,
    (_.GREETING, Step.ERROR): _.CLOSED,
    (_.READY, Step.COMMAND): _.ANSWERING,
    (_.READY, Step.PUT): _.RECEIVING,
    (_.READY, Step.OFFER): _.OFFERED,
    (_.READY, Step.MGET): _.PULLING,
    (_.READY, Step.MPUT): _.PUSHING,
    (_.READY, Step.ERROR): _.CLOSED,
    (_.ANSWERING, Step.META): _.SENDING,
    (_.ANSWERING, Step.LISTING): _.ANSWERING,
    (_.ANSWERING, Step.PACK_DOWN): _.ANSWERING,
    (_.ANSWERING, Step.OUTCOMES): _.ANSWERING,
    (_.ANSWERING, Step.REPLY): _.READY,
    (_.ANSWERING, Step.ERROR): _.READY,
    (_.SENDING, Step.DATA_DOWN): _.SENDING,
    (_.SENDING, Step.END_DOWN): _.ANSWERING,
    (_.SENDING, Step.ERROR): _.READY,
    (_.OFFERED, Step.META): _.RECEIVING,
    (_.OFFERED, Step.ERROR): _.READY,
    (_.RECEIVING, Step.DATA_UP): _.RECEIVING,
    (_.RECEIVING, Step.END_UP): _.ANSWERING,
    (_.RECEIVING, Step.ABORT): _.ANSWERING,
    (_.RECEIVING, Step.ERROR): _.DISCARDING,
    (_.PULLING, Step.NAMES): _.PULLING,
    (_.PULLING, Step.PACK_DOWN): _.PULLING,
    (_.PULLING, Step.OUTCOMES): _.PULLING,
    (_.PULLING, Step.FINISH): _.ANSWERING,
    (_.PULLING, Step.ABORT): _.ANSWERING,
    (_.PULLING, Step.ERROR): _.DISCARDING,
    (_.PUSHING, Step.PACK_UP): _.PUSHING,
    (_.PUSHING, Step.OUTCOMES): _.PUSHING,
    (_.PUSHING, Step.FINISH): _.ANSWERING,
    (_.PUSHING, Step.ABORT): _.ANSWERING,
    (_.PUSHING, Step.ERROR): _.DISCARDING,
    (_.DISCARDING, Step.DATA_UP): _.DISCARDING,
    (_.DISCARDING, Step.PACK_UP): _.DISCARDING,
    (_.DISCARDING, Step.NAMES): _.DISCARDING,
    (_.DISCARDING, Step.END_UP): _.READY,
    (_.DISCARDING, Step.FINISH): _.READY,
    (_.DISCARDING, Step.ABORT): _.READY,
    # Events may come between any two frames from the server, after its greeting.
    **{(state, Step.EVENT): state for state in State if state not in (_.GREETING, _.CLOSED)},
}


def advance(state: State, step: Step) -> State:
    """Return the state after `step`.

    Raises:
        ProtocolError: The step is not allowed in this state.
    """
    following = TRANSITIONS.get((state, step))
    if following is None:
        raise ProtocolError(f"{step.value} is out of turn; the session is {state.value}")
    return following
