"""Every size, count and time that bounds a session, in one frozen record.

A server announces the ones that its peers must know in its hello frame (docs/protocol.md, section
4); the same record bounds what a client accepts from a server. Tests try each limit exactly and one
past it.
"""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """The limits of one server or client. Sizes end in `_bytes`, times in `_s` (seconds)."""

    # The wire.
    max_line_bytes: int = 65_536  # a name of 4096 bytes, each escaped as six characters, fits twice
    max_chunk_bytes: int = 4 << 20  # payload of one data or pack frame
    max_json_bytes: int = 1 << 20  # payload of any other frame
    # Files in one pack, names in one frame. Clients from before this cap pack up to 2000.
    max_items: int = 2_048
    # Names.
    max_name_bytes: int = 4_096
    max_part_bytes: int = 255
    # Sessions.
    max_sessions: int = 1_024
    max_source_sessions: int = 0  # from one source; 0: chosen by service.connection_limiter
    max_unauthenticated: int = 256  # have not logged in or sent a command yet
    # Content that is held in memory.
    max_content_bytes: int = 64 << 20  # over all sessions; later ones wait
    # Checksums that clients request cost only the server, so they are rationed.
    max_checksums: int = 2  # computed at once, over all sessions
    # Bytes per second that a session may have hashed, on average
    checksum_rate_bytes: int = 256 << 20
    checksum_burst_s: float = 10.0  # seconds of that rate that may be used at once
    # The live layer.
    max_text_bytes: int = 4_096  # one message
    max_label_bytes: int = 64  # the name of a session
    max_watches: int = 16  # paths that one session may watch
    max_outbox_bytes: int = 96 * 1024  # events queued for one listener; further ones are lost
    say_burst: int = 10  # messages delivered at once; after them each waits for its turn ...
    say_per_s: float = 4.0  # ... at this rate
    say_most: int = 60  # messages in a row, refilled at a quarter of that rate; more are refused
    merge_s: float = 0.25  # changes of one file within it become one event
    # Times.
    idle_s: float = 900.0  # a session without a command
    line_s: float = 30.0  # from the first byte of a line to its end
    stall_s: float = 60.0  # a transfer without a byte in either direction
    min_progress_bytes: int = 4_096  # a transfer must move this much within each stall_s ...
    quiet_s: float = 900.0  # ... but between frames it may send only heartbeats this long
    # How long a client waits while the server reads or removes many files
    work_s: float = 86_400.0
    heartbeat_s: float = 10.0  # how often a busy side with nothing to send yet says so
    vanish_s: float = 30.0  # a silently lost peer (power, cable) is noticed within it
    handshake_s: float = 10.0  # for the TLS handshake, from the start of the connection
    login_s: float = 60.0  # to log in, where required
    connect_s: float = 10.0  # to reach a server and receive its hello
    grace_s: float = 10.0  # how long running commands may finish after a stop
    close_s: float = 2.0  # to flush the last bytes before the connection is closed


DEFAULT_LIMITS = Limits()

# The least that every server must accept (docs/protocol.md, section 4): with less, no tree can be
# sent.
LEAST_LIMITS = {
    "max_line_bytes": 256,
    "max_chunk_bytes": 4_096,
    "max_json_bytes": 4_096,
    "max_items": 1,
}

# Times that the wire and system calls can express, in nanoseconds since 1970: the years 1678 to
# 2262.
FIRST_TIME_NS = -(2**63)
LAST_TIME_NS = 2**63 - 1


def clamp_time(time_ns: int) -> int:
    """Return a time clamped to the representable range.

    File systems have others: a zero date of NTFS lies in 1601.
    """
    if FIRST_TIME_NS <= time_ns <= LAST_TIME_NS:
        return time_ns
    return LAST_TIME_NS if time_ns > 0 else -LAST_TIME_NS  # as lines can express it
