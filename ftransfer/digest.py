"""BLAKE3 of content: the same 64 hexadecimal digits that b3sum prints.

A leaf. BLAKE3, because one thread of it is faster than the socket and the disk, so verification
does not slow a transfer down.
"""

from __future__ import annotations

import re

from blake3 import blake3

Digest = str  # 64 lower-case hexadecimal digits

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Hasher:
    """Incremental BLAKE3. Not safe for use from two threads at once.

    It releases the interpreter lock on large buffers.
    """

    __slots__ = ("_state", "size")

    def __init__(self) -> None:
        self._state = blake3()
        self.size = 0  # bytes hashed so far

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._state.update(data)
        self.size += len(data)

    def digest(self) -> Digest:
        return self._state.hexdigest()


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """Return the digest of content in memory."""
    return blake3(data).hexdigest()


def is_digest(text: object) -> bool:
    """Return whether a value from the wire has the form of a digest."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None
