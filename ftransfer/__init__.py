"""Serve one folder to many people and scripts: verified, atomic, resumable file transfer.

    async with ftransfer.connect("127.0.0.1", 9021) as client:
        # A list of Entry: name, kind, size, mtime_ns, mode.
        entries = await client.dir("lab")
        # Verified and on disk when it returns.
        receipt = await client.put("results.csv", "lab/")
        receipt = await client.get("lab/results.csv", "copies/")
        receipt = await client.get_to("lab/results.csv", io.BytesIO())
        receipt = await client.put_from(io.BytesIO(b"some bytes"), "lab/notes.txt")
        # Only what differs is moved.
        report = await client.put_tree("photos", "lab/photos")
        report = await client.get_tree("lab", "mirror")
        checksum = await client.checksum("lab/notes.txt")
        await client.rename("lab/notes.txt", "lab/old notes.txt")
        await client.remove("lab/old notes.txt")
        async with client.watching("lab") as changes:  # async for change in changes: ...
            people = await client.who()

Every error is an FtransferError (ftransfer.errors has them all). A Client runs one command after
the other: for transfers at the same time use a client for each. `Server`, `Share` and `LocalStore`
serve a folder from Python.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from ftransfer import errors
from ftransfer.version import VERSION as __version__

if TYPE_CHECKING:
    from ftransfer.auth.admission import Admission
    from ftransfer.auth.permissions import Grant, Principal, Right
    from ftransfer.auth.users import User
    from ftransfer.client.client import Client, connect
    from ftransfer.client.events import Inbox
    from ftransfer.client.files import Checksum
    from ftransfer.client.presence import Delivery
    from ftransfer.client.retry import NO_RETRY, RetryRules
    from ftransfer.client.security import Security
    from ftransfer.client.trees.options import TreeOptions
    from ftransfer.client.trees.report import TreeItem, TreeReport
    from ftransfer.errors import FtransferError
    from ftransfer.gateways.native.listener import Server
    from ftransfer.limits import Limits
    from ftransfer.protocol.live import (
        Attendance,
        Change,
        Message,
        Missed,
        Person,
        Presence,
        Rescan,
    )
    from ftransfer.protocol.replies import Hello, Notice
    from ftransfer.service.audit import Audit
    from ftransfer.service.bandwidth import BandwidthLimits
    from ftransfer.service.quota_limits import QuotaLimits
    from ftransfer.service.service import Service, ServiceOptions
    from ftransfer.service.share import Share
    from ftransfer.storage.base import Entry, Partial
    from ftransfer.storage.local import LocalStore
    from ftransfer.storage.memory import MemoryStore
    from ftransfer.tls.contexts import ServerTls
    from ftransfer.transfer.records import Progress, Receipt
    from ftransfer.transfer.selection import hidden_names, selection
    from ftransfer.watch.watcher import FolderWatcher

# Loaded when first used: a command of the command line needs the client or the server, hardly ever
# both. Whatever these take and return is here as well.
_HOMES = {
    "Admission": "ftransfer.auth.admission",
    "Grant": "ftransfer.auth.permissions",
    "Principal": "ftransfer.auth.permissions",
    "Right": "ftransfer.auth.permissions",
    "User": "ftransfer.auth.users",
    "Client": "ftransfer.client.client",
    "connect": "ftransfer.client.client",
    "Inbox": "ftransfer.client.events",
    "Checksum": "ftransfer.client.files",
    "Delivery": "ftransfer.client.presence",
    "NO_RETRY": "ftransfer.client.retry",
    "RetryRules": "ftransfer.client.retry",
    "Security": "ftransfer.client.security",
    "TreeOptions": "ftransfer.client.trees.options",
    "TreeItem": "ftransfer.client.trees.report",
    "TreeReport": "ftransfer.client.trees.report",
    "FtransferError": "ftransfer.errors",
    "Server": "ftransfer.gateways.native.listener",
    "Limits": "ftransfer.limits",
    "Attendance": "ftransfer.protocol.live",
    "Change": "ftransfer.protocol.live",
    "Message": "ftransfer.protocol.live",
    "Missed": "ftransfer.protocol.live",
    "Person": "ftransfer.protocol.live",
    "Presence": "ftransfer.protocol.live",
    "Rescan": "ftransfer.protocol.live",
    "Hello": "ftransfer.protocol.replies",
    "Notice": "ftransfer.protocol.replies",
    "Audit": "ftransfer.service.audit",
    "BandwidthLimits": "ftransfer.service.bandwidth",
    "QuotaLimits": "ftransfer.service.quota_limits",
    "Service": "ftransfer.service.service",
    "ServiceOptions": "ftransfer.service.service",
    "Share": "ftransfer.service.share",
    "Entry": "ftransfer.storage.base",
    "Partial": "ftransfer.storage.base",
    "LocalStore": "ftransfer.storage.local",
    "MemoryStore": "ftransfer.storage.memory",
    "ServerTls": "ftransfer.tls.contexts",
    "Progress": "ftransfer.transfer.records",
    "Receipt": "ftransfer.transfer.records",
    "hidden_names": "ftransfer.transfer.selection",
    "selection": "ftransfer.transfer.selection",
    "FolderWatcher": "ftransfer.watch.watcher",
}

__all__ = [
    "NO_RETRY",
    "Admission",
    "Attendance",
    "Audit",
    "Change",
    "Checksum",
    "Client",
    "Delivery",
    "Entry",
    "FolderWatcher",
    "FtransferError",
    "Grant",
    "Hello",
    "Inbox",
    "Limits",
    "LocalStore",
    "MemoryStore",
    "Message",
    "Missed",
    "Notice",
    "Partial",
    "Person",
    "Presence",
    "Principal",
    "Progress",
    "QuotaLimits",
    "BandwidthLimits",
    "Receipt",
    "Rescan",
    "RetryRules",
    "Right",
    "Security",
    "Server",
    "ServerTls",
    "Service",
    "ServiceOptions",
    "Share",
    "TreeItem",
    "TreeOptions",
    "TreeReport",
    "User",
    "__version__",
    "connect",
    "errors",
    "hidden_names",
    "selection",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ftransfer' has no attribute {name!r}")
    return getattr(_import_module(home), name)


def __dir__() -> list[str]:
    return list(__all__)
