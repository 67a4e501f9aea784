from __future__ import annotations

import pytest

from ftransfer.errors import ProtocolError
from ftransfer.protocol.state import TRANSITIONS, State, Step, advance

FROM_CLIENT = {
    Step.COMMAND,
    Step.PUT,
    Step.OFFER,
    Step.MGET,
    Step.MPUT,
    Step.DATA_UP,
    Step.END_UP,
    Step.NAMES,
    Step.PACK_UP,
    Step.FINISH,
    Step.ABORT,
}


def reachable(start: State) -> set[State]:
    seen: set[State] = set()
    new = {start}
    while new:
        seen |= new
        new = {after for (before, _), after in TRANSITIONS.items() if before in seen} - seen
    return seen


def walk(*steps: Step, start: State = State.READY) -> State:
    state = start
    for step in steps:
        state = advance(state, step)
    return state


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_every_pair_is_in_the_table_or_refused(state: State, step: Step) -> None:
    if (state, step) in TRANSITIONS:
        assert advance(state, step) is TRANSITIONS[state, step]
    else:
        with pytest.raises(
            ProtocolError, match=f"{step.value} is out of turn; the session is {state.value}"
        ):
            advance(state, step)


def test_every_state_can_be_reached() -> None:
    assert reachable(State.GREETING) == set(State)


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
def test_from_every_state_a_command_can_come_again(state: State) -> None:
    assert State.READY in reachable(state)


def test_closed_is_the_end() -> None:
    assert reachable(State.CLOSED) == {State.CLOSED}


def test_every_step_is_used() -> None:
    assert {step for _, step in TRANSITIONS} == set(Step)


@pytest.mark.parametrize("state", State)
def test_events_change_nothing(state: State) -> None:
    assert TRANSITIONS.get((state, Step.EVENT), state) is state


def test_only_lines_come_when_the_server_listens_for_a_line() -> None:
    """Lines and frames cannot be told apart, so no state takes both."""
    for state in State:
        steps = {step for before, step in TRANSITIONS if before is state} & FROM_CLIENT
        lines = {Step.COMMAND, Step.PUT, Step.OFFER, Step.MGET, Step.MPUT}
        assert not (steps & lines and steps - lines)


@pytest.mark.parametrize(
    ("unfinished", "last"),
    [
        (State.RECEIVING, Step.END_UP),
        (State.RECEIVING, Step.ABORT),
        (State.PULLING, Step.FINISH),
        (State.PULLING, Step.ABORT),
        (State.PUSHING, Step.FINISH),
        (State.PUSHING, Step.ABORT),
    ],
)
def test_error_and_last_frame_that_cross_on_the_way_lead_to_the_same_state(
    unfinished: State, last: Step
) -> None:
    assert (
        walk(last, Step.ERROR, start=unfinished)
        is walk(Step.ERROR, last, start=unfinished)
        is State.READY
    )


@pytest.mark.parametrize(
    "steps",
    [
        (Step.COMMAND, Step.REPLY),
        (Step.COMMAND, Step.ERROR),
        (Step.COMMAND, Step.LISTING, Step.LISTING, Step.REPLY),
        (Step.COMMAND, Step.META, Step.END_DOWN, Step.REPLY),
        (
            Step.COMMAND,
            Step.META,
            Step.DATA_DOWN,
            Step.EVENT,
            Step.DATA_DOWN,
            Step.END_DOWN,
            Step.REPLY,
        ),
        (Step.COMMAND, Step.META, Step.DATA_DOWN, Step.ERROR),
        (Step.PUT, Step.END_UP, Step.REPLY),
        (Step.PUT, Step.DATA_UP, Step.DATA_UP, Step.END_UP, Step.REPLY),
        (Step.PUT, Step.DATA_UP, Step.ABORT, Step.ERROR),
        (Step.PUT, Step.DATA_UP, Step.ERROR, Step.DATA_UP, Step.END_UP),
        (Step.OFFER, Step.META, Step.DATA_UP, Step.END_UP, Step.REPLY),
        (Step.OFFER, Step.ERROR),
        (
            Step.MGET,
            Step.NAMES,
            Step.PACK_DOWN,
            Step.OUTCOMES,
            Step.FINISH,
            Step.PACK_DOWN,
            Step.REPLY,
        ),
        (Step.MPUT, Step.PACK_UP, Step.OUTCOMES, Step.FINISH, Step.OUTCOMES, Step.REPLY),
        (Step.MPUT, Step.PACK_UP, Step.ERROR, Step.PACK_UP, Step.FINISH),
    ],
    ids=lambda steps: "-".join(step.name for step in steps),
)
def test_whole_commands_lead_back_to_ready(steps: tuple[Step, ...]) -> None:
    assert walk(*steps) is State.READY


@pytest.mark.parametrize("unfinished", [State.RECEIVING, State.PULLING, State.PUSHING])
def test_what_was_on_its_way_when_the_other_side_moved_on_is_still_taken(unfinished: State) -> None:
    steps = {step for before, step in TRANSITIONS if before is unfinished}
    for step in steps & FROM_CLIENT:  # the server has refused meanwhile
        assert (State.DISCARDING, step) in TRANSITIONS
    for step in steps - FROM_CLIENT:  # the client has finished meanwhile
        assert (State.ANSWERING, step) in TRANSITIONS
