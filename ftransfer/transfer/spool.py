"""Lists that may be long: in memory while short, then in an unnamed temporary file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import IO

from ftransfer.storage.base import Entry

# Kept in memory: several thousand entries. Beyond that, a line in a file costs less than an object.
_MEMORY_BYTES = 1 << 20


Mark = tuple[int, int, int]


class Spool:
    """Entries in the order in which they were added, to be read any number of times. Close it.

    A tree of a million files must not need memory for a million names.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = BytesIO()
        self._end = 0
        self.count = 0
        self.size_bytes = 0  # the total size of its files

    def __len__(self) -> int:
        return self.count

    def add(self, entry: Entry) -> None:
        fields = [
            entry.name,
            entry.kind,
            entry.size,
            entry.mtime_ns,
            entry.mode,
            entry.identity,
            entry.target,
            0,
            False,
            entry.why,
        ]
        self._end += self._file.write(json.dumps(fields).encode() + b"\n")
        self.count += 1
        self.size_bytes += entry.size
        if self._end > _MEMORY_BYTES and isinstance(self._file, BytesIO):
            self._move_to_disk(self._file)

    def _move_to_disk(self, memory: BytesIO) -> None:
        from tempfile import TemporaryFile  # importing it takes longer than most lists do

        self._file = TemporaryFile()
        self._file.write(memory.getbuffer())

    def mark(self) -> Mark:
        """Return the current end, to go back to."""
        return self._end, self.count, self.size_bytes

    def cut(self, mark: Mark) -> None:
        """Drop what was added after a mark."""
        self._end, self.count, self.size_bytes = mark
        self._file.seek(self._end)

    def __iter__(self) -> Iterator[Entry]:
        position = 0
        while position < self._end:
            self._file.seek(position)  # others may read or add between two steps
            line = self._file.readline()
            position += len(line)
            self._file.seek(self._end)
            yield Entry(*json.loads(line))

    def batches(self, size: int) -> Iterator[list[Entry]]:
        """Yield the entries in lists of up to `size`."""
        batch: list[Entry] = []
        for entry in self:
            batch.append(entry)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def close(self) -> None:
        self._file.close()
