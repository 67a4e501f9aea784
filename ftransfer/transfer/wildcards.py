"""Name patterns as regular expressions whose time is bounded by the product of both lengths.

The names may come from a hostile peer, and a plain translation of `*a*a*a*b` takes a time that
grows by a power for each `*`. But only the last `*` ever needs another try: for all before it, the
leftmost match of what follows is as good as any, so it is in an atomic group. The same holds for
`**` and folders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CLASSES = {
    "alpha": "A-Za-z",
    "digit": "0-9",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "xdigit": "0-9A-Fa-f",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-.:-@\[-`{-~",
    "cntrl": r"\x00-\x1f\x7f",
    "print": r"\x20-.0-~",
    "graph": r"!-.0-~",
}
_NEVER = "(?!)"
_STAR = "*"
_PART_ENDS = r"(?=/|\Z)"
_ANY_PARTS = "(?:[^/]++/)*?"


def compile_path(pattern: str, *, escapes: bool) -> re.Pattern[str]:
    """Return the expression for whole names: `*`, `?`, `[…]` in one part, `**` across parts.

    Args:
        escapes: Whether a backslash makes the next character literal.
    """
    runs: list[list[str]] = [[]]  # of parts, with `**` between them
    for part in pattern.split("/"):
        if len(part) > 1 and not part.strip("*"):
            runs.append([])
        else:
            runs[-1].append(_part(part, escapes=escapes))
    first, *others = runs
    if not others:
        return re.compile("/".join(first) + r"\Z", re.DOTALL)
    text = "".join(f"{part}/" for part in first)
    *middle, last = others
    for run in filter(None, middle):
        text += f"(?>{_ANY_PARTS}{''.join(f'{part}/' for part in run)})"
    text += _ANY_PARTS + "/".join(last) if last else "[^/]"
    return re.compile(text + (r"\Z" if last else ""), re.DOTALL)


def _part(part: str, *, escapes: bool) -> str:
    """Translate one part, so that it matches a whole part in only one way."""
    runs: list[str] = [""]
    for piece in _pieces(part, escapes=escapes):
        if piece == _STAR:
            runs.append("")
        else:
            runs[-1] += piece
    first, *others = runs
    if not others:
        return f"{first}{_PART_ENDS}"
    *middle, last = others
    tried_once = "".join(f"(?>[^/]*?{run})" for run in middle if run)
    return f"(?>{first}{tried_once}[^/]*{last}{_PART_ENDS})"


def _pieces(part: str, *, escapes: bool) -> Sequence[str]:
    """Return an expression for each character of a part, and _STAR for each star."""
    pieces: list[str] = []
    at = 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            pieces.append(_STAR)
        elif character == "?":
            pieces.append("[^/]")
        elif character == "[":
            piece, at = _bracket(part, at, escapes=escapes)
            pieces.append(piece)
        elif character == "\\" and escapes:
            pieces.append(re.escape(part[at]) if at < len(part) else _NEVER)
            at += 1
        else:
            pieces.append(re.escape(character))
    return pieces


def _bracket(part: str, at: int, *, escapes: bool) -> tuple[str, int]:
    """Translate what follows a `[`; return where it ends.

    Without an end it is a plain [ where nothing escapes, else no match.
    """
    begin = at
    is_negated = part[at : at + 1] in ("!", "^")
    at += is_negated
    inner, is_first = "", True
    while at < len(part) and (is_first or part[at] != "]"):
        is_first = False
        if found := re.compile(r"\[:([a-z]+):\]").match(part, at):
            inner += _CLASSES.get(found[1], "")
            at = found.end()
            continue
        low, at = _literal(part, at, escapes=escapes)
        if part[at : at + 1] == "-" and part[at + 1 : at + 2] not in ("", "]"):
            high, at = _literal(part, at + 1, escapes=escapes)
            if low <= high:
                inner += f"{re.escape(low)}-{re.escape(high)}"
        else:
            inner += re.escape(low)
    if at >= len(part):
        return (_NEVER, len(part)) if escapes else (re.escape("["), begin)
    if is_negated:
        return f"[^/{inner}]", at + 1
    return (f"(?!/)[{inner}]" if inner else _NEVER), at + 1


def _literal(part: str, at: int, *, escapes: bool) -> tuple[str, int]:
    if escapes and part[at] == "\\" and at + 1 < len(part):
        at += 1
    return part[at], at + 1
