"""The flags of `serve` that bound what others may do: their words, what contradicts what, and the
objects that they stand for.
"""

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
    from ftransfer.service.bandwidth import RateBounds
    from ftransfer.service.quota import QuotaLimits


def _amount(parse: Callable[[str], float], least: float = 0) -> Callable[[str | None], str | None]:
    """Make a callback that refuses what cannot be parsed; the text stays text."""

    def check(text: str) -> None:
        if parse(text) < least:
            raise ValueError(f"{text} is too little; at least {least:g} is needed")

    return checked_by(check)


def _count(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise ValueError(f"{number} would let nobody in; at least 1 is needed")
    return number


def _check_networks(texts: list[str] | None) -> list[str] | None:
    Networks(texts or ())
    return texts


_SIZE = {"callback": _amount(parse_size), "metavar": "SIZE", "show_default": False}
_RATE = {"callback": _amount(parse_rate), "metavar": "RATE", "show_default": False}
_FILES = {"callback": _amount(parse_count), "metavar": "COUNT", "show_default": False}
_TIME: dict[str, Any] = {"callback": _amount(parse_time, 0.1), "metavar": "TIME"}

MaxSessions = Annotated[int, Option(callback=_count, help="Sessions at once.")]
MaxSourceSessions = Annotated[
    int | None,
    Option(
        callback=_count,
        help=(
            "Sessions at once from one address or IPv6 /64; 256, and for loopback no bound of its"
            " own."
        ),
    ),
]
MaxUnauthenticated = Annotated[
    int, Option(callback=_count, help="Of these, such as have not yet logged in or said a command.")
]
TrustFrom = Annotated[
    list[str] | None,
    Option(
        "--trust-from",
        metavar="ADDRESS",
        callback=_check_networks,
        help=(
            "An address or network without a cap of its own and without penalties, as of a load"
            " balancer; may be repeated."
        ),
        show_default=False,
    ),
]
HandshakeTime = Annotated[str, Option(**_TIME, help="For the TLS handshake.")]
LoginTime = Annotated[str, Option(**_TIME, help="For the login after it, where one is needed.")]
LineTime = Annotated[str, Option(**_TIME, help="From the first byte of a command to its end.")]
IdleTime = Annotated[str, Option(**_TIME, help="How long a session may stay without a command.")]
StallTime = Annotated[str, Option(**_TIME, help="How long a transfer may stand still.")]
HeartbeatLimit = Annotated[str, Option(**_TIME, help="How long a transfer may live on heartbeats.")]
MinProgress = Annotated[
    str,
    Option(**{**_SIZE, "show_default": True}, help="What a transfer must move in each stall time."),
]
MaxLine = Annotated[
    str,
    Option(
        **{**_SIZE, "callback": _amount(parse_size, 1024)}, help="The longest command line; 64K."
    ),
]
MaxFrame = Annotated[
    str, Option(**{**_SIZE, "callback": _amount(parse_size, 65536)}, help="The largest frame; 4M.")
]
Quota = Annotated[str | None, Option(**_SIZE, help="All files and partials together, at most.")]
UserQuota = Annotated[
    str | None, Option(**_SIZE, help="The same for what lies where one user may write.")
]
QuotaFiles = Annotated[
    str | None, Option(**_FILES, help="The number of files, folders and links together, at most.")
]
UserQuotaFiles = Annotated[
    str | None, Option(**_FILES, help="The same for what lies where one user may write.")
]
KeepFree = Annotated[
    str | None, Option(**_SIZE, help="Leave so much of the disk free, and room for files.")
]
MaxFile = Annotated[str | None, Option(**_SIZE, help="The largest file that may be put.")]
Rate = Annotated[
    str | None, Option(**_RATE, help="Bytes a second for all sessions together, such as 10M.")
]
UserRate = Annotated[
    str | None, Option(**_RATE, help="The same for each user; without a login, for each address.")
]
SessionRate = Annotated[str | None, Option(**_RATE, help="The same for each session.")]
AuditFile = Annotated[
    str | None,
    Option(metavar="FILE", help="Record who did what, a JSON line for each.", show_default=False),
]

# What is read anew on SIGHUP; all else needs a restart.
RELOADED = frozenset(
    "max_sessions max_source_sessions max_unauthenticated trust_from handshake_time login_time"
    " line_time idle_time stall_time heartbeat_limit min_progress max_line max_frame quota"
    " user_quota quota_files user_quota_files keep_free max_file rate user_rate"
    " session_rate".split()
)

_ADVICE = "choose one"
_EXCLUSIVE = (
    ("read_only", "drop_box", "one takes no file, the other nothing else"),
    *(
        (("read_only", name, "nothing can be put, so there is nothing to bound"))
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
# The first may not be more than the second; only what was given counts.
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
    """Refuse flags that cannot both be meant.

    Args:
        given: Name of a parameter -> how the user said it ("--quota", "quota in FILE"), "" if it is
            the default.

    Raises:
        WrongUsage: It names both.
    """
    for one, other, why in _EXCLUSIVE:
        if values.get(one) and values.get(other) and given(one) and given(other):
            raise WrongUsage(
                f"{given(one)} and {given(other)} contradict each other: {why}; {_ADVICE}"
            )
    for less, more, parse in _ORDERED:
        if given(less) and given(more) and parse(str(values[less])) > parse(str(values[more])):
            wanted = (
                f"{given(less)} {values[less]} is more than {given(more)} {values[more]} allows"
            )
            raise WrongUsage(f"{wanted}; raise the one or lower the other")


def limits_of(values: Mapping[str, Any]) -> Limits:
    from ftransfer.limits import DEFAULT_LIMITS

    stall_s = parse_time(values["stall_time"])
    return DEFAULT_LIMITS._replace(
        max_sessions=values["max_sessions"],
        max_source_sessions=values["max_source_sessions"] or 0,
        max_unproven=values["max_unauthenticated"],
        handshake_s=parse_time(values["handshake_time"]),
        login_s=parse_time(values["login_time"]),
        line_s=parse_time(values["line_time"]),
        idle_s=parse_time(values["idle_time"]),
        stall_s=stall_s,
        # Peers say that they live a few times within the time in which they would be given up.
        heartbeat_s=min(DEFAULT_LIMITS.heartbeat_s, stall_s / 4),
        quiet_s=parse_time(values["heartbeat_limit"]),
        least_bytes=parse_size(values["min_progress"]),
        max_line_bytes=parse_size(values["max_line"]),
        max_chunk_bytes=min(parse_size(values["max_frame"]), DEFAULT_LIMITS.max_chunk_bytes),
    )


def trusted_of(values: Mapping[str, Any]) -> Networks:
    return Networks(values["trust_from"] or ())


def bounds_of(values: Mapping[str, Any]) -> QuotaLimits:
    from ftransfer.auth.permissions import Allowance
    from ftransfer.service.quota import QuotaLimits

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


def rates_of(values: Mapping[str, Any]) -> RateBounds:
    from ftransfer.service.bandwidth import RateBounds

    return RateBounds(
        _rate(values["rate"]), _rate(values["user_rate"]), _rate(values["session_rate"])
    )


def _size(text: str | None) -> int | None:
    return None if text is None else parse_size(text)


def _count_of(text: str | None) -> int | None:
    return None if text is None else parse_count(text)


def _rate(text: str | None) -> int | None:
    return None if text is None else parse_rate(text)
