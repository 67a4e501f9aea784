"""One command for several names: a name that fails is reported and does not stop the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ftransfer.errors import ChannelError, FtransferError, ProtocolError, RequestError
from ftransfer.shell.errors import SomeFailed, WrongUsage

# After one of these, the next name would fail as well.
_FATAL = (ChannelError, ProtocolError, RequestError, WrongUsage)


async def attempt_each(
    names: Sequence[str],
    work: Callable[[str], Awaitable[None]],
    report: Callable[[str, Exception], None],
) -> None:
    """Do the work for each name, and report each failure.

    The error of a single name, and one after which no name could succeed, is raised as it is.

    Args:
        report: Called with the name, as it was typed, and its error.

    Raises:
        SomeFailed: Some of several names failed, and have been reported.
    """
    failures: list[Exception] = []
    for name in names:
        try:
            await work(name)
        except (FtransferError, OSError) as error:
            if len(names) == 1 or isinstance(error, _FATAL):
                raise
            report(name, error)
            failures.append(error)
    if failures:
        raise SomeFailed(len(failures), failures[0], total=len(names))
