"""Names -> aligned columns on a terminal, also with characters that are two cells wide."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from wcwidth import wcswidth

_GAP = 2


def cells(text: str) -> int:
    """Return the width of a text in terminal cells; for unprintable text, its length."""
    width = wcswidth(text)
    return width if width >= 0 else len(text)


def wrapped(text: str, width: int, indent: int = 0) -> str:
    """Wrap a line at spaces to `width` cells, unless a word is wider.

    Args:
        indent: How many spaces begin all lines but the first.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line.strip() and cells(longer) > width:
            lines.append(line)
            longer = " " * indent + word
        line = longer
    return "\n".join([*lines, line])


def fitted(text: str, stream: TextIO) -> str:
    """Wrap a text for the terminal of a stream; for any other stream return it unchanged."""
    try:
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        width = 0
    return "\n".join(wrapped(line, width) for line in text.split("\n")) if width else text


def in_columns(texts: Sequence[str], width: int) -> list[str]:
    """Arrange texts in as many columns as fit into `width` cells, sorted downwards.

    A text wider than `width` leads to one column.
    """
    if not texts:
        return []
    sizes = [cells(text) for text in texts]
    narrowest = min(sizes)
    most = max(1, min(len(texts), (width + _GAP) // (narrowest + _GAP)))
    for count in range(most, 0, -1):
        rows = -(-len(texts) // count)
        # This count would leave the last columns empty; a smaller one gives the same rows.
        if -(-len(texts) // rows) != count:
            continue
        widths = [max(sizes[start : start + rows]) for start in range(0, len(texts), rows)]
        if sum(widths) + _GAP * (len(widths) - 1) <= width or count == 1:
            return [_row(texts[row::rows], sizes[row::rows], widths) for row in range(rows)]
    raise AssertionError("one column always fits")


def _row(texts: Sequence[str], sizes: Sequence[int], widths: Sequence[int]) -> str:
    padded = [
        text + " " * (width + _GAP - size)
        for text, size, width in zip(texts, sizes, widths, strict=False)
    ]
    return "".join(padded).rstrip()
