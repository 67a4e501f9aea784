"""The quota and limit flags of `serve`: declarations, contradictions, and the resulting objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from ftransfer.cli.options import checked_by
from ftransfer.cli.runtime.parameters import Option
from ftransfer.service.networks import Networks
from ftransfer.shell.errors import WrongUsage
from ftransfer.units import parse_count, parse_rate, parse_size, parse_time

if TYPE_CHECKING:
    from ftransfer.limits import Limits
    from ftransfer.service.bandwidth import BandwidthLimits
    from ftransfer.service.quota_limits import QuotaLimits


def _amount(parse: Callable[[str], float], least: float = 0) -> Callable[[str | None], str | None]:
    """Return a callback that refuses what cannot be parsed, and leaves the value a text."""

    def check(text: str) -> None:
        if parse(text) < least:
            raise ValueError(f"{text} is too small; use at least {least:g}")

    return checked_by(check)


def _count(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise ValueError(f"{number} would let nobody in; use at least 1")
    return number


def _check_networks(texts: list[str] | None) -> list[str] | None:
    Networks(texts or ())
    return texts


_SIZE = {"callback": _amount(parse_size), "metavar": "SIZE", "show_default": False}
_RATE = {"callback": _amount(parse_rate), "metavar": "RATE", "show_default": False}
_FILES = {"callback": _amount(parse_count), "metavar": "COUNT", "show_default": False}
_TIME: dict[str, Any] = {"callback": _amount(parse_time, 0.1), "metavar": "TIME"}

MaxSessions = Annotated[int, Option(callback=_count, help="Maximum number of sessions.")]
MaxSourceSessions = Annotated[
    int | None,
    Option(
        callback=_count,
        help=(
            "Maximum sessions from one address or IPv6 /64. Default: 256; no separate limit for"
            " loopback."
        ),
    ),
]
MaxUnauthenticated = Annotated[
    int,
    Option(callback=_count, help="Maximum sessions that have not yet logged in or sent a command."),
]
TrustFrom = Annotated[
    list[str] | None,
    Option(
        "--trust-from",
        metavar="ADDRESS",
        callback=_check_networks,
        help=(
            "Address or network exempt from the per-address limit and penalties, such as a load"
            " balancer; may be repeated."
        ),
        show_default=False,
    ),
]
HandshakeTime = Annotated[str, Option(**_TIME, help="Time limit for the TLS handshake.")]
LoginTime = Annotated[str, Option(**_TIME, help="Time limit for the login, if one is required.")]
LineTime = Annotated[str, Option(**_TIME, help="Time limit for receiving one command line.")]
IdleTime = Annotated[
    str, Option(**_TIME, help="Close a session after this time without a command.")
]
StallTime = Annotated[
    str, Option(**_TIME, help="Abort a transfer after this time without progress.")
]
HeartbeatLimit = Annotated[
    str, Option(**_TIME, help="Abort a transfer after this time with heartbeats only.")
]
MinProgress = Annotated[
    str,
    Option(
        **{**_SIZE, "show_default": True},
        help="Minimum amount a transfer must move in each stall time.",
    ),
]
MaxLine = Annotated[
    str,
    Option(
        **{**_SIZE, "callback": _amount(parse_size, 1024)},
        help="Maximum length of a command line. Default: 64K.",
    ),
]
MaxFrame = Annotated[
    str,
    Option(
        **{**_SIZE, "callback": _amount(parse_size, 65536)},
        help="Maximum size of a frame. Default: 4M.",
    ),
]
Quota = Annotated[
    str | None, Option(**_SIZE, help="Maximum total size of files and partial uploads.")
]
UserQuota = Annotated[
    str | None, Option(**_SIZE, help="The same for the folders each user may write to.")
]
QuotaFiles = Annotated[
    str | None, Option(**_FILES, help="Maximum number of files, folders and links.")
]
UserQuotaFiles = Annotated[
    str | None, Option(**_FILES, help="The same for the folders each user may write to.")
]
KeepFree = Annotated[str | None, Option(**_SIZE, help="Disk space to keep free.")]
MaxFile = Annotated[str | None, Option(**_SIZE, help="Maximum size of an uploaded file.")]
Rate = Annotated[
    str | None, Option(**_RATE, help="Bytes per second for all sessions together, such as 10M.")
]
UserRate = Annotated[
    str | None, Option(**_RATE, help="The same for each user, or for each address without a login.")
]
SessionRate = Annotated[str | None, Option(**_RATE, help="The same for each session.")]
AuditFile = Annotated[
    str | None,
    Option(metavar="FILE", help="Log who did what, one JSON line per action.", show_default=False),
]

# Reloaded on SIGHUP; all other flags need a restart.
RELOADED = frozenset(
    "max_sessions max_source_sessions max_unauthenticated trust_from handshake_time login_time"
    " line_time idle_time stall_time heartbeat_limit min_progress max_line max_frame quota"
    " user_quota quota_files user_quota_files keep_free max_file rate user_rate"
    " session_rate".split()
)

_EXCLUSIVE = (
    ("read_only", "drop_box", "a read-only share takes no files, a drop box only files"),
    *(
        (("read_only", name, "nothing can be uploaded, so there is nothing to limit"))
        for name in (
            "quota",
            "user_quota",
            "quota_files",
            "user_quota_files",
            "keep_free",
            "max_file",
        )
    ),
)
# The first must not be more than the second; only given values count.
_ORDERED: tuple[tuple[str, str, Callable[[str], float]], ...] = (
    ("user_quota", "quota", parse_size),
    ("user_quota_files", "quota_files", parse_count),
    ("max_file", "quota", parse_size),
    ("max_file", "user_quota", parse_size),
    ("user_rate", "rate", parse_rate),
    ("session_rate", "rate", parse_rate),
    ("session_rate", "user_rate", parse_rate),
    ("max_source_sessions", "max_sessions", float),
    ("max_unauthenticated", "max_sessions", float),
)


def refuse_contradictions(values: Mapping[str, Any], given: Callable[[str], str]) -> None:
    """Refuse flags that contradict each other.

    Args:
        given: Parameter name -> how it was given ("--quota", "quota in FILE"), "" for a default.

    Raises:
        WrongUsage: Two flags contradict each other; it names both.
    """
    for one, other, why in _EXCLUSIVE:
        if values.get(one) and values.get(other) and given(one) and given(other):
            raise WrongUsage(
                f"{given(one)} and {given(other)} contradict each other: {why}; choose one"
            )
    for less, more, parse in _ORDERED:
        if given(less) and given(more) and parse(str(values[less])) > parse(str(values[more])):
            raise WrongUsage(
                f"{given(less)} {values[less]} is more than {given(more)} {values[more]} allows;"
                " raise the latter or lower the former"
            )


def limits_of(values: Mapping[str, Any]) -> Limits:
    from ftransfer.limits import DEFAULT_LIMITS

    stall_s = parse_time(values["stall_time"])
    return DEFAULT_LIMITS._replace(
        max_sessions=values["max_sessions"],
        max_source_sessions=values["max_source_sessions"] or 0,
        max_unauthenticated=values["max_unauthenticated"],
        handshake_s=parse_time(values["handshake_time"]),
        login_s=parse_time(values["login_time"]),
        line_s=parse_time(values["line_time"]),
        idle_s=parse_time(values["idle_time"]),
        stall_s=stall_s,
        # A few heartbeats fit into the time after which a peer is given up.
        heartbeat_s=min(DEFAULT_LIMITS.heartbeat_s, stall_s / 4),
        quiet_s=parse_time(values["heartbeat_limit"]),
        min_progress_bytes=parse_size(values["min_progress"]),
        max_line_bytes=parse_size(values["max_line"]),
        max_chunk_bytes=min(parse_size(values["max_frame"]), DEFAULT_LIMITS.max_chunk_bytes),
    )


def trusted_of(values: Mapping[str, Any]) -> Networks:
    return Networks(values["trust_from"] or ())


def quota_limits_of(values: Mapping[str, Any]) -> QuotaLimits:
    from ftransfer.auth.permissions import Allowance
    from ftransfer.service.quota_limits import QuotaLimits

    return QuotaLimits(
        all=Allowance(
            quota_bytes=_size(values["quota"]),
            quota_files=_count_of(values["quota_files"]),
            max_file_bytes=_size(values["max_file"]),
        ),
        each=Allowance(
            quota_bytes=_size(values["user_quota"]),
            quota_files=_count_of(values["user_quota_files"]),
        ),
        keep_free_bytes=_size(values["keep_free"]),
    )


def bandwidth_limits_of(values: Mapping[str, Any]) -> BandwidthLimits:
    from ftransfer.service.bandwidth import BandwidthLimits

    return BandwidthLimits(
        _rate(values["rate"]), _rate(values["user_rate"]), _rate(values["session_rate"])
    )


def _size(text: str | None) -> int | None:
    return None if text is None else parse_size(text)


def _count_of(text: str | None) -> int | None:
    return None if text is None else parse_count(text)


def _rate(text: str | None) -> int | None:
    return None if text is None else parse_rate(text)
