"""The base of all command groups: one connection, one command at a time, and retries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from ftransfer.client.address import Address
from ftransfer.client.command_lock import CommandLock
from ftransfer.client.connector import open_session
from ftransfer.client.events import Live
from ftransfer.client.identity import Identity
from ftransfer.client.options import ClientOptions
from ftransfer.client.retry import TEMPORARY, Report, Retries, RetryRules
from ftransfer.client.session import ClientSession
from ftransfer.errors import LocalProtocolError
from ftransfer.protocol.replies import LIVE, Hello, Notice
from ftransfer.transfer.records import ProgressCallback

T = TypeVar("T")


class ClientBase:
    """A client, which outlives its connections: a command reconnects if it needs to.

    Commands run one after the other. `async with` opens the client and closes it for good.
    """

    def __init__(self, address: Address, options: ClientOptions) -> None:
        self.address = address
        self._options = options
        self._rules = options.retry or RetryRules()
        self._session: ClientSession | None = None
        self._has_ended = False
        self._lock = CommandLock()
        self._identity = Identity(options.name, options.on_name_refused)
        self._live = Live(self._lock, self._connected, self._rules)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def hello(self) -> Hello:
        """Return the server's hello on the current connection."""
        assert self._session is not None, "connect first"
        return self._session.hello

    @property
    def is_closed(self) -> bool:
        """Return whether there is no connection now; the next command opens one."""
        return self._session is None or self._session.is_over

    @property
    def durable(self) -> bool:
        """Return whether both ends sync files to disk before a command completes."""
        return self._options.durable

    @property
    def keep_cancelled(self) -> bool:
        """Return whether a cancelled get keeps its partial file."""
        return self._options.keep_cancelled

    async def open(self) -> None:
        """Connect if there is no connection."""
        async with self._lock:
            await self._connected()

    async def close(self) -> None:
        """Close the connection for good. Never raise."""
        self._has_ended = True
        try:
            await self._live.close()
            if self._session is not None:
                await self._session.close()
        finally:
            if self._session is not None:
                self._session.abort()  # also after a cancellation
                self._session = None

    @contextlib.asynccontextmanager
    async def exclusive_session(self) -> AsyncIterator[ClientSession]:
        """Hold the connection for one command.

        If the command leaves the stream out of step (broken, cancelled, left early), the connection
        is aborted, and the next command opens a new one.
        """
        async with self._lock:
            session = await self._connected()
            try:
                yield session
            finally:
                if not session.is_between_commands:
                    session.abort()

    async def with_retries(
        self,
        name: str,
        transfer: Callable[[ClientSession, Report], Awaitable[T]],
        progress: ProgressCallback | None,
    ) -> T:
        """Run a transfer; after an interruption, run it again on a new connection.

        Args:
            name: The name under which progress is reported.
            transfer: Called for each attempt, with the session and a function that takes the bytes
                in place and the total size.
        """
        retries = Retries(name, self._rules, progress, was_connected=not self.is_closed)
        while True:
            try:
                async with self.exclusive_session() as session:
                    return await transfer(session, retries.report)
            except TEMPORARY as error:
                if not await retries.wait_after(error):
                    raise

    async def helper_session(self) -> ClientSession:
        """Open one more connection for a part of a transfer. The caller closes it."""
        session = await open_session(
            self.address,
            self._options.limits,
            security=self._options.security,
            direct=self._options.direct,
        )
        try:
            if LIVE in session.hello.features:
                await self._identity.introduce_helper(session, self.hello)
        except BaseException:
            session.abort()
            raise
        return session

    async def _request(
        self, verb: str, argument: str = "", options: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        async with self.exclusive_session() as session:
            return await session.request(verb, argument, options)

    async def _connected(self) -> ClientSession:
        """Return the session; open one if there is none. The caller holds the lock."""
        if self._has_ended:
            raise LocalProtocolError("this client is closed; connect makes another one")
        if self._session is None or self._session.is_over:
            is_first = self._session is None
            session = await open_session(
                self.address,
                self._options.limits,
                security=self._options.security,
                on_notice=self._notice,
                direct=self._options.direct,
            )
            try:
                if LIVE in session.hello.features:
                    await self._identity.introduce(session, is_first=is_first)
                    await self._live.restore(session)
            except BaseException:
                session.abort()
                raise
            self._session = session
        return self._session

    def _notice(self, notice: Notice) -> None:
        self._live.receive(notice)
        if self._options.on_notice is not None:
            self._options.on_notice(notice)
