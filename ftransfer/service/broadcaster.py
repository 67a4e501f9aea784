"""Delivery of events to the outboxes of those who listen.

An event is encoded once per form and put into every outbox that wants it, without waiting. File
changes may be many: they are collected and delivered in rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ftransfer.limits import Limits
from ftransfer.protocol.live import Change, LiveEvent
from ftransfer.service.outbox import Outbox, SharedEvent
from ftransfer.service.participant import Participant
from ftransfer.service.subscriptions import ChangeBatch

# Outboxes are emptied in rounds, with at least this many seconds per listener between them: a flood
# of events then costs each listener one write a round, and a twentieth of a core in all. A single
# event is sent at once.
_ROUND_S_PER_LISTENER = 0.001
_LONGEST_ROUND_S = 0.2
# When this many changes wait, they are put into the outboxes before the round is due, because only
# the outboxes are bounded.
_ROUND_CHANGES = 64


class Broadcaster:
    """All listeners of a server. Methods run on the event loop, and none waits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[int, Participant] = {}
        self._changes = ChangeBatch()
        self._round_at = 0.0
        self._round: asyncio.TimerHandle | None = None

    def add(self, participant: Participant) -> None:
        """Open the session's outbox if it has none; it stays open until the session ends."""
        if participant.outbox is None:
            participant.outbox = Outbox(participant.member.open_event_sink(), self._limits)
        self._listeners[participant.number] = participant

    def remove(self, participant: Participant) -> None:
        self._listeners.pop(participant.number, None)

    def publish(self, event: LiveEvent, wants: Callable[[Participant], bool]) -> int:
        """Put an event into the outboxes of all who want it; return their number."""
        return self.publish_to(event, filter(wants, self._listeners.values()))

    def publish_to(self, event: LiveEvent, participants: Iterable[Participant]) -> int:
        """Put an event into the outboxes of those who listen; others cost nothing."""
        self.flush_changes()
        shared = SharedEvent(event)
        count = 0
        for participant in participants:
            if participant.outbox is not None and participant.number in self._listeners:
                participant.outbox.put(shared.encoded(participant.outbox.format))
                count += 1
        if count:
            self._plan_round()
        return count

    def publish_change(self, change: Change) -> None:
        """Send a change to all who watch its folder and may know of it."""
        self._changes.add(change)
        if len(self._changes) >= _ROUND_CHANGES:
            self.flush_changes()
        self._plan_round()

    def flush_changes(self) -> None:
        """Put the changes that wait for the round into the outboxes.

        Call it before rights or watches change: each session gets what it watched, and was allowed
        to know, at the time of the change.
        """
        if not self._changes:
            return
        changes, self._changes = self._changes, ChangeBatch()
        for participant in self._listeners.values():
            outbox = participant.outbox
            if participant.watches and outbox is not None:
                principal, folders = participant.member.principal, participant.watches.values()
                for events in changes.encoded(outbox.format, principal, folders):
                    outbox.put(events)

    def _plan_round(self) -> None:
        if self._round is None:
            gap_s = min(_LONGEST_ROUND_S, _ROUND_S_PER_LISTENER * len(self._listeners))
            due = max(self._loop.time(), self._round_at + gap_s)
            self._round = self._loop.call_at(due, self._start_round)

    def _start_round(self) -> None:
        self._round = None
        self._round_at = self._loop.time()
        self.flush_changes()
        for participant in self._listeners.values():
            if participant.outbox is not None:
                participant.outbox.wake()
