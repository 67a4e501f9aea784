"""The options of a client, as one value."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from ftransfer.client.identity import OnNameRefused
from ftransfer.client.retry import RetryRules
from ftransfer.client.security import DEFAULT_SECURITY, Security
from ftransfer.client.session import OnNotice
from ftransfer.limits import DEFAULT_LIMITS, Limits


class ClientOptions(NamedTuple):
    """How a client connects, retries and stores. See `connect` for each field."""

    limits: Limits = DEFAULT_LIMITS
    retry: RetryRules | None = None
    on_notice: OnNotice | None = None
    name: str = ""
    on_name_refused: OnNameRefused | None = None
    security: Security = DEFAULT_SECURITY
    direct: bool = True
    durable: bool = True
    keep_cancelled: bool = False


class ClientKeywords(TypedDict, total=False):
    """The fields of ClientOptions as keywords of `connect`."""

    limits: Limits
    retry: RetryRules | None
    on_notice: OnNotice | None
    name: str
    on_name_refused: OnNameRefused | None
    security: Security
    direct: bool
    durable: bool
    keep_cancelled: bool
