"""What changes below a served folder, by clients and by hand, and who is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.client.client import Client
from ftransfer.digest import digest_of
from ftransfer.errors import BadArgument, NameRefused, NotFound, UnknownVerb
from ftransfer.limits import Limits
from ftransfer.names import SafeName
from ftransfer.protocol.live import (
    CHANGED,
    CREATED,
    MOVED,
    REMOVED,
    Change,
    LiveEvent,
    Person,
    Rescan,
)
from ftransfer.watch.watcher import FolderWatcher
from tests.support.service import Service, serve


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


class Eye:
    """What one client sees below a path."""

    def __init__(self, client: Client, path: str = "") -> None:
        self._events = client.watch(path)
        self._client = client
        self._next: asyncio.Task[LiveEvent] | None = None

    async def __aenter__(self) -> Eye:
        # The first step subscribes; the answer to a command after it shows that it has been made.
        self._next = asyncio.create_task(self._step())
        await asyncio.sleep(0)
        await self._client.help()
        if self._next.done():
            self._next.result()
        return self

    async def _step(self) -> LiveEvent:
        return await anext(self._events)

    async def __aexit__(self, *_: object) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._events.aclose()

    async def next(self) -> LiveEvent:
        async with asyncio.timeout(30):
            assert self._next is not None
            event = await self._next
            self._next = asyncio.create_task(self._step())
            return event

    async def change(self) -> Change:
        event = await self.next()
        assert isinstance(event, Change), event
        return event

    async def told(self, count: int) -> list[tuple[str, str]]:
        """Return a number of changes as (what, name); sorted, since some are simultaneous."""
        changes = [await self.change() for _ in range(count)]
        return sorted((change.what, change.name) for change in changes)


async def mark(service: Service, eye: Eye) -> None:
    """Make a change and see that it comes next: nothing else was on its way."""
    (service.root / "mark").mkdir()
    assert (await eye.change()).name == "mark"
    (service.root / "mark").rmdir()
    assert (await eye.change()).what == REMOVED


async def test_a_put_is_told_once_with_digest_and_person(service: Service) -> None:
    (service.local / "a.txt").write_bytes(b"hello")
    async with service.client(name="ann") as ann, service.client() as bob, Eye(bob) as eye:
        for what in (CREATED, CHANGED):
            receipt = await ann.put(service.local / "a.txt")
            change = await eye.change()
            assert (change.what, change.name, change.kind, change.size) == (
                what,
                "a.txt",
                "file",
                5,
            )
            assert (change.digest, change.mtime_ns, change.person) == (
                digest_of(b"hello"),
                receipt.mtime_ns,
                Person(1, "ann"),
            )
            await mark(service, eye)


async def test_a_large_put_is_told_at_its_commit_and_its_partial_never(service: Service) -> None:
    (service.local / "large.bin").write_bytes(os.urandom(3 << 20))
    async with service.client() as ann, service.client() as bob, Eye(bob) as eye:
        await ann.put(service.local / "large.bin")
        assert (await eye.change()).size == 3 << 20
        await mark(service, eye)


async def test_a_put_that_fails_is_not_told(service: Service) -> None:
    async with service.client() as bob, Eye(bob) as eye, service.peer() as peer:
        await peer.send(b"put a.txt\nD\0\0\0\5helloX\0\0\0\x12" + b'{"code":"aborted"}')
        assert await peer.error() == "aborted"
        await mark(service, eye)


async def test_a_tree_that_is_put_is_told_file_by_file(service: Service) -> None:
    for number in range(40):
        folder = service.local / "tree" / f"{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_bytes(b"x" * number)
    async with service.client(name="ann") as ann, service.client() as bob, Eye(bob) as eye:
        await ann.put_tree(service.local / "tree")
        seen = [await eye.change() for _ in range(44)]
        assert len({change.name for change in seen}) == 44
        files = [change for change in seen if change.kind == "file"]
        assert len(files) == 40 and all(change.digest for change in files)
        # The folders were made for her files
        assert {change.person for change in seen} == {Person(1, "ann")}
        await mark(service, eye)


async def test_changes_by_hand(service: Service) -> None:
    file = service.root / "a.txt"
    async with service.client() as bob, Eye(bob) as eye:
        file.write_bytes(b"one")
        change = await eye.change()
        assert (change.what, change.name, change.person, change.digest) == (
            CREATED,
            "a.txt",
            None,
            "",
        )
        file.write_bytes(b"longer")
        change = await eye.change()
        assert (change.what, change.size) == (CHANGED, 6)
        file.rename(service.root / "射频.txt")
        change = await eye.change()
        assert (change.what, change.old, change.name) == (MOVED, "a.txt", "射频.txt")
        (service.root / "射频.txt").unlink()
        change = await eye.change()
        assert (change.what, change.name) == (REMOVED, "射频.txt")


async def test_folders_by_hand_with_all_that_is_in_them(service: Service) -> None:
    (service.local / "tree" / "sub").mkdir(parents=True)
    (service.local / "tree" / "sub" / "a").write_bytes(b"a")
    (service.local / "tree" / "b").write_bytes(b"bb")
    async with service.client() as bob, Eye(bob) as eye:
        shutil.copytree(service.local / "tree", service.root / "tree")
        assert await eye.told(4) == [
            (CREATED, name) for name in ("tree", "tree/b", "tree/sub", "tree/sub/a")
        ]
        (service.root / "tree").rename(service.root / "new")
        assert await eye.told(4) == [
            (MOVED, name) for name in ("new", "new/b", "new/sub", "new/sub/a")
        ]
        shutil.rmtree(service.root / "new")
        assert await eye.told(4) == [
            (REMOVED, name) for name in ("new", "new/b", "new/sub", "new/sub/a")
        ]


async def test_what_clients_do_to_names_is_told_as_theirs(service: Service) -> None:
    (service.root / "a").write_bytes(b"a")
    async with service.client(name="ann") as ann, service.client() as bob, Eye(bob) as eye:
        await ann.mkdir("one/two", parents=True)
        await ann.rename("a", "one/two/b")
        await ann.remove("one", recursive=True)
        seen = [await eye.change() for _ in range(6)]
        assert [(change.what, change.name) for change in seen] == [
            (CREATED, "one"),
            (CREATED, "one/two"),
            (MOVED, "one/two/b"),
            (REMOVED, "one/two/b"),
            (REMOVED, "one/two"),
            (REMOVED, "one"),
        ]
        assert {change.person for change in seen} == {Person(1, "ann")}
        await mark(service, eye)


async def test_a_watch_is_of_one_path(service: Service) -> None:
    (service.root / "in").mkdir()
    (service.root / "out").mkdir()
    (service.root / "out" / "b").write_bytes(b"b")
    async with service.client() as bob, Eye(bob, "in") as eye:
        (service.root / "out" / "a").write_bytes(b"a")
        (service.root / "out" / "b").rename(service.root / "in" / "b")
        change = await eye.change()
        assert (change.what, change.name) == (CREATED, "in/b")
        (service.root / "in" / "b").rename(service.root / "out" / "b")
        change = await eye.change()
        assert (change.what, change.name) == (REMOVED, "in/b")


async def test_a_watched_folder_that_goes_is_told_with_a_rescan(service: Service) -> None:
    (service.root / "in").mkdir()
    (service.root / "in" / "a").write_bytes(b"a")
    async with service.client() as bob, Eye(bob, "in") as eye:
        shutil.rmtree(service.root / "in")
        seen = [await eye.next() for _ in range(3)]
        assert Rescan("in", "the folder is gone") in seen
        assert {event.name for event in seen if isinstance(event, Change)} == {"in", "in/a"}
        (service.root / "in").mkdir()
        (service.root / "in" / "again").write_bytes(b"a")
        assert await eye.told(2) == [(CREATED, "in"), (CREATED, "in/again")]


async def test_share_that_is_moved_away_is_told_with_a_rescan_and_nothing_as_removed(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    (service.root / "in").mkdir()
    (service.root / "in" / "a").write_bytes(b"a")
    away = service.root.with_name("away")
    async with service.client() as bob, Eye(bob) as eye:
        service.root.rename(away)
        service.root.mkdir()
        assert isinstance(await eye.next(), Rescan)
        assert [entry.name for entry in await bob.dir("in")] == ["in/a"]  # it is served still
        (away / "in" / "b").write_bytes(b"b")
        while isinstance(event := await eye.next(), Rescan):
            pass
        assert isinstance(event, Change) and (event.what, event.name) == (CREATED, "in/b")
        service.root.rmdir()
        away.rename(service.root)
        (service.root / "in" / "c").write_bytes(b"c")
        while isinstance(event := await eye.next(), Rescan):
            pass
        assert isinstance(event, Change) and (event.what, event.name) == (CREATED, "in/c")
    assert caplog.text.count("moved, removed or replaced") == 1


async def test_share_that_is_removed_is_not_an_empty_one(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    (service.root / "a").write_bytes(b"a")
    async with service.client() as bob, Eye(bob) as eye:
        shutil.rmtree(service.root)
        while not isinstance(await eye.next(), Rescan):
            pass
        for path in ("", "a"):
            with pytest.raises(NotFound):
                await bob.dir(path)
    assert "moved, removed or replaced" in caplog.text


async def test_links_and_what_is_behind_them(service: Service, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    async with service.client() as bob, Eye(bob) as eye:
        (service.root / "link").symlink_to(tmp_path / "outside")
        (tmp_path / "outside" / "secret").write_bytes(b"x")
        (service.root / "seen").write_bytes(b"x")
        seen = {await eye.change() for _ in range(2)}
        assert {(change.name, change.kind) for change in seen} == {
            ("link", "link"),
            ("seen", "file"),
        }
        await mark(service, eye)


async def test_a_file_that_changes_many_times_is_told_a_few_times(service: Service) -> None:
    async with service.client() as ann, service.client() as bob, Eye(bob) as eye:
        (service.local / "a").write_bytes(b"a")
        for size in range(1, 30):
            (service.local / "a").write_bytes(b"a" * size)
            await ann.put(service.local / "a")
        seen = [await eye.change()]
        while seen[-1].size < 29:
            seen.append(await eye.change())
        assert len(seen) < 15
        assert [change.size for change in seen] == sorted(change.size for change in seen)


async def test_a_check_finds_what_the_system_did_not_tell(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    from ftransfer.storage.local import LocalStore

    store = await LocalStore.open(tmp_path / "share", durable=False)
    events: asyncio.Queue[Any] = asyncio.Queue()
    watcher = FolderWatcher(tmp_path / "share", store, check_s=0.05)
    watcher._on_hints = lambda paths: None  # type: ignore[method-assign]  # every hint is lost
    await watcher.start(events.put_nowait)
    try:
        (tmp_path / "share" / "a").write_bytes(b"a")
        async with asyncio.timeout(30):
            assert isinstance(await events.get(), Rescan)
            assert (await events.get()).name == "a"
    finally:
        await watcher.stop()
        await store.close()


async def test_a_folder_that_is_made_for_a_put_is_told_with_it_and_not_before(
    tmp_path: Path,
) -> None:
    from ftransfer.storage.local import LocalStore

    store = await LocalStore.open(tmp_path, durable=False)
    told: asyncio.Queue[Any] = asyncio.Queue()
    watcher = FolderWatcher(tmp_path, store)
    await watcher.start(told.put_nowait)
    try:
        held = watcher.mute(["a/b/c"])
        assert sorted(held) == ["a", "a/b", "a/b/c"]
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "c").write_bytes(b"c")
        (tmp_path / "z").mkdir()
        assert (await told.get()).name == "z"  # what came before it has been heard of by then
        ann = Person(1, "ann")
        assert not watcher.note_write(await store.stat(SafeName(("a", "b", "c"))), ann)
        assert [
            (change.name, change.person) for change in (told.get_nowait(), told.get_nowait())
        ] == [("a", ann), ("a/b", ann)]
        watcher.unmute(held)
        (tmp_path / "z").rmdir()
        assert (await told.get()).what == REMOVED
        assert told.empty()
    finally:
        await watcher.stop()
        await store.close()


async def test_the_folder_is_watched_only_while_somebody_asks(service: Service) -> None:
    changes = service.server.service.changes
    async with service.client() as ann, service.client() as bob:
        assert not changes._is_running
        async with Eye(ann), Eye(bob):
            assert changes._is_running
        assert not changes._is_running
        async with Eye(ann):
            assert changes._is_running


async def test_bad_paths(service: Service) -> None:
    async with service.client() as bob:
        for path, error in (
            ("nowhere", NotFound),
            ("../up", NameRefused),
            (".ftransfer", NameRefused),
        ):
            with pytest.raises(error):
                async with contextlib.aclosing(bob.watch(path)) as events:
                    await anext(events)
        assert await bob.dir() == []
    async with service.peer() as peer:
        await peer.send(b"watch ../up\nwatch nowhere\nunwatch never\nwatch\n")
        assert await peer.error() == "bad_name"
        assert await peer.error() == "not_found"
        assert [(await peer.json())[0] for _ in range(2)] == [b"R", b"R"]


async def test_a_session_watches_a_few_paths(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, limits=Limits(max_watches=1)) as service,
        service.client() as bob,
        Eye(bob),
    ):
        (service.root / "in").mkdir()
        with pytest.raises(BadArgument, match="at most 1 paths"):
            async with contextlib.aclosing(bob.watch("in")) as events:
                await anext(events)


async def test_a_server_without_a_watcher_says_so(tmp_path: Path) -> None:
    async with serve(tmp_path, watcher=None) as service, service.client() as bob:
        assert "watch" not in bob.hello.features
        with pytest.raises(UnknownVerb, match="does not watch"):
            async with contextlib.aclosing(bob.watch()) as events:
                await anext(events)


async def test_thirty_listeners_get_every_put_once_and_in_order(service: Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        eyes = [
            await stack.enter_async_context(Eye(await stack.enter_async_context(service.client())))
            for _ in range(30)
        ]
        putter = await stack.enter_async_context(service.client())
        for number in range(100):
            (service.local / f"{number}").write_bytes(b"x")
            await putter.put(service.local / f"{number}")
        for eye in eyes:
            assert [(await eye.change()).name for _ in range(100)] == [
                f"{number}" for number in range(100)
            ]


async def test_what_happened_before_unwatch_is_told_even_if_it_was_not_yet_sent(
    tmp_path: Path,
) -> None:
    async with serve(tmp_path) as service, service.peer() as watcher, service.peer() as writer:
        await watcher.send(b"watch\n")
        assert (await watcher.json())[0] == b"R"
        # The second folder is told with the round after the first: `unwatch` comes before that.
        await writer.send(b"mkdir one\nmkdir two\n")
        assert [(await writer.json())[0] for _ in range(2)] == [b"R", b"R"]
        await watcher.send(b"unwatch\n")
        frames = [await watcher.json() for _ in range(3)]
        assert sorted(value["name"] for kind, value in frames if kind == b"V") == ["one", "two"]
