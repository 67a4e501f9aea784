"""A share in memory, in the place of a client, and a shell on it that writes into strings."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from ftransfer.client.files import Checksum
from ftransfer.client.presence import Delivery
from ftransfer.client.trees.report import OnItem, TreeItem, TreeReport
from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError, NotFound
from ftransfer.names import escape
from ftransfer.protocol.live import Activity, Person, Presence
from ftransfer.protocol.replies import Hello
from ftransfer.shell.console import Console
from ftransfer.shell.context import RemoteConnection, ShellContext
from ftransfer.storage.base import FILE, FOLDER, Entry
from ftransfer.transfer.records import Progress, ProgressCallback, Receipt

MTIME_NS = 1_700_000_000_000_000_000


class FakeShare:
    """What the shell sees of a client.

    `files` maps names to content; `asked` lists the requests in order. Each error in `failures`
    fails one command; a command whose connection ends finds `is_closed` set.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.failures: list[FtransferError] = []
        self.is_closed = False
        self.session = 1
        self.batch_size = 2
        self.hello = Hello(protocol=1, server="fake", session=1)

    async def open(self) -> None:
        if self.is_closed:
            self.session += 1
            self.hello = Hello(protocol=1, server="fake", session=self.session)
            self.is_closed = False

    def lose(self) -> None:
        self.is_closed = True

    def _fail(self) -> None:
        if self.failures:
            error = self.failures.pop(0)
            self.is_closed = error.code in ("closed", "timed_out")
            raise error

    async def who(self) -> list[Presence]:
        self.asked.append("who")
        return [
            Presence(Person(1, "ann", True), "", 0, 3.0, True, True),
            Presence(
                Person(2, "e\x1bve"),
                "10.0.0.1:5",
                0,
                0.0,
                activity=Activity("put", "a b", 25, 100, 5),
            ),
        ]

    async def say(self, text: str) -> Delivery:
        self.asked.append(f"say {text}")
        self._fail()
        return Delivery(1, 2)

    async def tell(self, name: str, text: str) -> Delivery:
        self.asked.append(f"tell {name}: {text}")
        self._fail()
        return Delivery(2, 1)

    async def introduce(self, name: str) -> Person:
        self.asked.append(f"as {name}")
        self._fail()
        return Person(1, name)

    async def iter_dir(self, path: str = "") -> AsyncIterator[Sequence[Entry]]:
        self.asked.append(f"dir {path}")
        self._fail()
        prefix = f"{path}/" if path else ""
        names = dict.fromkeys(
            prefix + name[len(prefix) :].split("/")[0]
            for name in self.files
            if name.startswith(prefix)
        )
        if path and not names:
            raise NotFound(f"{escape(path)}: no such file or folder", name=path)
        entries = [self._entry(name) for name in names]
        is_read_out = False
        try:
            for start in range(0, len(entries), self.batch_size):
                yield entries[start : start + self.batch_size]
            is_read_out = True
        finally:
            self.is_closed = self.is_closed or not is_read_out

    def _entry(self, name: str) -> Entry:
        if name in self.files:
            return Entry(name, FILE, len(self.files[name]), MTIME_NS, 0o644)
        return Entry(name, FOLDER, 0, MTIME_NS, 0o755)

    async def get(
        self,
        name: str,
        dest: str | os.PathLike[str] = ".",
        *,
        progress: ProgressCallback | None = None,
    ) -> Receipt:
        self.asked.append(f"get {name} {os.fspath(dest)}")
        self._fail()
        if name not in self.files:
            raise NotFound(f"{escape(name)}: no such file or folder", name=name)
        path = Path(dest)
        if path.is_dir():
            path /= name.rpartition("/")[2]
        path.write_bytes(self.files[name])
        if progress is not None:
            progress(Progress(name, len(self.files[name]), len(self.files[name])))
        return Receipt(name, len(self.files[name]), "d", MTIME_NS, seconds=0.25, path=str(path))

    async def get_to(
        self, name: str, sink: BinaryIO, *, progress: ProgressCallback | None = None
    ) -> Receipt:
        self.asked.append(f"get {name} -")
        self._fail()
        sink.write(self.files[name])
        return Receipt(name, len(self.files[name]), "d", MTIME_NS, seconds=0.25)

    async def put(
        self,
        file: str | os.PathLike[str],
        name: str | None = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> Receipt:
        self.asked.append(f"put {name}")
        self._fail()
        assert name is not None
        self.files[name] = Path(file).read_bytes()
        return Receipt(name, len(self.files[name]), "d", MTIME_NS, seconds=0.25, path=str(file))

    async def get_tree(
        self,
        path: str = "",
        dest: str | os.PathLike[str] = ".",
        *,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        self.asked.append(f"get -r {path} {os.fspath(dest)}")
        return TreeReport(copied=2, bytes=10)

    async def put_tree(
        self,
        folder: str | os.PathLike[str],
        path: str = "",
        *,
        on_item: OnItem | None = None,
        progress: ProgressCallback | None = None,
    ) -> TreeReport:
        self.asked.append(f"put -r {os.fspath(folder)} {path}")
        if on_item is not None:
            on_item(TreeItem("x", "failed", error=NotFound("x: is gone", name="x")))
        return TreeReport(failed=1)

    async def stat(self, name: str) -> Entry:
        self.asked.append(f"stat {name}")
        self._fail()
        return self._entry(name)

    async def checksum(self, name: str) -> Checksum:
        self.asked.append(f"checksum {name}")
        self._fail()
        return Checksum(name, len(self.files[name]), digest_of(self.files[name]))

    async def mkdir(self, name: str, *, parents: bool = False) -> None:
        self.asked.append(f"mkdir {name} {parents}")
        self._fail()

    async def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        self.asked.append(f"mv {old} to {new} {replace}")
        self._fail()

    async def remove(self, name: str, *, recursive: bool = False) -> int:
        self.asked.append(f"rm {name} {recursive}")
        self._fail()
        return 3 if recursive else 1


class Screen:
    """A shell and what it has written."""

    def __init__(self, share: FakeShare, local: Path, *, width: int | None = None) -> None:
        self.share = share
        self.out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        self.err = io.StringIO()
        console = Console(self.out, self.err, width=(lambda: width) if width is not None else None)
        self.shell = ShellContext(RemoteConnection(share, console.note), console, local)

    @property
    def lines(self) -> list[str]:
        return self.content.decode().splitlines()

    @property
    def content(self) -> bytes:
        """What has been written to where results go."""
        self.out.flush()
        return self.out.buffer.getvalue()

    @property
    def notes(self) -> list[str]:
        return self.err.getvalue().splitlines()


@pytest.fixture
def share() -> FakeShare:
    return FakeShare(
        {
            "射频仿真.pptx": b"slides",
            "my holiday photo.jpg": b"jpeg",
            "my holiday list.txt": b"list",
            "empty": b"",
            "photos/2024/a b.jpg": b"a",
            "photos/esc\x1b[31m.jpg": b"b",
        }
    )


@pytest.fixture
def screen(share: FakeShare, tmp_path: Path) -> Screen:
    return Screen(share, tmp_path)
