"""Compares what has arrived with what was sent, byte by byte, as cmp does."""

from __future__ import annotations

import os
from pathlib import Path

from bench.measure import Failed

_BLOCK = 1 << 20


def check_file(expected: Path, actual: Path) -> None:
    """Raises Failed: The content differs, or there is no such file."""
    try:
        with expected.open("rb", buffering=0) as a, actual.open("rb", buffering=0) as b:
            if os.fstat(a.fileno()).st_size != os.fstat(b.fileno()).st_size:
                raise Failed(f"{actual.name} has another size than what was sent")
            while block := a.read(_BLOCK):
                if block != b.read(_BLOCK):
                    raise Failed(f"{actual.name} has other content than what was sent")
    except OSError as error:
        raise Failed(f"{actual.name}: {error.strerror}") from error


def check_tree(expected: Path, actual: Path) -> None:
    """Raises Failed: A file differs, is missing, or is there without having been sent."""
    names = _names(expected)
    if names != _names(actual):
        raise Failed(
            f"{actual.name} has other names than what was sent: {len(_names(actual))} instead of"
            f" {len(names)}"
        )
    for name in names:
        check_file(expected / name, actual / name)


def _names(folder: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(where, name), folder)
        for where, _, names in os.walk(folder)
        for name in names
    )
