"""How this program was called, for commands that a user can copy."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

_NAME = "ftransfer"


def command_line(*words: str) -> str:
    """Return a command of this program, ready to be pasted into a shell."""
    return shlex.join([*_program(), *words])


def _program() -> list[str]:
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":
        return [sys.executable, "-m", _NAME]
    found = shutil.which(_NAME)
    if not os.path.exists(called) or (found is not None and os.path.samefile(found, called)):
        return [_NAME]
    return [called]
