"""One command for several names: each that fails is told, the others go on, and the command fails
at its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ftransfer.errors import ChannelError, FtransferError, ProtocolError, RequestError
from ftransfer.shell.errors import SomeFailed, WrongUsage

# After these there is no use in trying the next name.
_ENDINGS = (ChannelError, ProtocolError, RequestError, WrongUsage)


class Attempts:
    """The account of a command over `count` names. The error of a single name is the error of the
    command.

    Args:
        tell: Called with a name, as it was typed, and what it met.
    """

    def __init__(self, count: int, tell: Callable[[str, Exception], None]) -> None:
        self._count = count
        self._tell = tell
        self._failures: list[Exception] = []

    @contextlib.contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Do what is to be done for one name in this block."""
        try:
            yield
        except (FtransferError, OSError) as error:
            if self._count == 1 or isinstance(error, _ENDINGS):
                raise
            self._tell(name, error)
            self._failures.append(error)

    def finish(self) -> None:
        """Raise SomeFailed if any name failed."""
        if self._failures:
            raise SomeFailed(len(self._failures), self._failures[0], total=self._count)
