"""The store on a local disk: one idea per file, from the system calls up to LocalStore."""

from ftransfer.storage.local.store import LocalStore

__all__ = ["LocalStore"]
