"""The store on a local disk: one idea a file, from the system calls up to LocalStore."""

from ftransfer.storage.local.store import LocalStore

__all__ = ["LocalStore"]
