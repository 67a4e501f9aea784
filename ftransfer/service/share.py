"""A store as its owner offers it: what applies to everybody.

Each user has their own view (view.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ftransfer.auth.permissions import ANYONE, NO_RIGHTS, Principal, Right
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.service.access_rules import AccessRules
from ftransfer.service.multipart import MultipartUploads
from ftransfer.service.quota import QuotaTracker
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.service.view import ShareView
from ftransfer.storage.base import Store
from ftransfer.transfer.hidden_names import HiddenNames

_DROP_BOX = frozenset({Right.WRITE, Right.SAY})


class Share:
    """One folder as its owner offers it.

    Args:
        read_only: Nothing may be changed.
        drop_box: Nothing may be seen; those who may write may put new files.
        hiding: Names that are hidden from everybody; None for none.
        quota_limits: How much may be stored; `quota.limits` can be replaced at any time.
        now_ns: The clock, for the age of partials.
    """

    def __init__(
        self,
        store: Store,
        *,
        read_only: bool = False,
        drop_box: bool = False,
        hiding: HiddenNames | None = None,
        quota_limits: QuotaLimits | None = None,
        limits: Limits = DEFAULT_LIMITS,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.store = store
        # The file system accepts other spellings of a name: rights by folder would not hold
        self.folds_names = False
        self.read_only = read_only
        self.drop_box = drop_box
        self.hiding = hiding
        self.limits = limits
        self.quota = QuotaTracker(store, quota_limits)
        self.uploads = MultipartUploads()
        self.now_ns = now_ns

    @property
    def durable(self) -> bool:
        return self.store.durable

    @property
    def hidden_patterns(self) -> tuple[str, ...]:
        """The patterns of hidden names, for those who are allowed to use the share."""
        return self.hiding.patterns if self.hiding is not None else ()

    def view_for(self, principal: Principal = ANYONE, source: str = "") -> ShareView:
        """Return the share as a principal may use it.

        Each source has its own turns for long work.
        """
        if self.folds_names and not principal.is_uniform:
            principal = principal.restricted_to(NO_RIGHTS)
        if self.drop_box:
            principal = principal.restricted_to(_DROP_BOX)
        rules = AccessRules(principal, hiding=self.hiding, read_only=self.read_only)
        return ShareView(
            self.store,
            rules,
            self.quota,
            self.uploads,
            source=source,
            limits=self.limits,
            now_ns=self.now_ns,
        )

    async def close(self) -> None:
        await self.quota.close()
        await self.store.close()
