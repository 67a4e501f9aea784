"""The base of every group of commands: one connection, one command at a time, and retries."""

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
    """A client outlives its connections: a command that finds none makes a new one.

    Commands run one after the other. An `async with` block opens the client and closes it for good.
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
        """The server's hello on the present connection."""
        assert self._session is not None, "connect first"
        return self._session.hello

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection now; the next command makes a new one."""
        return self._session is None or self._session.is_over

    @property
    def durable(self) -> bool:
        """Whether files are synced to disk, here and there, before a command is done."""
        return self._options.durable

    @property
    def keep_cancelled(self) -> bool:
        """Whether a cancelled get leaves its partial behind."""
        return self._options.keep_cancelled

    async def open(self) -> None:
        """Connect, if there is no connection."""
        async with self._lock:
            await self._connected()

    async def close(self) -> None:
        """End the connection, for good. Never raises."""
        self._has_ended = True
        try:
            await self._live.close()
            if self._session is not None:
                await self._session.close()
        finally:
            if self._session is not None:
                self._session.abort()  # also when cancelled meanwhile
                self._session = None

    @contextlib.asynccontextmanager
    async def exclusive_session(self) -> AsyncIterator[ClientSession]:
        """Hold the connection for one command.

        If the command leaves the stream out of step (broken, cancelled, left early), the connection
        is aborted, and the next command makes a new one.
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
        """Run a transfer; run it again on a new connection when it is interrupted.

        Args:
            name: The name that progress is reported under.
            transfer: Called for each attempt, with the session and a function that takes the bytes
                in place and the size of the whole.
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
        """Make one more connection, for a part of a transfer. The caller closes it."""
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
        """Return the session, a new one if there is none. Called with the lock held."""
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
