"""Old spellings of flags and configuration keys, which keep working but are not shown."""

from __future__ import annotations

from collections.abc import Mapping

# Key in the configuration file: old -> new. A flag is its key with - for _.
RENAMED_KEYS: Mapping[str, str] = {
    "lock_down": "sandbox",
    "max_unproven": "max_unauthenticated",
    "least_progress": "min_progress",
    "quiet_time": "heartbeat_limit",
}
_NEGATION = "no-"


def current_flag(flag: str) -> str:
    """Return the current spelling of a flag, which is given without its leading dashes."""
    negation = _NEGATION if flag.startswith(_NEGATION) else ""
    key = flag.removeprefix(negation).replace("-", "_")
    return f"{negation}{RENAMED_KEYS[key].replace('_', '-')}" if key in RENAMED_KEYS else flag
