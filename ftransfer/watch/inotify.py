"""Hints of the Linux kernel that something below a folder has changed.

It calls inotify directly, since libraries hide an essential fact: that the kernel's queue was full
and hints were lost. It also skips the reserved folders, where thousands of changes happen that
nobody needs to know.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator

from ftransfer.names import is_reserved
from ftransfer.watch.hints import Hints, QueueOverflow

# Paths are collected until no more come for _STEP_S, at most for _BUNCH_S; the queue is emptied
# every few milliseconds.
_STEP_S = 0.05
_BUNCH_S = 0.2
_REST_S = 0.005
_READ_BYTES = 256 * 1024

# Watch, mask, cookie, length of the name, which follows padded with NULs (inotify(7))
_EVENT = struct.Struct("=iIII")
_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = (
    0x2,
    0x4,
    0x8,
    0x40,
    0x80,
    0x100,
    0x200,
)
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_OVERFLOW, _IGNORED, _IS_FOLDER = 0x4000, 0x8000, 0x40000000
_ONLY_FOLDER, _NO_FOLLOW = 0x01000000, 0x02000000
_WANTED = (
    _MODIFY
    | _ATTRIB
    | _CLOSE_WRITE
    | _MOVED_FROM
    | _MOVED_TO
    | _CREATE
    | _DELETE
    | _ONLY_FOLDER
    | _NO_FOLLOW
)
# Removed before we look, or not readable for us
_GONE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EACCES,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


class InotifyHints(Hints):
    """See Hints."""

    def __init__(
        self,
        folder: str,
        on_paths: Callable[[set[str]], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        super().__init__(folder, on_paths, on_failure)
        self._stopping, self._stop = os.pipe2(os.O_CLOEXEC)

    def _wake(self) -> None:
        os.close(self._stop)

    def _run(self) -> None:
        try:
            queue = _Queue(self._folder)
            try:
                self._call(self._set_armed)
                self._listen(queue)
            finally:
                queue.close()
        except OSError as error:
            self._call(self._fail, error)
        finally:
            os.close(self._stopping)

    def _listen(self, queue: _Queue) -> None:
        """Deliver hints until the other end of the pipe is closed."""
        stop = select.poll()
        stop.register(self._stopping)
        both = select.poll()
        both.register(self._stopping)
        both.register(queue.fd, select.POLLIN)
        paths: set[str] = set()
        began = 0.0
        while True:
            ready = {fd for fd, _ in both.poll(_STEP_S * 1000 if paths else None)}
            if self._stopping in ready:
                return
            if ready:
                if not paths:
                    began = time.monotonic()
                paths.update(queue.read())
                if stop.poll(_REST_S * 1000):
                    return
            if paths and (not ready or time.monotonic() - began >= _BUNCH_S):
                self._call(self._on_paths, paths)
                paths = set()


class _Queue:
    """The kernel's queue for one folder and all below it. For one thread."""

    def __init__(self, folder: str) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), folder)
        self._folders: dict[int, str] = {}
        try:
            watch = self._libc.inotify_add_watch(
                self.fd, os.fsencode(folder), _WANTED | _DELETE_SELF | _MOVE_SELF
            )
            self._folders[self._check(watch, folder)] = folder
            deque(self._below(folder), maxlen=0)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self.fd)

    def read(self) -> Iterator[str]:
        """Yield the paths of all pending hints.

        Raises:
            QueueOverflow: Hints were lost.
            OSError: The system has no more watches.
        """
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                yield from self._decode(watch, mask, data[at - length : at].rstrip(b"\0"))

    def _decode(self, watch: int, mask: int, name: bytes) -> Iterator[str]:
        if mask & _OVERFLOW:
            raise QueueOverflow("more changes at once than the system reports")
        if mask & _IGNORED:
            self._folders.pop(watch, None)
            return
        folder = self._folders.get(watch)
        if folder is None:
            return
        part = os.fsdecode(name)
        if not part:
            yield folder
        elif not is_reserved(part):
            path = f"{folder}/{part}"
            yield path
            if mask & _IS_FOLDER and mask & _MOVED_FROM:
                self._forget(path)
            elif mask & _IS_FOLDER and mask & (_CREATE | _MOVED_TO):
                yield from self._enter(path)

    def _enter(self, folder: str) -> Iterator[str]:
        """Watch a folder and what is below it; yield the paths that already exist."""
        if self._watch(folder):
            yield from self._below(folder)

    def _watch(self, folder: str) -> bool:
        """Watch one folder; return whether it exists."""
        watch = self._libc.inotify_add_watch(self.fd, os.fsencode(folder), _WANTED)
        if watch < 0 and ctypes.get_errno() in _GONE:
            return False
        self._folders[self._check(watch, folder)] = folder
        return True

    def _below(self, folder: str) -> Iterator[str]:
        """Watch all folders below one, and yield the paths that exist.

        Not recursive: trees may be deeper than the call stack.
        """
        pending = [folder]
        while pending:
            for path, is_folder in _content(pending.pop()):
                yield path
                if is_folder and self._watch(path):
                    pending.append(path)

    def _forget(self, folder: str) -> None:
        """Stop watching a folder that was moved; its new place in the share is a new folder."""
        for watch, path in list(self._folders.items()):
            if path == folder or path.startswith(f"{folder}/"):
                del self._folders[watch]
                self._libc.inotify_rm_watch(self.fd, watch)

    def _check(self, result: int, folder: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
        return result


def _content(folder: str) -> list[tuple[str, bool]]:
    """Return the paths of what is in a folder, and whether each is a folder."""
    try:
        with os.scandir(folder) as entries:
            return [
                (entry.path, entry.is_dir(follow_symlinks=False))
                for entry in entries
                if not is_reserved(entry.name)
            ]
    except OSError:
        return []  # removed, or unreadable for us: then nothing in it is served either
