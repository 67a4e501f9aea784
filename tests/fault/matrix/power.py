"""Power cuts: a file system in an image is shut down without flushing, and mounted again.

What had not reached the medium is gone then, as when the plug is pulled: the kernel writes nothing
more, neither data nor journal. Every acknowledged put must be whole, and every name hold a version
that was sent. Needs root; the mounts are in a mount namespace of this process's own, so that none
of them is left whatever happens.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.client.trees.report import TreeItem
from ftransfer.digest import Digest, digest_of
from ftransfer.errors import FtransferError
from tests.fault.matrix.content import ABSENT, Dice, Ledger
from tests.fault.matrix.forks import Child, ServerProcess, fork, preload
from tests.fault.matrix.table import Row, Skipped, Tally

FILE_SYSTEMS = ("ext4", "xfs")
_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, of ext4, xfs and others
_NO_LOG_FLUSH = 2
_NEW_NAMESPACE = 0x00020000  # CLONE_NEWNS
_IMAGE_BYTES = 400 << 20  # xfs takes nothing below 300 MiB
_MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
_VERSIONS = 3
_SINGLE = ("one.bin", "two.bin", "large.bin")
_SIZES = {"one.bin": 3_000, "two.bin": 150_000, "large.bin": 600_000}
_TREE_FILES = 20


def run_power_cuts(seed: int, kind: str, count: int, place: Path) -> Row:
    """Cut the power `count` times on one file system."""
    case = f"power cut on {kind}"
    place.mkdir()
    why = _why_not(kind)
    if why is None:
        why = _enter_own_namespace()
    if why is None:
        disk = _Disk(kind, place)
        why = disk.make()
    if why is not None:
        return Skipped(case, why)
    preload()
    tally = Tally(case)
    for number in range(count):
        _Round(tally, disk, Dice(seed, case, number), number, place / f"{number}").run()
    return tally


def _why_not(kind: str) -> str | None:
    """Return why it cannot be done here, or None."""
    if sys.platform != "linux":
        return "only Linux can shut a file system down"
    if os.geteuid() != 0:
        return "needs root, to mount"
    for program in (_MAKE[kind][0], "mount", "umount"):
        if shutil.which(program) is None:
            return f"needs the program {program}"
    return None


def _enter_own_namespace() -> str | None:
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NAMESPACE) != 0:
        return f"no mount namespace can be made: {os.strerror(ctypes.get_errno())}"
    return _tried("mount", "--make-rprivate", "/")


def _tried(*command: str) -> str | None:
    """Run a program; return the last line of what it says if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"{command[0]}: {lines[-1]}"


class _Disk:
    def __init__(self, kind: str, place: Path) -> None:
        self.root = place / "mounted"
        self._kind = kind
        self._image = place / "image"

    def make(self) -> str | None:
        """Make the file system and mount it; say why not if it cannot be done."""
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(_IMAGE_BYTES)
        return _tried(*_MAKE[self._kind], str(self._image)) or self.mount()

    def mount(self) -> str | None:
        return _tried("mount", "-o", "loop", str(self._image), str(self.root))

    def pull_the_plug(self) -> None:
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def come_up_again(self) -> None:
        why = _tried("umount", str(self.root)) or self.mount()
        if why is not None:
            raise OSError(why)


class _Round:
    """Some versions of some files put by one client, the plug pulled meanwhile."""

    def __init__(self, tally: Tally, disk: _Disk, dice: Dice, number: int, place: Path) -> None:
        self._tally = tally
        self._disk = disk
        self._dice = dice
        self._label = f"cut {number}"
        self._place = place
        self._share = Ledger(disk.root / f"share{number}")
        self._server = ServerProcess(str(self._share.root))

    def run(self) -> None:
        self._tally.attempts += 1
        complaints = len(self._tally.complaints)
        self._lay_out()
        self._server.start()
        client = fork(lambda: asyncio.run(_put_all(self._place, self._server)))
        time.sleep(self._dice.uniform(0.02, 0.6))
        self._tally.noticed += not client.has_ended()
        self._disk.pull_the_plug()
        client.wait()
        self._server.kill()
        self._disk.come_up_again()
        self._look(client)
        self._repeat()
        for what in self._share.unfinished():
            self._complain(what)
        self._tally.completed += len(self._tally.complaints) == complaints
        shutil.rmtree(self._share.root)
        shutil.rmtree(self._place)

    def _lay_out(self) -> None:
        """Make the versions to be put, and put an old one of some names on the disk beforehand."""
        self._share.root.mkdir()
        for version in range(_VERSIONS):
            for name in _SINGLE:
                self._make(f"{version}/{name}", name, _SIZES[name])
            for number in range(_TREE_FILES):
                self._make(
                    f"{version}/tree/f{number}", f"tree/f{number}", self._dice.randrange(5_000)
                )
            self._make(f"{version}/tree/large", "tree/large", 1_300_000)
        for name in (*_SINGLE, "tree/f0", "tree/f1"):
            if self._dice.random() < 0.5:
                self._share.allowed[name].discard(ABSENT)
                self._share.allowed[name].add(
                    _write(self._share.root / name, self._dice.content(2_000))
                )
        _sync(self._disk.root)

    def _make(self, path: str, name: str, size: int) -> None:
        data = self._dice.content(size)
        file = self._place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        self._share.expect(name, digest_of(data))

    def _look(self, client: Child) -> None:
        acknowledged: dict[str, Digest] = {}
        later: dict[str, set[Digest]] = {}  # versions that were sent after the acknowledged one
        for line in client.output.decode().splitlines():
            event, name, digest = json.loads(line)
            if event == "done":
                acknowledged[name] = digest
                later[name] = set()
            else:
                later.setdefault(name, set()).add(digest)
        there = self._share.found()
        for name, digest in acknowledged.items():
            if there.get(name, ABSENT) not in {digest, *later[name]}:
                self._tally.lost += 1
                self._complain(f"{name} was acknowledged, and is not there")
        self._tally.looked_at += len(acknowledged)
        wrong = self._share.faults().wrong
        self._tally.wrong += len(wrong)
        for what in wrong:
            self._complain(what)

    def _repeat(self) -> None:
        self._server.start()
        again = fork(lambda: asyncio.run(_put_all(self._place, self._server, only_last=True)))
        if code := again.wait():
            self._complain(f"given again, the puts ended with {code}")
        self._server.stop()

    def _complain(self, what: str) -> None:
        self._tally.complain(f"{self._label}: {what}")


def _write(path: Path, data: bytes) -> Digest:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return digest_of(data)


def _sync(root: Path) -> None:
    """Bring this one file system to its medium; not those of the machine."""
    handle = os.open(root, os.O_RDONLY)
    ctypes.CDLL(None).syncfs(handle)
    os.close(handle)


async def _put_all(place: Path, server: ServerProcess, *, only_last: bool = False) -> int:
    """Put all versions in turn in a child, printing what is sent, then what was acknowledged."""
    try:
        async with connect(server.host, server.port, retry=NO_RETRY) as client:
            for version in range(_VERSIONS - 1 if only_last else 0, _VERSIONS):
                folder = place / str(version)
                for name in _SINGLE:
                    _say("sent", name, (folder / name).read_bytes())
                    receipt = await client.put(folder / name, name)
                    _say("done", name, receipt.digest)
                for file in sorted((folder / "tree").iterdir()):
                    _say("sent", f"tree/{file.name}", file.read_bytes())
                report = await client.put_tree(folder / "tree", "tree", on_item=_say_item)
                if report.failed:
                    return 1
    except FtransferError:
        return 1
    return 0


def _say_item(item: TreeItem) -> None:
    if item.did == "copied":
        _say("done", f"tree/{item.name}", item.digest)


def _say(event: str, name: str, content: bytes | str) -> None:
    digest = content if isinstance(content, str) else digest_of(content)
    os.write(1, json.dumps([event, name, digest]).encode() + b"\n")
