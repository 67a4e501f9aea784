"""Lists that may be long: in memory while they are short, in an unnamed temporary file when they grow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import IO

from ftransfer.storage.base import Entry

# What stays in memory: some thousand entries. Beyond it a line in a file costs less than an object.
_MEMORY_BYTES = 1 << 20


class Spool:
    """Entries in the order in which they were added, to be read any number of times. Close it.

    A tree of a million files must not need memory for a million names.
    """

    def __init__(self) -> None:
        self._end = 0
        self.count = 0
        self.size_bytes = 0  # of all files in it

    @cached_property
    def _file(self) -> IO[bytes]:
        from tempfile import SpooledTemporaryFile  # where nothing has changed, nothing is noted

        return SpooledTemporaryFile(max_size=_MEMORY_BYTES, mode="w+b")

    def __len__(self) -> int:
        return self.count

    def add(self, entry: Entry) -> None:
        fields = [entry.name, entry.kind, entry.size, entry.mtime_ns, entry.mode, entry.identity, entry.target]
        self._end += self._file.write(json.dumps(fields).encode() + b"\n")
        self.count += 1
        self.size_bytes += entry.size

    def __iter__(self) -> Iterator[Entry]:
        position = 0
        while position < self._end:
            self._file.seek(position)  # others may read or add between two steps
            line = self._file.readline()
            position += len(line)
            self._file.seek(self._end)
            yield Entry(*json.loads(line))

    def batches(self, size: int) -> Iterator[list[Entry]]:
        """Give the entries in lists of up to `size`."""
        batch: list[Entry] = []
        for entry in self:
            batch.append(entry)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def close(self) -> None:
        if self.count:
            self._file.close()
