"""Untrusted text -> text that is safe to show on a terminal, in a log or in a message.

Pure, and a leaf: error messages use it.
"""

from __future__ import annotations

import re

# Besides the control characters: marks that reorder or hide text on a screen, line separators, and
# lone surrogates.
UNSAFE_TO_PRINT = frozenset(
    [
        *range(0x20),
        *range(0x7F, 0xA0),
        0xAD,
        0x61C,
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2070),
    ]
    + [0xFEFF, *range(0xFFF9, 0xFFFC)]
)
# Joiners are part of emoji (families, flags) and of words in Persian and Hindi. Next to ASCII they
# only hide a difference.
_JOINERS = re.compile(
    "(?<=[^\\x00-\\x7f\u200c\u200d])([\u200c\u200d])(?=[^\\x00-\\x7f\u200c\u200d])"
)
_SHORT_ESCAPES = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\"}


def escape(text: str) -> str:
    """Return text that is safe to print: one line, without control sequences or reordering marks.

    A byte that is not text becomes \\xNN.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    pieces = _JOINERS.split(text)  # every second one is a joiner to keep
    return "".join(
        piece if at % 2 else "".join(map(_escape_character, piece))
        for at, piece in enumerate(pieces)
    )


def _escape_character(character: str) -> str:
    point = ord(character)
    if point in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[point]
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x100 and point in UNSAFE_TO_PRINT:
        return f"\\x{point:02x}"
    if point in UNSAFE_TO_PRINT or 0xD800 <= point <= 0xDFFF:
        return f"\\u{point:04x}"
    if 0xE0000 <= point <= 0xE0FFF:  # tags: invisible
        return f"\\U{point:08x}"
    return character
