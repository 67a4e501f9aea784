"""The events of one client: its subscriptions, which outlive a connection, and its inboxes.

One task reads events while no command runs. It reconnects when the connection is lost while
somebody waits for events.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from ftransfer.client.command_lock import CommandLock
from ftransfer.client.retry import TEMPORARY, Backoff, RetryRules
from ftransfer.client.session import ClientSession
from ftransfer.errors import Forbidden, FtransferError, NotFound, RemoteProtocolError
from ftransfer.names import SafeName
from ftransfer.protocol.live import Change, LiveEvent, Missed, Rescan, event_from_notice, is_below
from ftransfer.protocol.replies import Notice

# Unread events that one reader may have; beyond that it learns how many it has missed.
_MAX_UNREAD = 10_000
RECONNECTED = "the connection was lost and made again"


class Inbox:
    """The unread events of one `listen` or `watch`."""

    def __init__(self, wants: Callable[[LiveEvent], bool]) -> None:
        self._wants = wants
        self._events: deque[LiveEvent] = deque()
        self._missed = 0
        self._filled = asyncio.Event()
        self._failure: BaseException | None = None

    def put(self, event: LiveEvent) -> None:
        if not self._wants(event):
            return
        if len(self._events) >= _MAX_UNREAD:
            self._missed += 1
        else:
            self._events.append(event)
        self._filled.set()

    def fail(self, error: BaseException) -> None:
        """Make `take` raise this after the unread events."""
        self._failure = error
        self._filled.set()

    async def __aiter__(self) -> AsyncGenerator[LiveEvent, None]:
        """Yield the events as they arrive, without end."""
        while True:
            yield await self.take()

    def take_all(self) -> list[LiveEvent]:
        """Return the unread events."""
        events = list(self._events)
        self._events.clear()
        return events

    async def take(self) -> LiveEvent:
        """Return the next event. Raise the error that ended the connection for good."""
        while not self._events:
            if self._missed:
                count, self._missed = self._missed, 0
                return Missed(count)
            if self._failure is not None:
                raise self._failure
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()


class Live:
    """The live layer of one client.

    Args:
        connect: Returns the session to use, a new one if the last has ended. The caller holds the
            lock.
    """

    def __init__(
        self, lock: CommandLock, connect: Callable[[], Awaitable[ClientSession]], rules: RetryRules
    ) -> None:
        self._lock = lock
        self._connect = connect
        self._rules = rules
        self._inboxes: list[Inbox] = []
        self._listeners = 0
        self._watched: dict[str, int] = {}
        self._reading: asyncio.Task[None] | None = None

    # Incoming events.

    def receive(self, notice: Notice) -> None:
        """Pass an event to every inbox that wants it.

        An invalid event ends every wait for events: the server cannot be trusted.
        """
        try:
            event = event_from_notice(notice)
        except FtransferError as error:
            wrong = RemoteProtocolError(f"the server sent an event that makes no sense: {error}")
            for inbox in self._inboxes:
                inbox.fail(wrong)
            return
        if event is not None:
            for inbox in self._inboxes:
                inbox.put(event)

    # Subscriptions.

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[Inbox, None]:
        """Yield an inbox for messages, and for who joins and leaves, from now on."""
        async with self._open(lambda event: not isinstance(event, (Change, Rescan))) as inbox:
            async with self._lock:
                session = await self._connect()
                if not self._listeners:
                    await session.request("listen")
                self._listeners += 1
            try:
                yield inbox
            finally:
                self._listeners -= 1
                if not self._listeners:
                    await self._retract("unlisten", "")

    @contextlib.asynccontextmanager
    async def watching(self, path: SafeName) -> AsyncGenerator[Inbox, None]:
        """Yield an inbox for changes below a folder; Rescan or Missed stand for lost events."""

        def wants(event: LiveEvent) -> bool:
            return (
                is_below(event, path)
                if isinstance(event, Change)
                else isinstance(event, (Rescan, Missed))
            )

        key = str(path) or "/"
        async with self._open(wants) as inbox:
            async with self._lock:
                session = await self._connect()
                if not self._watched.get(key):
                    await session.request("watch", key)
                self._watched[key] = self._watched.get(key, 0) + 1
            try:
                yield inbox
            finally:
                self._watched[key] -= 1
                if not self._watched[key]:
                    del self._watched[key]
                    await self._retract("unwatch", key)

    @contextlib.asynccontextmanager
    async def _open(self, wants: Callable[[LiveEvent], bool]) -> AsyncGenerator[Inbox, None]:
        inbox = Inbox(wants)
        self._inboxes.append(inbox)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        try:
            yield inbox
        finally:
            self._inboxes.remove(inbox)
            if not self._inboxes:
                await self.close()

    async def _retract(self, verb: str, argument: str) -> None:
        """End a subscription on the server. If that fails, the server no longer has it."""
        with contextlib.suppress(FtransferError):
            async with self._lock:
                session = await self._connect()
                await session.request(verb, argument)

    async def restore(self, session: ClientSession) -> None:
        """Subscribe again on a new connection. A Rescan replaces the events in between.

        If a folder is gone or may no longer be watched, only the waits for events end.
        """
        if self._listeners:
            await session.request("listen")
        for key in list(self._watched):
            try:
                await session.request("watch", key)
            except (NotFound, Forbidden) as error:
                for inbox in self._inboxes:
                    inbox.fail(error)
        for inbox in self._inboxes:
            inbox.put(Rescan("", RECONNECTED))

    # Reading between commands.

    async def close(self) -> None:
        """Stop reading."""
        task, self._reading = self._reading, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def _read(self) -> None:
        backoff: Backoff | None = None
        while True:
            began = time.monotonic()
            error = await self._read_once()
            if error is None or time.monotonic() - began > self._rules.longest_s:
                backoff = None
            if error is None:
                continue
            backoff = backoff or Backoff(self._rules, time.monotonic)
            wait_s = backoff.next_wait_s() if isinstance(error, TEMPORARY) else None
            if wait_s is None:
                for inbox in self._inboxes:
                    inbox.fail(error)
                self._reading = None
                return
            await asyncio.sleep(wait_s)

    async def _read_once(self) -> FtransferError | None:
        """Read between two commands; return the error of the connection, if any."""
        async with self._lock.idle():
            try:
                await self._until_wanted(await self._connect())
            except FtransferError as error:
                return error
        return None

    async def _until_wanted(self, session: ClientSession) -> None:
        loop = asyncio.get_running_loop()
        reading = loop.create_task(session.listen())
        wanted = loop.create_task(self._lock.wanted.wait())
        try:
            await asyncio.wait([reading, wanted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, wanted):
                task.cancel()
            await asyncio.wait([reading, wanted])
        if not reading.cancelled():
            session.abort()
            await reading
