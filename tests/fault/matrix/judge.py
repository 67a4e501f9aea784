"""Judge one attempt: the command's result, the folders, and whether it can be repeated."""

from __future__ import annotations

from collections.abc import Sequence

from ftransfer.client.client import Client
from ftransfer.errors import FtransferError, InternalError
from tests.fault.matrix.actions import Action, Wrong, attempt
from tests.fault.matrix.lab import Stage
from tests.fault.matrix.table import Tally


class Judge:
    """Collects what is wrong with one attempt, and enters it into a tally at the end."""

    def __init__(self, action: Action, stage: Stage) -> None:
        self._action = action
        self._stage = stage
        self._complaints: list[str] = []
        self._wrong = 0
        self._lost = 0
        self._noticed = False
        self._has_completed = False
        self.error: FtransferError | None = None  # how the first attempt ended

    async def first(self, client: Client) -> None:
        """Do it while something goes wrong, and look at both folders."""
        try:
            self.error = await attempt(self._action, client, self._stage)
        except Wrong as error:
            self._wrong += 1
            self._complaints.append(str(error))
        except Exception as error:
            self._complaints.append(f"it ended in {error!r}, which is none of our errors")
        self._noticed = self.error is not None or self._stage.restarted
        if isinstance(self.error, InternalError):
            self._complaints.append(f"the server met a fault of its own: {self.error}")
        self.look()

    async def again(self, client: Client) -> None:
        """Do it when nothing goes wrong any more: it must complete."""
        try:
            error = await attempt(self._action, client, self._stage)
        except Exception as failure:
            self._complaints.append(f"given again it ended in {failure!r}")
            return
        if error is not None:
            self._complaints.append(f"given again it failed: {error!r}")
            return
        self._has_completed = True
        self.look()

    def look(self) -> None:
        """Compare both folders with what may be in them, and with what was acknowledged."""
        target = self._action.target(self._stage)
        for ledger in (self._stage.share, self._stage.local):
            faults = ledger.faults(self._stage.acknowledged if ledger is target else ())
            self._wrong += len(faults.wrong)
            self._lost += len(faults.lost)
            self._complaints += [*faults.wrong, *faults.lost]

    def complain(self, what: str) -> None:
        self._complaints.append(what)

    def leaks(self, found: Sequence[str]) -> None:
        self._complaints += found

    def end(self) -> None:
        """Check that both folders are exactly right, with nothing else in them.

        The server has stopped.
        """
        for ledger in (self._stage.share, self._stage.local):
            self._complaints += ledger.unfinished()

    def enter(self, tally: Tally, label: str, *, noticed: bool = False) -> None:
        """Count. `noticed`: it was, though the command did not fail."""
        tally.attempts += 1
        tally.noticed += noticed or self._noticed
        tally.completed += self._has_completed
        tally.wrong += self._wrong
        tally.lost += self._lost
        for what in self._complaints:
            tally.complain(f"{label}: {what}")
