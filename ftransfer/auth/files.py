"""The users file and the token file of a running server, read again when they change or on request.

If a file cannot be used, the old values stay and the log says why.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ftransfer.auth.admission import Admission
from ftransfer.auth.users import load_users
from ftransfer.errors import BadFile
from ftransfer.system.private_files import read_secret

log = logging.getLogger("ftransfer.server")

# A file that changed this shortly before it was read may change again with the same time.
_SETTLED_NS = 1_000_000_000

_Signature = tuple[int, ...]


@dataclass(slots=True)
class _Source:
    """One file; `take` reads it, replaces what it holds, and returns it and whether it is new."""

    what: str
    path: str
    take: Callable[[], tuple[str, bool]]
    signature: _Signature | None = None
    complaint: str = ""


class CredentialFiles:
    """Keeps an admission in step with its files. Methods block and may be called in any thread.

    Args:
        users, token: Paths; "" for none. The admission already holds their content.
    """

    def __init__(self, admission: Admission, *, users: str = "", token: str = "") -> None:
        self._admission = admission
        self._lock = threading.Lock()
        self._sources: list[_Source] = []
        if users:
            self._sources.append(_Source("users", users, lambda: self._take_users(users)))
        if token and not _is_pipe(token):
            self._sources.append(_Source("token", token, lambda: self._take_token(token)))
        for source in self._sources:
            source.signature = _signature(source.path)
        admission.refresh = self.refresh

    def refresh(self) -> None:
        """Read the files that have changed. It costs one stat of each."""
        with self._lock:
            for source in self._sources:
                signature = _signature(source.path)
                if signature is None or signature != source.signature:
                    self._read(source, signature, says_all=False)

    def reload(self) -> None:
        """Read all files again, and log the result."""
        with self._lock:
            for source in self._sources:
                self._read(source, _signature(source.path), says_all=True)

    def _read(self, source: _Source, signature: _Signature | None, *, says_all: bool) -> None:
        source.signature = signature
        try:
            read, is_new = source.take()
        except BadFile as error:
            if says_all or str(error) != source.complaint:
                log.error("%s: kept, because %s", source.what, error)
            source.complaint = str(error)
            return
        if says_all or is_new or source.complaint:
            log.info("%s: %s", source.what, read)
        source.complaint = ""

    def _take_users(self, path: str) -> tuple[str, bool]:
        users = load_users(path)
        return f"{len(users)} read", self._admission.replace_users(users)

    def _take_token(self, path: str) -> tuple[str, bool]:
        return "read", self._admission.replace_token(read_secret(path))


def _signature(path: str) -> _Signature | None:
    """Return a value that differs when a file changes.

    None if it changed just now, or its attributes cannot be read.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _SETTLED_NS:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
