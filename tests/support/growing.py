"""Files that others write to while they are read."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path


def change_first_bytes(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"something else")


@contextlib.contextmanager
def growing(path: Path) -> Iterator[None]:
    """Append to a file without a pause while the block runs, as a program does with its log."""
    ended, begun = threading.Event(), threading.Event()

    def append() -> None:
        with open(path, "ab", buffering=0) as file:
            for number in itertools.count():
                file.write(b"line %d\n" % number)
                begun.set()
                if ended.wait(0.001):
                    return

    thread = threading.Thread(target=append)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()
