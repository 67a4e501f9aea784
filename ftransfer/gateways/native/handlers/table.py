"""One coroutine per verb: (native session, command) -> the values of the reply.

They raise errors; the session sends them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftransfer.gateways.native.handlers.batches import handle_mget, handle_mput
from ftransfer.gateways.native.handlers.files import (
    handle_checksum,
    handle_dir,
    handle_mkdir,
    handle_mv,
    handle_partials,
    handle_rm,
    handle_setstat,
    handle_stat,
)
from ftransfer.gateways.native.handlers.gets import handle_get
from ftransfer.gateways.native.handlers.live import (
    handle_as,
    handle_listen,
    handle_say,
    handle_tell,
    handle_unlisten,
    handle_unwatch,
    handle_watch,
    handle_who,
)
from ftransfer.gateways.native.handlers.login import handle_login
from ftransfer.gateways.native.handlers.puts import handle_part, handle_put
from ftransfer.gateways.native.session import Handler, NativeSession
from ftransfer.protocol.commands import ALIASES, VERBS, Command


async def handle_help(native: NativeSession, command: Command) -> dict[str, Any]:
    """List the verbs."""
    rows: Sequence[dict[str, str]] = [
        {"usage": f"{verb.word} {verb.argument}".strip(), "summary": verb.summary}
        for verb in VERBS.values()
    ]
    return {"verbs": rows, "aliases": dict(ALIASES)}


async def handle_close(native: NativeSession, command: Command) -> dict[str, Any]:
    """End the session; the server keeps listening."""
    native.has_left = True
    return {}


HANDLERS: Mapping[str, Handler] = {
    "dir": handle_dir,
    "get": handle_get,
    "put": handle_put,
    "part": handle_part,
    "mget": handle_mget,
    "mput": handle_mput,
    "stat": handle_stat,
    "checksum": handle_checksum,
    "mkdir": handle_mkdir,
    "mv": handle_mv,
    "rm": handle_rm,
    "setstat": handle_setstat,
    "partials": handle_partials,
    "as": handle_as,
    "who": handle_who,
    "say": handle_say,
    "tell": handle_tell,
    "listen": handle_listen,
    "unlisten": handle_unlisten,
    "watch": handle_watch,
    "unwatch": handle_unwatch,
    "login": handle_login,
    "help": handle_help,
    "close": handle_close,
}
