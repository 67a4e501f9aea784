"""Folders of a share are swapped with links to outside while every verb runs: nothing leaks.

The swapping thread stands for anybody who may write to the folder: another user of the machine, or
a client. It exchanges two names in one step, so that no moment exists at which a check and a use
could both be lucky.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError
from ftransfer.names import parse_name
from ftransfer.service.view import ShareView
from ftransfer.storage.base import FILE, FOLDER, LINK, SmallFile, UploadSpec
from tests.support.canary import SECRET, Canary, canary, exchange

SHORT_S = 0.4
LONG_S = 8.0
HARMLESS = b"harmless"


class Swapper:
    """A thread that swaps `view` (a folder) and `away` (a link out), `key` and `lure` (a link)."""

    def __init__(self, share: Path) -> None:
        self.turns = 0
        self._share = share
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        (share / "view").mkdir()
        for name in ("view/secret", "key"):
            (share / name).write_bytes(HARMLESS)
        (share / "away").symlink_to("../outside")
        (share / "lure").symlink_to("../outside/secret")
        try:
            exchange(share / "view", share / "away")
        except OSError:
            pytest.skip("this file system cannot exchange two names in one step")

    def __enter__(self) -> Swapper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        share = self._share
        while not self._stop.is_set():
            for one, other in ((share / "view", share / "away"), (share / "key", share / "lure")):
                try:
                    exchange(one, other)
                except FileNotFoundError:
                    pass  # removed by the verb that is tried; set_out brings it back
            self.turns += 1


def set_out(share: Path) -> None:
    """Bring back what a verb has removed or replaced."""
    try:
        for name, target in (("away", "../outside"), ("lure", "../outside/secret")):
            if not os.path.lexists(share / name):
                os.symlink(target, share / name)
        if not os.path.lexists(share / "view"):
            os.mkdir(share / "view")
        if not os.path.lexists(share / "key"):
            (share / "made").write_bytes(HARMLESS)
            os.rename(share / "made", share / "key")
    except FileExistsError:
        pass  # swapped back meanwhile


async def get(view: ShareView, number: int) -> bytes:
    reader = await view.open_read(("view/secret", "key", "away/secret", "lure")[number % 4])
    try:
        return await reader.read(0, 1 << 16)
    finally:
        await reader.close()


async def look(view: ShareView, number: int) -> bytes:
    entries = [
        entry
        async for batch in view.scan(("", "view", "away")[number % 3], recursive=True)
        for entry in batch
    ]
    assert not any(entry.name.endswith("folder") for entry in entries)
    assert all(entry.size != len(SECRET) for entry in entries)
    entry = await view.stat(("view/secret", "key")[number % 2])
    assert entry.size != len(SECRET)
    return b""


async def pack(view: ShareView, number: int) -> bytes:
    items = await view.read_small(
        [parse_name(name) for name in ("view/secret", "key", "away/secret", "lure")], 1 << 16
    )
    return b"".join(bytes(item.data) for item in items if isinstance(item, SmallFile))


async def sweep(view: ShareView, number: int) -> bytes:
    content = b""
    async for group in view.read_tree(("", "view")[number % 2], 1 << 16, 16):
        files = [item for item in group if isinstance(item, SmallFile)]
        assert not any(file.name.endswith("folder") for file in files)
        content += b"".join(bytes(file.data) for file in files)
    return content


async def put(view: ShareView, number: int) -> bytes:
    writer = await view.open_write(
        (f"view/new{number % 8}", "key", "view/secret")[number % 3], UploadSpec(size=8)
    )
    try:
        await writer.write(HARMLESS)
        await writer.commit(digest_of(HARMLESS))
    finally:
        await writer.abort()
    return b""


async def unpack(view: ShareView, number: int) -> bytes:
    digest = digest_of(HARMLESS)
    await view.write_small(
        [
            SmallFile(f"view/{number % 8}/x", FILE, 0, 0o600, HARMLESS, digest),
            SmallFile("view/secret", FILE, 0, 0o600, HARMLESS, digest),
            SmallFile("view/folder", FOLDER, 1, 0o700),
            SmallFile("view/folder/secret", FILE, 0, 0o600, HARMLESS, digest),
            SmallFile("view/link", LINK, 1, 0o777, target="secret"),
        ]
    )
    return b""


async def move(view: ShareView, number: int) -> bytes:
    ways = (
        ("view/secret", "taken"),
        ("key", "view/key"),
        ("away/secret", "taken"),
        ("view/folder", "taken"),
        ("taken", "view/secret"),
    )
    old, new = ways[number % len(ways)]
    await view.rename(old, new, replace=True)
    return b""


async def remove(view: ShareView, number: int) -> bytes:
    if number % 2:
        await view.make_folder("view/folder/deep", parents=True)
    await view.remove(("view/secret", "view/folder", "view", "key")[number % 4], recursive=True)
    return b""


async def attributes(view: ShareView, number: int) -> bytes:
    await view.set_attributes(("view/secret", "key", "view")[number % 3], mtime_ns=1, mode=0o755)
    return b""


async def folders(view: ShareView, number: int) -> bytes:
    await view.make_folder(f"view/{number % 8}/deep", parents=number % 2 == 0)
    return b""


VERBS = (get, look, pack, sweep, put, unpack, move, remove, attributes, folders)
Verb = Callable[[ShareView, int], Awaitable[bytes]]


async def race(
    view: ShareView, share: Path, outside: Canary, verb: Verb, duration_s: float
) -> tuple[int, int, int]:
    """Try a verb for a time; return the numbers of attempts, successes and swaps."""
    tried = worked = 0
    end = time.monotonic() + duration_s
    with Swapper(share) as swapper:
        # On a busy machine it may take longer until one gets through
        while time.monotonic() < end or not worked:
            await asyncio.to_thread(set_out, share)
            tried += 1
            try:
                found = await verb(view, tried)
            except FtransferError:
                continue
            assert SECRET not in found
            worked += 1
    outside.check(f"{tried} times {verb.__name__}")
    return tried, worked, swapper.turns


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
async def test_no_race_leads_outside(
    view: ShareView, tmp_path: Path, outside: Canary, verb: Verb
) -> None:
    tried, worked, turns = await race(view, tmp_path / "share", outside, verb, SHORT_S)
    assert tried and worked and turns, "there was no race"


def test_open_by_path_would_be_led_outside(tmp_path: Path) -> None:
    """The race is a real one: who checks a path and then opens it is soon betrayed."""
    (tmp_path / "share").mkdir()
    path = tmp_path / "share" / "view" / "secret"
    with canary(tmp_path / "outside", watched=False), Swapper(tmp_path / "share"):
        found = b""
        while found != SECRET:
            # Realpath itself stumbles over a link that has become a folder meanwhile
            with contextlib.suppress(OSError):
                if os.path.realpath(path).startswith(str(tmp_path / "share")):
                    found = path.read_bytes()


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
async def test_no_long_race_leads_outside(
    view: ShareView, tmp_path: Path, outside: Canary, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    tried, worked, turns = await race(view, tmp_path / "share", outside, verb, LONG_S)
    with capsys.disabled():
        print(  # noqa: T201  # the figures are what the long form is for
            f" {verb.__name__}: {tried:,} attempts, {worked:,} of them done, {turns:,} swaps",
            end="",
        )
