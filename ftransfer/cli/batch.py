"""One command over several names, on one connection."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ftransfer.cli.output import failure_record, note, write_result
from ftransfer.shell.attempts import attempt_each
from ftransfer.shell.formatting import explain

if TYPE_CHECKING:
    from ftransfer.client.client import Client


async def run_each(
    connection: Client,
    names: Sequence[str],
    work: Callable[[Client, str], Awaitable[None]],
    *,
    as_json: bool = False,
    before: Callable[[Client], Awaitable[None]] | None = None,
) -> None:
    """Do the work for one name after the other; a name that fails does not stop the rest.

    Args:
        as_json: Write a JSON line for each failure of several names, too.
        before: Called once, before the first name.

    Raises:
        SomeFailed: Some of several names failed, and have been reported.
    """

    def report(name: str, error: Exception) -> None:
        note(f"ftransfer: {explain(error)}")
        if as_json:
            write_result(json.dumps(failure_record(name, error)))

    async with connection as client:
        if before is not None:
            await before(client)
        await attempt_each(names, lambda name: work(client, name), report)
