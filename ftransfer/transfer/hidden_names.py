"""The names of a share that are hidden from everybody: secrets, and private files of programs.

Case is ignored, since some file systems ignore it. The name alone decides: `secret/` hides a file
of that name too, since the answer must not reveal what exists.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence

from ftransfer.names import SafeName

# Names that nobody means to serve, even in a served folder.
SECRETS = (
    *(
        ".ssh",
        ".gnupg",
        ".env*",
        "*.pem",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
        "*.kdbx",
        "*.p12",
        "*.pfx",
    ),
    *(
        ".git",
        ".hg",
        ".svn",
        ".aws",
        ".azure",
        ".kube",
        ".docker",
        ".netrc",
        ".pgpass",
        ".npmrc",
        ".pypirc",
    ),
    *(".git-credentials", ".htpasswd", ".bash_history", ".zsh_history", ".python_history"),
)
_GLOB = re.compile(r"[*?\[\\]")

# (name, is_folder) -> whether the patterns match it, or a parent folder of it.
Match = Callable[[str, bool], bool]


class HiddenNames:
    """Names that are hidden by patterns (transfer.selection.hidden_names). Thread-safe.

    A call returns whether a name is hidden, given that its parent folder is not; `covers` checks
    the parents as well. A later pattern with a leading `!` shows what an earlier one hides, but
    nothing in a hidden folder.

    `looks_at_last` is true if the last part of a name alone decides, in any folder: no pattern has
    a slash except at its end.
    """

    def __init__(self, patterns: Sequence[str], match: Match) -> None:
        """Make the test; `match` is for the patterns and for names in lower case."""
        self.patterns = tuple(patterns)
        self.looks_at_last = not any("/" in pattern.rstrip("/ ") for pattern in patterns)
        self._match = match
        self._lock = threading.Lock()  # `match` remembers the folder of the last name
        # For most names a comparison shows that no pattern hides them, in a twentieth of the time.
        self._has_glance = self.looks_at_last and all(map(_is_word, patterns))
        words = [_word_of(pattern) for pattern in patterns if not pattern.startswith(("!", "#"))]
        self._exact = frozenset(word for word in words if not _GLOB.search(word))
        self._starts = tuple(
            word[:-1] for word in words if word.endswith("*") and not _GLOB.search(word[:-1])
        )
        self._ends = tuple(
            word[1:] for word in words if word.startswith("*") and not _GLOB.search(word[1:])
        )

    def __call__(self, name: str) -> bool:
        if not self.looks_at_last:
            with self._lock:
                return self._match(name.casefold(), True)
        last = name.rpartition("/")[2].casefold()
        if self._has_glance and not (
            last in self._exact or last.startswith(self._starts) or last.endswith(self._ends)
        ):
            return False
        return self._match(last, True)

    def covers(self, name: SafeName) -> bool:
        """Return whether a name or one of its parent folders is hidden."""
        return any(map(self, name.parts)) if self.looks_at_last else self(str(name))


def _is_word(pattern: str) -> bool:
    """Return whether a pattern is literal text, with a star at one end at most."""
    word = _word_of(pattern)
    has_one_end = not (
        _GLOB.search(word.removeprefix("*")) and _GLOB.search(word.removesuffix("*"))
    )
    return has_one_end or pattern.startswith(("!", "#"))


def _word_of(pattern: str) -> str:
    return pattern.casefold().rstrip("/ ")
