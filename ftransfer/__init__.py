"""Serve one folder to many people and scripts: verified, atomic, resumable file transfer over one port.

async with ftransfer.connect("127.0.0.1", 9021) as client:
    receipt = await client.put("results.csv")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ftransfer.version import VERSION as __version__

if TYPE_CHECKING:
    from ftransfer.client.client import Client, connect
    from ftransfer.client.files import Checksum
    from ftransfer.client.retry import NO_RETRY, RetryRules
    from ftransfer.client.security import Security
    from ftransfer.errors import FtransferError
    from ftransfer.limits import Limits
    from ftransfer.protocol.live import Attendance, Change, Message, Missed, Presence, Rescan
    from ftransfer.server.listener import Server
    from ftransfer.share import Share
    from ftransfer.storage.base import Entry, Partial
    from ftransfer.storage.local import LocalStore
    from ftransfer.storage.memory import MemoryStore
    from ftransfer.transfer.records import Progress, Receipt
    from ftransfer.watch.watcher import FolderWatcher

# Loaded when first used: a command of the command line needs the client or the server, hardly ever both.
_HOMES = {
    "Attendance": "ftransfer.protocol.live",
    "Change": "ftransfer.protocol.live",
    "Message": "ftransfer.protocol.live",
    "Missed": "ftransfer.protocol.live",
    "Presence": "ftransfer.protocol.live",
    "Rescan": "ftransfer.protocol.live",
    "FolderWatcher": "ftransfer.watch.watcher",
    "Client": "ftransfer.client.client",
    "connect": "ftransfer.client.client",
    "Checksum": "ftransfer.client.files",
    "NO_RETRY": "ftransfer.client.retry",
    "RetryRules": "ftransfer.client.retry",
    "Security": "ftransfer.client.security",
    "FtransferError": "ftransfer.errors",
    "Limits": "ftransfer.limits",
    "Server": "ftransfer.server.listener",
    "Share": "ftransfer.share",
    "Entry": "ftransfer.storage.base",
    "Partial": "ftransfer.storage.base",
    "LocalStore": "ftransfer.storage.local",
    "MemoryStore": "ftransfer.storage.memory",
    "Progress": "ftransfer.transfer.records",
    "Receipt": "ftransfer.transfer.records",
}

__all__ = [
    "NO_RETRY",
    "Checksum",
    "Client",
    "Entry",
    "FtransferError",
    "Limits",
    "LocalStore",
    "MemoryStore",
    "Partial",
    "Progress",
    "Receipt",
    "RetryRules",
    "Security",
    "Server",
    "Share",
    "Attendance",
    "Change",
    "Message",
    "Missed",
    "Presence",
    "Rescan",
    "FolderWatcher",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ftransfer' has no attribute {name!r}")
    return getattr(import_module(home), name)
