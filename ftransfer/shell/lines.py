"""Typed lines <-> words, for the prompt, scripts and completion. Pure.

Words are separated by spaces. 'Single quotes' keep everything; in "double quotes" a backslash
escapes " and itself; elsewhere it keeps the next character. $'...' takes the escapes that listings
print for unprintable names: \\n, \\t, \\x1b, \\xff.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ftransfer.names import escape
from ftransfer.shell.errors import WrongUsage

_BLANKS = " \t\r\n"
_NEEDS_QUOTES = re.compile(r"""[\s'"\\$]""")
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text, its start in the line, and the quote left open at its end, if any."""

    text: str
    start: int
    open_quote: str = ""


def split_line(line: str, *, is_lenient: bool = False) -> list[str]:
    """Split a line into words.

    Args:
        is_lenient: Accept an open quote after a folder, as completion leaves it.

    Raises:
        WrongUsage: A quote is not closed, or the line ends in a backslash.
    """
    words = scan(line)
    if words and words[-1].open_quote and not (is_lenient and _is_open_folder(line, words[-1])):
        raise WrongUsage(_unclosed_message(words[-1].open_quote))
    return [word.text for word in words]


def _is_open_folder(line: str, word: Word) -> bool:
    """Return whether a word is a folder with an open quote, as completion leaves it."""
    return line.startswith(word.open_quote, word.start) and word.text.endswith("/")


def _unclosed_message(quote: str) -> str:
    if quote == "\\":
        return "a \\ at the end of the line escapes nothing; leave it out, or write it twice"
    return f"missing closing quote {quote}; add it, or write \\ before the first one"


def scan(line: str) -> list[Word]:
    """Split a line that may be incomplete."""
    words: list[Word] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _BLANKS:
            at += 1
        if at == len(line):
            return words
        word, at = _scan_word(line, at)
        words.append(word)


def _scan_word(line: str, start: int) -> tuple[Word, int]:
    text: list[str] = []
    at = start
    while at < len(line) and line[at] not in _BLANKS:
        quote = "$'" if line.startswith("$'", at) else line[at] if line[at] in "'\"" else ""
        if quote:
            end = _closing(line, at + len(quote), quote)
            text.append(_unquote(line[at + len(quote) : end], quote))
            if end == len(line):
                return Word("".join(text), start, quote), end
            at = end + 1
        elif line[at] == "\\":
            if at + 1 == len(line):
                return Word("".join(text), start, "\\"), len(line)
            text.append(line[at + 1])
            at += 2
        else:
            text.append(line[at])
            at += 1
    return Word("".join(text), start), at


def _closing(line: str, at: int, quote: str) -> int:
    while at < len(line) and line[at] != quote[-1]:
        at += 2 if line[at] == "\\" and quote != "'" else 1
    return min(at, len(line))


def _unquote(raw: str, quote: str) -> str:
    if quote == "'":
        return raw
    if quote == '"':
        return re.sub(r'\\(["\\])', r"\1", raw)
    return _ESCAPED.sub(_unescape, raw)


def _unescape(match: re.Match[str]) -> str:
    byte, short, long, other = match.groups()
    if byte:
        value = int(byte, 16)
        # A byte that is not UTF-8 becomes a surrogate escape.
        return chr(value) if value < 0x80 else chr(0xDC00 + value)
    if short or long:
        value = int(short or long, 16)
        return chr(value) if value <= 0x10FFFF else match.group()
    return _SHORT.get(other, other)


def quote(text: str, *, is_complete: bool = True) -> str:
    """Quote text as one word; if not `is_complete`, leave the closing quote off."""
    if _cannot_be_typed(text):
        opening, inner = "$'", "".join(map(_escape_mark, text))
    elif not _NEEDS_QUOTES.search(text) and text:
        return text
    elif '"' not in text:
        opening, inner = '"', text.replace("\\", "\\\\")
    elif "'" not in text:
        opening, inner = "'", text
    else:
        opening, inner = '"', text.replace("\\", "\\\\").replace('"', '\\"')
    return opening + inner + (opening[-1] if is_complete else "")


def _escape_mark(mark: str) -> str:
    if mark == "'":
        return "\\'"
    # U+0080 to U+00FF must not look like a byte that is not UTF-8.
    return (
        f"\\u{ord(mark):04x}" if "\x7f" < mark < "\u0100" and escape(mark) != mark else escape(mark)
    )


def _cannot_be_typed(text: str) -> bool:
    plain = text.replace("\\", "")
    return escape(plain) != plain
