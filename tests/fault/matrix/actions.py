"""The actions that meet faults: a command of the library, its start, its permitted results.

An action is prepared once and then repeated from the same start: the side that it writes to is
copied afresh for every attempt, the side that it reads from stays, so that sizes, times and
identities, and with them the bytes on the wire, are the same.
"""

from __future__ import annotations

import asyncio
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ftransfer.client.client import Client, connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.client.trees.report import TreeItem
from ftransfer.errors import FtransferError
from ftransfer.limits import Limits
from ftransfer.names import SafeName
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.transfer.records import Progress
from tests.fault.matrix.content import Dice, Ledger
from tests.fault.matrix.lab import Stage, serving

CHUNK_BYTES = 8_192  # of the servers here: a small file is several frames
_SMALL = 20_000
_RESUMED = 300_000  # above the size up to which a file is sent at once, without resume
_MTIME_NS = 1_700_000_000_123_456_789


class Wrong(Exception):
    """A command said that all is well, and it is not."""


class Action(ABC):
    """One command. `writes` says on which side: "share", "local", or "" for neither.

    It makes so many `connections`, of which the one of number `faulty` has the faults of a network.
    """

    label: str
    writes = ""
    connections = 1
    faulty = 0
    chunk_bytes = CHUNK_BYTES

    def __init__(self, place: Path, seed: int) -> None:
        """`place` is a folder of this action's own; it does not exist yet."""
        self._template = place / "template"
        self._stages = place
        self._count = 0
        self.dice = Dice(seed, self.label)
        self._base = Stage(
            Ledger(self._template / "share"), Ledger(self._template / "local"), Limits()
        )
        for ledger in (self._base.share, self._base.local):
            ledger.root.mkdir(parents=True)

    async def build(self) -> None:
        """Lay out the template."""
        await self.prepare(self._base)

    def stage(self, limits: Limits | None = None) -> Stage:
        """Return a fresh start. `close` it to remove its files."""
        self._count += 1
        base = self._base
        ledgers = {"share": base.share, "local": base.local}
        own = self._stages / f"{self._count}"
        if self.writes:
            shutil.copytree(ledgers[self.writes].root, own / self.writes, symlinks=True)
            ledgers[self.writes] = ledgers[self.writes].moved(own / self.writes)
        limits = limits or Limits()
        return Stage(
            ledgers["share"], ledgers["local"], limits, chunk_bytes=self.chunk_bytes, own=own
        )

    def target(self, stage: Stage) -> Ledger:
        return stage.local if self.writes == "local" else stage.share

    @abstractmethod
    async def prepare(self, base: Stage) -> None:
        """Make what is there at the start, and say in the ledgers what is to come."""

    @abstractmethod
    async def do(self, client: Client, stage: Stage) -> None:
        """Run the command, and record what is acknowledged, as soon as it is.

        Raises:
            FtransferError: It failed, and said so.
            Wrong: It did not, and should have.
        """


class Get(Action):
    label = "get"
    writes = "local"

    async def prepare(self, base: Stage) -> None:
        # Names that differ in one bit: whoever asks for one must not be given another.
        for number in range(8):
            base.share.put(f"n{number}", self.dice.content(_SMALL + number), mtime_ns=_MTIME_NS)
        base.local.put("here", self.dice.content(500))
        base.local.expect("here", base.share.final["n0"])

    async def do(self, client: Client, stage: Stage) -> None:
        receipt = await client.get("n0", stage.local.root / "here")
        stage.restarted |= receipt.restarted
        stage.acknowledged.append(("here", receipt.digest))


class GetResumed(Get):
    label = "get, resumed"

    async def prepare(self, base: Stage) -> None:
        await super().prepare(base)
        remote = await LocalStore.open(base.share.root)
        entry = await remote.stat(SafeName(("n0",)))
        await remote.close()
        store = await LocalStore.open(base.local.root)
        announced = UploadSpec(
            entry.size, entry.mtime_ns, entry.mode, source=entry.identity, owner="get"
        )
        writer = await store.open_write(SafeName(("here",)), announced)
        await writer.write((base.share.root / "n0").read_bytes()[: entry.size // 2])
        await writer.suspend()
        await store.close()


class PutAtOnce(Action):
    label = "put, at once"
    writes = "share"
    size = _SMALL

    async def prepare(self, base: Stage) -> None:
        base.share.put("n0", self.dice.content(700))
        digest = base.local.put("mine", self.dice.content(self.size), mtime_ns=_MTIME_NS)
        base.share.expect("n0", digest)

    async def do(self, client: Client, stage: Stage) -> None:
        receipt = await client.put(stage.local.root / "mine", "n0")
        stage.restarted |= receipt.restarted
        stage.acknowledged.append(("n0", receipt.digest))


class PutWaiting(PutAtOnce):
    label = "put, waiting"
    size = _RESUMED
    chunk_bytes = 100_000


class PutResumed(PutWaiting):
    label = "put, resumed"

    async def prepare(self, base: Stage) -> None:
        await super().prepare(base)
        base.chunk_bytes = self.chunk_bytes
        async with serving(base), connect(*base.address, retry=NO_RETRY) as client:
            try:
                await client.put(base.local.root / "mine", "n0", progress=_stop_half_way)
            except _Enough:
                pass
            await base.all_gone()


class PutInParts(PutWaiting):
    """Over two connections beside the one that announces it."""

    label = "put, in parts"
    connections = 3

    async def do(self, client: Client, stage: Stage) -> None:
        receipt = await client.put(stage.local.root / "mine", "n0", streams=2)
        stage.restarted |= receipt.restarted
        stage.acknowledged.append(("n0", receipt.digest))


class PutPart(PutInParts):
    """The same, seen from a connection that brings parts."""

    label = "put, in parts: one that brings them"
    faulty = 1


class _Enough(Exception):
    pass


def _stop_half_way(progress: Progress) -> None:
    if progress.total is not None and progress.done > progress.total // 4:
        raise _Enough


class List(Action):
    label = "dir"

    async def prepare(self, base: Stage) -> None:
        for number in range(5):
            base.share.put(f"n{number}", self.dice.content(100), mtime_ns=_MTIME_NS)

    async def do(self, client: Client, stage: Stage) -> None:
        entries = await client.dir()
        if [(entry.name, entry.size) for entry in entries] != [
            (f"n{number}", 100) for number in range(5)
        ]:
            raise Wrong("the listing is not whole")


class GetTree(Action):
    """A folder of small files, some of them older on the local side: a listing, then mget."""

    label = "mget"
    writes = "local"
    chunk_bytes = 100_000

    async def prepare(self, base: Stage) -> None:
        _lay_out_tree(self.dice, base.share, base.local)

    async def do(self, client: Client, stage: Stage) -> None:
        report = await client.get_tree("tree", stage.local.root / "tree", on_item=_Notes(stage))
        _refuse_failures(report.failed)


class GetFreshTree(GetTree):
    """The same into an empty folder: mget of everything at once."""

    label = "mget of a whole folder"

    async def prepare(self, base: Stage) -> None:
        _lay_out_tree(self.dice, base.share, base.local, has_older=False)


class PutTree(Action):
    label = "mput"
    writes = "share"
    chunk_bytes = 100_000

    async def prepare(self, base: Stage) -> None:
        _lay_out_tree(self.dice, base.local, base.share)

    async def do(self, client: Client, stage: Stage) -> None:
        report = await client.put_tree(stage.local.root / "tree", "tree", on_item=_Notes(stage))
        _refuse_failures(report.failed)


class PutLargeTree(PutTree):
    """Files above what is packed, each sent before the receipt of the one before it."""

    label = "puts, sent ahead"

    async def prepare(self, base: Stage) -> None:
        for number in range(4):
            name = f"tree/d{number % 2}/f{number}"
            base.share.expect(
                name,
                base.local.put(
                    name, self.dice.content(number % 2 * _RESUMED + 80_000), mtime_ns=_MTIME_NS
                ),
            )


class SomeFailed(FtransferError):
    """Single names of a tree have failed, and the report says so."""


def _refuse_failures(count: int) -> None:
    if count:
        raise SomeFailed(f"{count} names failed")


def _lay_out_tree(dice: Dice, source: Ledger, target: Ledger, *, has_older: bool = True) -> None:
    for number in range(10):
        name = f"tree/d{number % 2}/f{number}"
        digest = source.put(name, dice.content(15_000 + number), mtime_ns=_MTIME_NS)
        if has_older and number % 3 == 0:
            target.put(name, dice.content(300), mtime_ns=_MTIME_NS - 1)
        target.expect(name, digest)


class _Notes:
    """Writes down what is said of the names of a tree."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, item: TreeItem) -> None:
        if item.did == "copied":
            self._stage.acknowledged.append((f"tree/{item.name}", item.digest))


async def attempt(action: Action, client: Client, stage: Stage) -> FtransferError | None:
    """Do it once; return the error if it failed. What was acknowledged is in the stage."""
    stage.acknowledged.clear()
    try:
        async with asyncio.timeout(60):
            await action.do(client, stage)
    except FtransferError as error:
        return error
    return None


ACTIONS: Sequence[type[Action]] = (
    Get,
    GetResumed,
    PutAtOnce,
    PutWaiting,
    PutResumed,
    PutInParts,
    PutPart,
    List,
    GetTree,
    GetFreshTree,
    PutTree,
    PutLargeTree,
)
