"""What the owner of a share allows, and which of it applies to one principal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ftransfer.auth.permissions import Allowance, Principal
from ftransfer.errors import QuotaFull
from ftransfer.names import ROOT, SafeName
from ftransfer.service.quota_ledger import Scope, Total
from ftransfer.storage.base import Usage
from ftransfer.units import format_limit

# Where no number of files is given, a byte quota allows one file or folder for each of this many
# bytes, and a minimum number: a file of one byte takes more of a disk than that byte.
_BYTES_FOR_A_THING = 1024
_LEAST_THINGS = 1024

_EVERYWHERE: Scope = (ROOT,)


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What the owner of a share allows; None for no limit.

    `all` is for everybody together, `each` for each user without their own limit; `keep_free_bytes`
    stays free on the file system.
    """

    all: Allowance = Allowance()
    each: Allowance = Allowance()
    keep_free_bytes: int | None = None


class Quota(NamedTuple):
    """A limit on what lies in some folders. `owner` is None if it is for all together."""

    place: Scope
    owner: str | None
    bytes: int | None
    things: int

    def holds(self, total: Total, wanted: Usage) -> bool:
        """Return whether something fits beside the current total."""
        used = total.used + wanted
        return (self.bytes is None or used.bytes <= self.bytes) and used.things <= self.things

    def refuse(self, name: SafeName, total: Total, wanted: Usage) -> None:
        """Raise QuotaFull if it does not fit."""
        if not self.holds(total, wanted):
            whose = "the share's quota" if self.owner is None else "your quota"
            is_bytes = self.bytes is not None and total.used.bytes + wanted.bytes > self.bytes
            most = (
                format_limit(self.bytes)
                if is_bytes and self.bytes is not None
                else f"{self.things} files and folders"
            )
            raise QuotaFull.about(name, f"does not fit into {whose} of {most}")


def quotas_of(limits: QuotaLimits, principal: Principal) -> list[Quota]:
    """Return the quotas that apply to a principal."""
    own, each, all_ = principal.allowance, limits.each, limits.all
    size = each.quota_bytes if own.quota_bytes is None else own.quota_bytes
    files = each.quota_files if own.quota_files is None else own.quota_files
    quotas = []
    if all_.quota_bytes is not None or all_.quota_files is not None:
        things = _most_things(all_.quota_bytes, all_.quota_files)
        quotas.append(Quota(_EVERYWHERE, None, all_.quota_bytes, things))
    if size is not None or files is not None:
        place, things = principal.places_to_write(), _most_things(size, files)
        quotas.append(Quota(place, principal.name, size, things))
    return quotas


def max_file_of(limits: QuotaLimits, principal: Principal) -> int | None:
    """Return the largest file size that a principal may put; None for no limit."""
    own = principal.allowance.max_file_bytes
    each = limits.each.max_file_bytes if own is None else own
    bounds = [bound for bound in (each, limits.all.max_file_bytes) if bound is not None]
    return min(bounds) if bounds else None


def refuse_large(limits: QuotaLimits, principal: Principal, name: SafeName, size: int) -> None:
    """Raise QuotaFull if a file is larger than allowed."""
    most = max_file_of(limits, principal)
    if most is not None and size > most:
        raise QuotaFull.about(
            name, f"is larger than the {format_limit(most)} that one file may have"
        )


def _most_things(quota_bytes: int | None, quota_files: int | None) -> int:
    """Return how many files and folders a quota allows, derived from the bytes if not given."""
    if quota_files is not None or quota_bytes is None:
        return quota_files or 0
    return max(_LEAST_THINGS, quota_bytes // _BYTES_FOR_A_THING)
