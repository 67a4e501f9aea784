"""The library against the real server, over both transports: any name, any size."""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.client.client import Client
from ftransfer.client.transfers.upload import AT_ONCE_BYTES
from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    CannotListen,
    ChangedMeanwhile,
    FtransferError,
    NotAFile,
    NotFound,
    ReadOnly,
    ServerStopping,
    SourceChanged,
)
from ftransfer.gateways.native.listener import Server
from ftransfer.limits import Limits
from ftransfer.service.share import Share
from ftransfer.storage.memory import MemoryStore
from ftransfer.transfer.records import Progress
from tests.support.growing import change_first_bytes, growing
from tests.support.service import Service, serve

NAMES = [
    "plain.txt",
    "射频仿真.pptx",
    "天线15.doc",
    "my holiday photo.jpg",
    "\"quoted\" 'name'",
    "-rf",
    "--help",
    "line\nfeed",
    "tab\tand\x1bescape",
    "back\\slash",
    "{json}: [1]",
    "\N{PILE OF POO}.bin",
    "e\u0301 combining",
    "bytes \udcff\udc80.dat",
    " leading and trailing ",
    "a" * 255,
]
SIZES = [
    0,
    1,
    65_535,
    65_536,
    256 * 1024,
    256 * 1024 + 1,
    (4 << 20) - 1,
    4 << 20,
    (4 << 20) + 1,
    13 << 20,
]


def touch_all(paths: list[Path]) -> None:
    for path in paths:
        path.touch()


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_any_name_goes_both_ways(service: Service, name: str) -> None:
    (service.local / name).write_bytes(b"content")
    async with service.client() as client:
        receipt = await client.put(service.local / name)
        assert (service.root / name).read_bytes() == b"content"
        assert [entry.name for entry in await client.dir()] == [name] == [receipt.name]
        (service.local / name).unlink()
        await client.get(name, service.local)
    assert (service.local / name).read_bytes() == b"content"


@pytest.mark.parametrize("size", SIZES)
async def test_any_size_goes_both_ways(service: Service, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (service.root / "a").write_bytes(data)
    async with service.client() as client:
        got = await client.get("a", service.local / "b")
        assert (service.local / "b").read_bytes() == data
        put = await client.put(service.local / "b", "c")
        assert (service.root / "c").read_bytes() == data
    assert got.digest == put.digest == digest_of(data)
    assert got.size == put.size == size


async def test_mtime_and_mode_go_both_ways(service: Service) -> None:
    source = service.local / "a"
    source.write_bytes(b"x")
    source.chmod(0o640)
    os.utime(source, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    async with service.client() as client:
        await client.put(source)
        await client.get("a", service.local / "b")
    for path in (service.root / "a", service.local / "b"):
        assert path.stat().st_mtime_ns == 1_600_000_000_123_456_789
        assert path.stat().st_mode & 0o777 == 0o640


async def test_put_replaces_at_once_and_only_when_complete(service: Service) -> None:
    (service.root / "a").write_bytes(b"old")
    (service.local / "a").write_bytes(os.urandom(9 << 20))
    seen: list[bytes] = []
    async with service.client() as client:
        await client.put(
            service.local / "a",
            progress=lambda p: seen.append((service.root / "a").read_bytes()[:3]),
        )
    assert set(seen) == {b"old"}
    assert (service.root / "a").read_bytes() == (service.local / "a").read_bytes()


async def test_streams_go_both_ways(service: Service) -> None:
    data = os.urandom(3_000_000)
    sink = io.BytesIO()
    async with service.client() as client:
        receipt = await client.put_from(io.BytesIO(data), "stream")
        assert receipt.digest == digest_of(data)
        await client.get_to("stream", sink)
    assert sink.getvalue() == data


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 5), (3, None), (1_000_000, 500_000), (2_999_999, 10), (3_000_000, None)],
)
async def test_part_of_a_file(service: Service, offset: int, length: int | None) -> None:
    data = os.urandom(3_000_000)
    (service.root / "a").write_bytes(data)
    sink = io.BytesIO()
    async with service.client() as client:
        receipt = await client.get_to("a", sink, offset=offset, length=length)
    wanted = data[offset:] if length is None else data[offset : offset + length]
    assert sink.getvalue() == wanted
    assert receipt.digest == digest_of(wanted)


async def test_progress_is_told_to_the_end(service: Service) -> None:
    (service.root / "a").write_bytes(bytes(9 << 20))
    told: list[Progress] = []
    async with service.client() as client:
        await client.get("a", service.local, progress=told.append)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert told[-1].done == told[-1].total == 9 << 20


async def test_conditions_of_a_put(service: Service) -> None:
    (service.local / "a").write_bytes(b"new")
    (service.root / "a").write_bytes(b"old")
    async with service.client() as client:
        with pytest.raises(AlreadyThere):
            await client.put(service.local / "a", if_absent=True)
        with pytest.raises(ChangedMeanwhile):
            await client.put(service.local / "a", if_match=digest_of(b"other"))
        assert (service.root / "a").read_bytes() == b"old"
        await client.put(service.local / "a", if_match=digest_of(b"old"))
        await client.put(service.local / "a", "b", if_absent=True)
    assert (service.root / "a").read_bytes() == (service.root / "b").read_bytes() == b"new"


async def test_errors_leave_the_client_usable(service: Service) -> None:
    (service.root / "folder").mkdir()
    (service.local / "big").write_bytes(bytes(9 << 20))
    async with service.client() as client:
        session = client.hello.session
        with pytest.raises(NotFound):
            await client.get("nothing", service.local)
        with pytest.raises(NotAFile):
            await client.put(service.local / "big", "folder")
        with pytest.raises(NotFound):
            await client.put(service.local / "nothing")
        with pytest.raises(NotAFile):
            await client.put(service.local)
        assert (await client.put(service.local / "big")).size == 9 << 20
        assert client.hello.session == session


async def test_file_that_shrinks_while_it_is_sent_is_reported(service: Service) -> None:
    path = service.root / "a"
    path.write_bytes(bytes(64 << 20))
    shrunk = False

    def shrink(progress: Progress) -> None:
        nonlocal shrunk
        if not shrunk and progress.done:
            shrunk = True
            os.truncate(path, 1000)

    async with service.client() as client:
        with pytest.raises(SourceChanged, match="^a: ") as caught:
            await client.get("a", service.local, progress=shrink)
        assert caught.value.name == "a"
        assert [entry.name for entry in await client.dir()] == ["a"]
    assert not (service.local / "a").exists()


async def test_file_that_changes_while_it_is_put_is_reported(service: Service) -> None:
    path = service.local / "a"
    path.write_bytes(bytes(64 << 20))

    def touch(progress: Progress) -> None:
        if progress.done:
            path.write_bytes(b"other")

    async with service.client() as client:
        with pytest.raises(SourceChanged):
            await client.put(path, progress=touch)
        assert await client.dir() == []


@pytest.mark.parametrize("size", [100, 20 << 20])
@pytest.mark.parametrize("verb", ["put", "put_tree", "get", "get_tree", "get_to", "streams"])
async def test_log_that_grows_is_sent_as_far_as_it_went(
    service: Service, verb: str, size: int
) -> None:
    content = os.urandom(size)
    there, here = service.root / "there", service.local / "here"
    (there if verb.startswith("get") else here).mkdir()
    log = there / "log" if verb.startswith("get") else here / "log"
    log.write_bytes(content)
    sink = io.BytesIO()
    do: dict[str, Callable[[Client], Awaitable[object]]] = {
        "put": lambda client: client.put(log, "copy"),
        "streams": lambda client: client.put(log, "copy", streams=3),
        "put_tree": lambda client: client.put_tree(here, "tree"),
        "get": lambda client: client.get("there/log", service.local / "copy"),
        "get_to": lambda client: client.get_to("there/log", sink),
        "get_tree": lambda client: client.get_tree("there", service.local / "tree"),
    }
    copies = {
        "put_tree": service.root / "tree" / "log",
        "get": service.local / "copy",
        "get_tree": service.local / "tree" / "log",
    }
    async with service.client() as client:
        with growing(log):
            await do[verb](client)
    copy = (
        sink.getvalue()
        if verb == "get_to"
        else copies.get(verb, service.root / "copy").read_bytes()
    )
    assert len(copy) >= size and log.read_bytes().startswith(copy)


@pytest.mark.parametrize("size", [100, 20 << 20])
async def test_log_that_was_begun_anew_is_not_taken_for_one_that_grew(
    service: Service, size: int
) -> None:
    log = service.local / "log"
    log.write_bytes(os.urandom(size))

    def begin_anew(progress: Progress) -> None:
        if progress.done:
            change_first_bytes(log)
            with open(log, "ab") as file:
                file.write(b"more")

    async with service.client() as client:
        if size > AT_ONCE_BYTES:
            with pytest.raises(SourceChanged):
                await client.put(log, progress=begin_anew)
            assert await client.dir() == []
        await client.put(log)
    assert (service.root / "log").read_bytes() == log.read_bytes()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "path", ["/proc/version", "/proc/kallsyms", "/sys/kernel/mm/transparent_hugepage/enabled"]
)
async def test_file_whose_size_is_not_known_is_sent_as_it_is_read(
    service: Service, path: str
) -> None:
    if not Path(path).exists():
        pytest.skip(f"no {path} here")
    async with service.client() as client:
        receipt = await client.put(path, "copy")
    assert (service.root / "copy").read_bytes() == Path(path).read_bytes()
    assert receipt.size == len(Path(path).read_bytes()) > 0


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="needs /sys")
async def test_tree_of_files_whose_size_is_not_known(service: Service) -> None:
    source = Path("/sys/kernel/mm/transparent_hugepage")
    async with service.client() as client:
        await client.put_tree(source, "copy")
    for path in source.iterdir():
        if path.is_file() and os.access(path, os.R_OK):
            assert (service.root / "copy" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("verb", ["put", "put_tree", "get", "get_tree"])
async def test_path_that_cannot_be_is_told_as_such(service: Service, verb: str) -> None:
    (service.root / "a").mkdir()
    async with service.client() as client:
        arguments = ("a\0b", "a") if verb.startswith("put") else ("a", "a\0b")
        with pytest.raises(FtransferError, match=r"a\\x00b: "):
            await getattr(client, verb)(*arguments)


async def test_listing_of_many_names_comes_in_batches(service: Service) -> None:
    # A busy disk takes its time
    await asyncio.to_thread(touch_all, [service.root / f"{number:04}" for number in range(3000)])
    async with service.client() as client:
        batches = [batch async for batch in client.iter_dir()]
        assert len(batches) > 1
        assert len(await client.dir()) == 3000


async def test_listing_left_early_costs_only_the_connection(service: Service) -> None:
    # A busy disk takes its time
    await asyncio.to_thread(touch_all, [service.root / f"{number:04}" for number in range(3000)])
    async with service.client() as client:
        batches = client.iter_dir()
        await anext(batches)
        await batches.aclose()  # type: ignore[attr-defined]  # an async generator in truth
        assert len(await client.dir()) == 3000


async def test_many_clients_at_once(service: Service) -> None:
    data = os.urandom(5 << 20)
    (service.root / "a").write_bytes(data)

    async def one(number: int) -> None:
        async with service.client() as client:
            await client.get("a", service.local / f"{number}")
            await client.put(service.local / f"{number}")

    await asyncio.gather(*(one(number) for number in range(10)))
    assert all((service.root / f"{number}").read_bytes() == data for number in range(10))


async def test_next_client_is_served_after_one_has_left(service: Service) -> None:
    for number in range(1, 4):
        async with service.client() as client:
            assert client.hello.session == number
            assert await client.dir() == []


async def test_read_only_share(tmp_path: Path) -> None:
    async with serve(tmp_path, read_only=True) as service:
        (service.local / "a").write_bytes(b"x")
        async with service.client() as client:
            with pytest.raises(ReadOnly):
                await client.put(service.local / "a")
        assert list(service.root.iterdir()) == []


async def test_any_store_can_stand_behind_a_share(tmp_path: Path) -> None:
    server = await Server.start(Share(MemoryStore()), port=0)
    try:
        async with Service(server, tmp_path, tmp_path).client() as client:
            data = os.urandom(3_000_000)
            await client.put_from(io.BytesIO(data), "a")
            sink = io.BytesIO()
            await client.get_to("a", sink)
            assert sink.getvalue() == data
    finally:
        await server.stop(0)


async def test_ipv6(tmp_path: Path) -> None:
    try:
        server = await Server.start(Share(MemoryStore()), host="::1", port=0)
    except CannotListen:
        pytest.skip("this machine has no IPv6 loopback")
    async with Service(server, tmp_path, tmp_path).client() as client:
        assert await client.dir() == []
    await server.stop(0)


async def test_port_in_use_is_said(service: Service) -> None:
    with pytest.raises(CannotListen, match="port is in use"):
        await Server.start(Share(MemoryStore()), port=service.address[1])


async def test_stop_lets_a_running_transfer_finish_and_ends_idle_sessions(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        (service.root / "a").write_bytes(bytes(64 << 20))
        async with service.client() as idle, service.client() as busy:
            begun = asyncio.Event()
            task = asyncio.create_task(busy.get("a", service.local, progress=lambda p: begun.set()))
            await begun.wait()
            await service.server.stop(grace_s=10)
            assert (await task).size == 64 << 20
            with pytest.raises(ServerStopping):
                await idle.dir()


async def test_stop_cuts_what_does_not_finish_in_time(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=Limits(stall_s=30)) as service, service.peer() as peer:
        await peer.send(b'put "a" {"size":5,"wait":true}\n')
        assert (await peer.frame())[0] == b"M"  # it is under way
        await service.server.stop(grace_s=0.01)
        assert await peer.is_at_end()
        assert [path for path in service.root.rglob("*") if path.is_file()] == []
