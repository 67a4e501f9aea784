"""The operating system under stores and links, in which the k-th call fails.

While it is installed, the modules that touch files get another `os`, another FileIO and another C
library: they count what is asked of the system, and let one call fail. So every call is reached,
whoever makes it, and no list of calls has to be kept here. A fault that does not strike is an error
of the test: `failing` and `each_call` say so by themselves.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import io
import os
import pkgutil
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

from ftransfer.storage.local.syscalls import Kernel

SHORT = -1  # in the place of an errno: a write or read that does less than it was asked to

_COUNTED = frozenset(
    "open close read write pread pwrite preadv pwritev fstat stat lstat unlink rename replace link"
    " symlink readlink mkdir rmdir listdir scandir utime fchmod chmod ftruncate fsync fdatasync dup"
    " fstatvfs lseek sendfile".split()
)
_LIBC = frozenset({"syscall", "fallocate", "renameat2", "syncfs"})
_WRITES = frozenset({"write", "pwrite", "sendfile"})
_READS = frozenset({"read", "pread", "preadv"})


class Sabotage:
    """Counts system calls; the `fatal`-th in a block fails with `number`, or all from then on.

    Thread-safe.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.hit = ""  # the call that was made to fail
        self._fatal = 0
        self._number = 0
        self._armed = False
        self._only: Collection[str] = ()
        self._lasts = False
        self._lock = threading.Lock()

    @contextmanager
    def failing(
        self, fatal: int, number: int, *, only: Collection[str] = (), lasts: bool = False
    ) -> Iterator[None]:
        """Fail one call while the block runs: of all calls, or of `only` some.

        With SHORT, only calls that can be short count.

        Raises:
            AssertionError: The block made no such call.
        """
        with self.trying(fatal, number, only=only, lasts=lasts):
            yield
        assert self.hit, f"the fault did not strike: there was no call {fatal}, only {self.calls}"

    def each_call(
        self, number: int, *, only: Collection[str] = ()
    ) -> Iterator[AbstractContextManager[None]]:
        """Yield blocks in which the first call fails, then the second, until there is none left.

        Raises:
            AssertionError: Not even the first block made one.
        """
        fatal = 1
        while fatal == 1 or self.hit:
            yield self.trying(fatal, number, only=only)
            fatal += 1
        assert fatal > 2, "the fault never struck"

    @contextmanager
    def trying(
        self, fatal: int, number: int, *, only: Collection[str] = (), lasts: bool = False
    ) -> Iterator[None]:
        """As `failing`, but the block need not make such a call: the caller must look at `hit`."""
        with self._lock:
            self.calls, self.hit, self._fatal, self._number, self._armed = (
                0,
                "",
                fatal,
                number,
                True,
            )
            self._only, self._lasts = only, lasts
        try:
            yield
        finally:
            with self._lock:
                self._armed = False

    def strikes(self, call: str, *, can_be_short: bool = False) -> int:
        """Return the errno with which this call must fail, or 0."""
        with self._lock:
            if not self._armed or (self._number == SHORT and not can_be_short):
                return 0
            if self._only and call not in self._only:
                return 0
            self.calls += 1
            if self.calls != self._fatal and not (self._lasts and self.hit):
                return 0
            self.hit = call
            return self._number

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Stand between the modules that touch files and the system while the block runs."""
        with ExitStack() as stack:
            for module in _modules("ftransfer.storage", "ftransfer.transport"):
                for key, fake in (
                    ("os", _Os(self)),
                    ("fcntl", _Fcntl(self)),
                    ("FileIO", _file_class(self)),
                ):
                    if hasattr(module, key):
                        stack.enter_context(patch.object(module, key, fake))
            stack.enter_context(patch.object(Kernel, "__init__", _kernel_init(self)))
            yield


def _modules(*packages: str) -> Iterator[ModuleType]:
    """Import and yield all modules of some packages: also those that are imported when needed."""
    for package in packages:
        root = importlib.import_module(package)
        yield root
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            yield importlib.import_module(found.name)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class _Os:
    """The module os, with calls that may fail."""

    def __init__(self, sabotage: Sabotage) -> None:
        self._sabotage = sabotage

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if name not in _COUNTED:
            return found
        wrapped = self._wrapped(name, found)
        setattr(self, name, wrapped)
        return wrapped

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        can_be_short = name in _WRITES | _READS

        def call(*args: Any, **kwargs: Any) -> Any:
            number = self._sabotage.strikes(name, can_be_short=can_be_short)
            if number == SHORT:
                return _shortened(name, real, args)
            if number:
                if name == "close":
                    real(*args)  # as Linux does it: the descriptor is gone, whatever close says
                raise _failure(number)
            return real(*args, **kwargs)

        return call


def _shortened(name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    if name in ("write", "pwrite"):
        handle, data, *rest = args
        return real(handle, memoryview(data)[: max(1, len(data) // 3)], *rest)
    if name == "sendfile":
        out, handle, offset, count = args
        return real(out, handle, offset, max(1, count // 3))
    handle, wanted, *rest = args
    if name == "preadv":
        first = wanted[0]
        return real(handle, [first[: max(1, len(first) // 3)]], *rest)
    return real(handle, max(1, wanted // 3), *rest)


class _Fcntl:
    """The module fcntl, whose locks may fail."""

    def __init__(self, sabotage: Sabotage) -> None:
        self._sabotage = sabotage

    def __getattr__(self, name: str) -> Any:
        return getattr(fcntl, name)

    def flock(self, handle: int, operation: int) -> None:
        number = self._sabotage.strikes("flock")
        if number:
            raise _failure(number)
        fcntl.flock(handle, operation)


def _file_class(sabotage: Sabotage) -> type[io.FileIO]:
    class File(io.FileIO):
        def write(self, data: Any, /) -> int:
            number = sabotage.strikes("file.write", can_be_short=True)
            if number == SHORT:
                return super().write(memoryview(data)[: max(1, len(data) // 3)])
            if number:
                raise _failure(number)
            return super().write(data)

        def read(self, size: int | None = -1, /) -> bytes:
            number = sabotage.strikes("file.read", can_be_short=True)
            if number == SHORT and size is not None and size > 0:
                size = max(1, size // 3)
            elif number > 0:
                raise _failure(number)
            return super().read(-1 if size is None else size)

        def seek(self, offset: int, whence: int = 0, /) -> int:
            number = sabotage.strikes("file.seek")
            if number:
                raise _failure(number)
            return super().seek(offset, whence)

        def close(self) -> None:
            is_open = not self.closed
            super().close()
            if is_open and (number := sabotage.strikes("file.close")):
                raise _failure(number)

    return File


class _Libc:
    """The C library: a call that is to fail returns -1 and sets errno."""

    def __init__(self, real: Any, sabotage: Sabotage) -> None:
        self._real = real
        self._sabotage = sabotage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in _LIBC:
            return found

        def call(*args: Any) -> int:
            number = self._sabotage.strikes(name)
            if number:
                ctypes.set_errno(number)
                return -1
            return int(found(*args))

        return call


def _kernel_init(sabotage: Sabotage) -> Callable[[Kernel], None]:
    real = Kernel.__init__

    def init(self: Kernel) -> None:
        real(self)
        vars(self)["_libc"] = _Libc(self._libc, sabotage)

    return init


ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EINTR": errno.EINTR, "short": SHORT}
