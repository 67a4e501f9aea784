"""What the parts of a Client stand on: how a command gets its turn and its connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ftransfer.client.session import ClientSession
from ftransfer.transfer.records import ProgressCallback

T = TypeVar("T")


class Commands:
    """See Client, which has it."""

    durable: bool
    keep_cancelled: bool

    async def _once(self, command: Callable[[ClientSession], Awaitable[T]]) -> T:
        raise NotImplementedError

    async def with_retries(
        self,
        name: str,
        command: Callable[[ClientSession, Callable[[int, int | None], None]], Awaitable[T]],
        progress: ProgressCallback | None,
    ) -> T:
        raise NotImplementedError

    async def _another(self) -> ClientSession:
        raise NotImplementedError

    async def _request(
        self, verb: str, argument: str = "", options: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        return await self._once(lambda session: session.request(verb, argument, options))
