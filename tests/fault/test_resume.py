"""Interrupted transfers resume by themselves where they stopped, and never mix two versions.

A proxy cuts at an exact byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftransfer.client.retry import NO_RETRY, RetryRules
from ftransfer.digest import digest_of
from ftransfer.errors import (
    Closed,
    DigestMismatch,
    FtransferError,
    SourceChanged,
    Superseded,
    TimedOut,
)
from ftransfer.limits import Limits
from ftransfer.names import SafeName
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.transfer.records import Progress, ProgressCallback
from tests.support.programs import run_program
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service, serve

SIZE = 6 << 20
CONTENT = os.urandom(SIZE)
# Lines, hello, meta, end and the like, of one connection.
OVERHEAD = 4_000
SOON = RetryRules(first_s=0.001, longest_s=0.01, quiet_s=10)
HASTY = Limits(stall_s=1.5, heartbeat_s=0.1)


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


def cut_down(*positions: int) -> list[Faults]:
    return [Faults(down=Fault(cut_at=position)) for position in positions]


def cut_up(*positions: int) -> list[Faults]:
    return [Faults(up=Fault(cut_at=position)) for position in positions]


async def greeting_bytes(service: Service) -> int:
    """Return how many bytes a client receives before it sends anything."""
    async with Proxy(service.address) as proxy, service.client_at(proxy.address):
        return proxy.passages[0].down.passed


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


CUTS: Sequence[Sequence[int]] = [
    (0,),
    (100,),
    (1_000,),
    (1 << 20,),
    (SIZE // 2,),
    (SIZE,),
    (SIZE + 250,),  # in the end frame
    (2 << 20, 1 << 20, 1 << 20),
    (600_000, 100, 0, 2_000_000),
]


@pytest.mark.parametrize("cuts", CUTS, ids=str)
async def test_get_goes_on_where_it_was_cut(service: Service, cuts: Sequence[int]) -> None:
    (service.root / "a").write_bytes(CONTENT)
    # The greeting of the first connection is let through: what cannot be reached at the start is
    # not tried again.
    script = cut_down(max(cuts[0], await greeting_bytes(service) + 1), *cuts[1:])
    async with (
        Proxy(service.address, script) as proxy,
        service.client_at(proxy.address, retry=SOON) as client,
    ):
        receipt = await client.get("a", service.local)
        passed = [passage.down.passed for passage in proxy.passages]
    assert (service.local / "a").read_bytes() == CONTENT
    assert receipt.digest == digest_of(CONTENT) and not receipt.restarted
    assert len(passed) == len(cuts) + 1
    assert sum(passed) < SIZE + len(passed) * OVERHEAD
    assert left_behind(service.local) == ["a"]


@pytest.mark.parametrize("cuts", CUTS, ids=str)
async def test_put_goes_on_where_it_was_cut(service: Service, cuts: Sequence[int]) -> None:
    (service.local / "a").write_bytes(CONTENT)
    script = cut_up(max(cuts[0], 1), *cuts[1:])
    async with (
        Proxy(service.address, script) as proxy,
        service.client_at(proxy.address, retry=SOON) as client,
    ):
        receipt = await client.put(service.local / "a")
        last = proxy.passages[-1]
    assert (service.root / "a").read_bytes() == CONTENT
    assert receipt.digest == digest_of(CONTENT) and not receipt.restarted
    assert len(proxy.passages) == len(cuts) + 1
    # What a session had not read yet when the next one took over is sent again: only the server
    # knows how much that is.
    assert last.up.passed < SIZE - receipt.kept + OVERHEAD
    await service.all_gone()
    assert left_behind(service.root) == ["a"]


async def test_put_whose_receipt_was_lost_is_put_again(service: Service) -> None:
    (service.local / "a").write_bytes(CONTENT)
    async with Proxy(service.address, cut_down(await greeting_bytes(service) + 40)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            receipt = await client.put(service.local / "a")
        assert len(proxy.passages) == 2
    assert receipt.digest == digest_of(CONTENT) and (service.root / "a").read_bytes() == CONTENT


async def test_part_that_the_server_has_is_not_sent_again(service: Service) -> None:
    (service.local / "a").write_bytes(CONTENT)
    async with Proxy(service.address, cut_up(4 << 20)) as proxy:
        async with service.client_at(proxy.address) as client:
            with pytest.raises(FtransferError):
                await client.put(service.local / "a")
        await service.all_gone()  # now it has read all that was delivered
        async with service.client_at(proxy.address) as client:
            receipt = await client.put(service.local / "a")
    assert receipt.kept > (4 << 20) - OVERHEAD
    assert proxy.passages[1].up.passed < SIZE - (4 << 20) + 2 * OVERHEAD
    assert (service.root / "a").read_bytes() == CONTENT


async def test_stream_goes_on_without_a_byte_twice(service: Service) -> None:
    (service.root / "a").write_bytes(CONTENT)
    sink = io.BytesIO()
    async with Proxy(service.address, cut_down(1 << 20, 3 << 20)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            receipt = await client.get_to("a", sink)
        passed = [passage.down.passed for passage in proxy.passages]
    assert sink.getvalue() == CONTENT and receipt.digest == digest_of(CONTENT)
    assert len(passed) == 3 and sum(passed) < SIZE + 3 * OVERHEAD


async def test_part_of_a_file_goes_on_too(service: Service) -> None:
    (service.root / "a").write_bytes(CONTENT)
    async with Proxy(service.address, cut_down(1 << 20)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            await client.get("a", service.local / "b", offset=1000, length=3 << 20)
    assert (service.local / "b").read_bytes() == CONTENT[1000 : 1000 + (3 << 20)]
    assert left_behind(service.local) == ["b"]


# What has changed meanwhile.


def once_lost(change: Callable[[], object]) -> ProgressCallback:
    """Change something when the connection has been lost for the first time."""
    changed = False

    def note(progress: Progress) -> None:
        nonlocal changed
        if progress.phase == "reconnect" and not changed:
            changed = True
            change()

    return note


OTHER = os.urandom(SIZE)


async def test_get_of_a_file_that_changed_meanwhile_starts_afresh(service: Service) -> None:
    path = service.root / "a"
    path.write_bytes(CONTENT)
    async with Proxy(service.address, cut_down(3 << 20)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            receipt = await client.get(
                "a", service.local, progress=once_lost(lambda: path.write_bytes(OTHER))
            )
    assert (service.local / "a").read_bytes() == OTHER
    assert receipt.restarted and receipt.kept == 0
    assert left_behind(service.local) == ["a"]


async def test_stream_of_a_file_that_changed_meanwhile_is_an_error(service: Service) -> None:
    path = service.root / "a"
    path.write_bytes(CONTENT)
    sink = io.BytesIO()
    async with Proxy(service.address, cut_down(3 << 20)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            with pytest.raises(SourceChanged):
                await client.get_to("a", sink, progress=once_lost(lambda: path.write_bytes(OTHER)))
    assert CONTENT.startswith(sink.getvalue())


async def test_put_of_a_file_that_changed_meanwhile_starts_afresh(service: Service) -> None:
    path = service.local / "a"
    path.write_bytes(CONTENT)
    async with (
        Proxy(service.address, cut_up(3 << 20)) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(FtransferError):
            await client.put(path)
        await service.all_gone()
        path.write_bytes(OTHER)
        receipt = await client.put(path)
    assert (service.root / "a").read_bytes() == OTHER
    assert receipt.restarted and receipt.kept == 0
    await service.all_gone()
    assert left_behind(service.root) == ["a"]


async def test_part_of_another_file_of_that_name_is_not_gone_on_with(service: Service) -> None:
    for name, content in (("one", CONTENT), ("two", OTHER)):
        (service.local / name).write_bytes(content)
    async with (
        Proxy(service.address, cut_up(3 << 20)) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(FtransferError):
            await client.put(service.local / "one", "x")
        await service.all_gone()
        await client.put(service.local / "two", "x")
    assert (service.root / "x").read_bytes() == OTHER


# What nobody goes on with.

DAY_S = 86_400


@contextlib.asynccontextmanager
async def part(folder: Path, name: str, *, owner: str = "get") -> AsyncIterator[None]:
    """Be at work on a part; it is kept after the block."""
    store = await LocalStore.open(folder, durable=False)
    try:
        writer = await store.open_write(SafeName((name,)), UploadSpec(source="s", owner=owner))
        await writer.write(b"part")
        yield
        await writer.suspend()
    finally:
        await store.close()


def make_old(folder: Path) -> None:
    for path in (folder / ".ftransfer" / "partials").glob("*.data"):
        os.utime(path, (time.time() - 8 * DAY_S,) * 2)


async def parts(folder: Path) -> list[str]:
    store = await LocalStore.open(folder, durable=False)
    try:
        return sorted(partial.name for partial in await store.partials())
    finally:
        await store.close()


@pytest.mark.parametrize("command", ["get", "get -r", "get *"])
async def test_old_parts_go_when_a_get_into_their_folder_ends_but_none_that_is_in_use(
    service: Service, command: str
) -> None:
    (service.root / "new").write_bytes(b"new")
    async with part(service.local, "upload", owner=""), part(service.local, "old"):
        pass
    async with part(service.local, "in use"):
        make_old(service.local)
        async with part(service.local, "young"):
            pass
        async with service.client() as client:
            if command == "get":
                await client.get("new", service.local)
            elif command == "get -r":
                await client.get_tree("", service.local)
            else:
                await client.get_matching("n*", service.local)
    assert await parts(service.local) == ["in use", "upload", "young"]


async def test_part_that_is_gone_on_with_may_be_old(service: Service) -> None:
    (service.root / "a").write_bytes(CONTENT)
    async with (
        Proxy(service.address, cut_down(4 << 20)) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(Closed):
            await client.get("a", service.local)
        make_old(service.local)
        receipt = await client.get("a", service.local)
    assert receipt.kept > 3 << 20


# A part that does not match: a bit was turned round before the cut.


def spoiled_down(cut_at: int = 4 << 20) -> list[Faults]:
    return [Faults(down=Fault(flip_at=1 << 20, cut_at=cut_at))]


def spoiled_up() -> list[Faults]:
    return [Faults(up=Fault(flip_at=1 << 20, cut_at=4 << 20))]


@pytest.mark.parametrize("streams", [1, 3])
async def test_get_with_a_part_that_does_not_match_starts_afresh(
    service: Service, streams: int
) -> None:
    (service.root / "a").write_bytes(CONTENT)
    async with (
        Proxy(service.address, spoiled_down()) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(Closed):
            await client.get("a", service.local, streams=1)
        receipt = await client.get("a", service.local, streams=streams)
    assert (service.local / "a").read_bytes() == CONTENT
    assert receipt.restarted and receipt.kept == 0
    assert left_behind(service.local) == ["a"]


async def test_get_that_was_cut_after_a_flip_starts_afresh_by_itself(service: Service) -> None:
    (service.root / "a").write_bytes(CONTENT)
    async with (
        Proxy(service.address, spoiled_down()) as proxy,
        service.client_at(proxy.address, retry=SOON) as client,
    ):
        receipt = await client.get("a", service.local)
    assert (service.local / "a").read_bytes() == CONTENT
    assert receipt.restarted and receipt.kept == 0


async def test_put_with_a_part_that_does_not_match_starts_afresh(service: Service) -> None:
    (service.local / "a").write_bytes(CONTENT)
    async with (
        Proxy(service.address, spoiled_up()) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(FtransferError):
            await client.put(service.local / "a")
        await service.all_gone()
        receipt = await client.put(service.local / "a")
    assert (service.root / "a").read_bytes() == CONTENT
    assert receipt.restarted and receipt.kept == 0
    await service.all_gone()
    assert left_behind(service.root) == ["a"]


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_large_files_of_a_tree_start_afresh_too(service: Service, verb: str) -> None:
    here, there = (
        (service.local / "tree", service.root)
        if verb == "put"
        else (service.root, service.local / "tree")
    )
    here.mkdir(exist_ok=True)
    for name, content in (("a", CONTENT), ("b", OTHER)):
        (here / name).write_bytes(content)
    script = spoiled_down() if verb == "get" else spoiled_up()
    async with (
        Proxy(service.address, script) as proxy,
        service.client_at(proxy.address, retry=SOON) as client,
    ):
        report = await (client.get_tree("", there) if verb == "get" else client.put_tree(here))
    assert (report.copied, report.failed) == (2, 0)
    assert {name: (there / name).read_bytes() for name in "ab"} == {"a": CONTENT, "b": OTHER}
    await service.all_gone()
    assert left_behind(there) == ["a", "b"]


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_transfer_from_the_start_that_does_not_match_is_an_error_and_leaves_nothing(
    service: Service, verb: str
) -> None:
    source, target = (
        (service.root, service.local) if verb == "get" else (service.local, service.root)
    )
    (source / "a").write_bytes(CONTENT)
    fault = Fault(flip_at=1 << 20)
    async with Proxy(
        service.address, [Faults(down=fault) if verb == "get" else Faults(up=fault)]
    ) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            with pytest.raises(DigestMismatch):
                await (client.get("a", target) if verb == "get" else client.put(source / "a"))
            assert left_behind(target) == []
            await client.dir()  # it is in step, and goes on
        assert len(proxy.passages) == 1


async def test_what_a_stream_was_given_before_a_cut_is_verified_too(service: Service) -> None:
    (service.root / "a").write_bytes(CONTENT)
    sink = io.BytesIO()
    async with Proxy(service.address, spoiled_down(2 << 20)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            with pytest.raises(DigestMismatch):
                await client.get_to("a", sink, offset=1000)


async def test_part_of_a_file_that_was_cut_after_a_flip_starts_afresh(service: Service) -> None:
    (service.root / "a").write_bytes(CONTENT)
    async with Proxy(service.address, spoiled_down(2 << 20)) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as client:
            receipt = await client.get("a", service.local / "b", offset=1000, length=3 << 20)
    assert (service.local / "b").read_bytes() == CONTENT[1000 : 1000 + (3 << 20)]
    assert receipt.restarted
    assert left_behind(service.local) == ["b"]


# Who may write.


async def test_newer_upload_takes_over_and_the_older_one_can_write_no_more(
    service: Service,
) -> None:
    path = service.local / "a"
    path.write_bytes(CONTENT)
    async with Proxy(service.address, [Faults(up=Fault(stall_at=3 << 20))]) as proxy:
        async with service.client_at(proxy.address, retry=SOON) as older, service.client() as newer:
            first = asyncio.create_task(older.put(path))
            await proxy.passages[0].up.stalled.wait()
            await newer.put(path)
            assert (service.root / "a").read_bytes() == CONTENT
            proxy.release()
            with pytest.raises(Superseded):
                await first
            assert len(proxy.passages) == 1  # it is told, and does not try again
    assert (service.root / "a").read_bytes() == CONTENT
    await service.all_gone()
    assert left_behind(service.root) == ["a"]


# Stalls.


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("verb", ["get", "put"])
async def test_stall_ends_at_its_deadline_and_the_transfer_goes_on(
    tmp_path: Path, verb: str, way: str
) -> None:
    async with serve(tmp_path, limits=HASTY) as service:
        # Content in its middle; else the line of the get, or what answers to that of the put.
        places = {
            "get up": 5,
            "get down": 2 << 20,
            "put up": 2 << 20,
            "put down": await greeting_bytes(service) + 5,
        }
        fault = Fault(stall_at=places[f"{verb} {way}"])
        faults = Faults(up=fault) if way == "up" else Faults(down=fault)
        (service.local / "a").write_bytes(CONTENT)
        (service.root / "b").write_bytes(CONTENT)
        async with Proxy(service.address, [faults]) as proxy:
            async with service.client_at(proxy.address, retry=SOON, limits=HASTY) as client:
                receipt = await (
                    client.put(service.local / "a")
                    if verb == "put"
                    else client.get("b", service.local)
                )
            assert receipt.digest == digest_of(CONTENT)
            assert len(proxy.passages) == 2
        await service.all_gone()
        assert left_behind(service.root) == (["a", "b"] if verb == "put" else ["b"])


async def test_stall_without_retries_is_an_error_in_time(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=HASTY) as service:
        (service.root / "a").write_bytes(CONTENT)
        async with Proxy(service.address, [Faults(down=Fault(stall_at=2 << 20))]) as proxy:
            async with service.client_at(proxy.address, limits=HASTY) as client:
                with pytest.raises(TimedOut):
                    await client.get("a", service.local)


# No retries.


async def test_without_retries_the_first_cut_ends_it_and_the_next_call_goes_on(
    service: Service,
) -> None:
    (service.root / "a").write_bytes(CONTENT)
    async with (
        Proxy(service.address, cut_down(4 << 20)) as proxy,
        service.client_at(proxy.address, retry=NO_RETRY) as client,
    ):
        with pytest.raises(Closed):
            await client.get("a", service.local)
        receipt = await client.get("a", service.local)
        assert receipt.kept > (4 << 20) - OVERHEAD
        assert proxy.passages[1].down.passed < SIZE - (4 << 20) + 2 * OVERHEAD
    assert (service.local / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("command", ["get -r", "put -r", "sync get", "sync put"])
async def test_tree_without_retries_ends_with_code_3_and_else_goes_on_by_itself(
    tmp_path: Path, command: str
) -> None:
    async with serve(tmp_path) as service:
        here, there = service.local / "tree", service.root / "tree"
        script = cut_up(3 << 20, 1 << 20, 2 << 20)
        if "get" in command:
            here, there = there, here
            script = cut_down(3 << 20, 1 << 20)
        here.mkdir()
        (here / "a").write_bytes(CONTENT)
        async with Proxy(service.address, script) as proxy:
            host, port = proxy.address
            lines: dict[str, list[str | int | Path]] = {
                "get -r": ["get", "-r", host, port, "tree"],
                "put -r": ["put", "-r", host, port, here],
                "sync get": ["sync", host, port, "get", "tree", there],
                "sync put": ["sync", host, port, "put", here, "tree"],
            }
            cut = await run_program(*lines[command], "--retries", "0", folder=service.local)
            assert (cut.code, cut.out, cut.err.count("\n")) == (3, b"", 1)
            assert len(proxy.passages) == 1
            await service.all_gone()
            whole = await run_program(*lines[command], folder=service.local)
            assert (whole.code, whole.err) == (0, "")
            assert len(proxy.passages) > 2
        assert (there / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_command_without_retries_ends_with_code_3_and_the_next_one_goes_on(
    tmp_path: Path, verb: str
) -> None:
    async with serve(tmp_path) as service:
        (service.root / "a").write_bytes(CONTENT)
        (service.local / "b").write_bytes(CONTENT)
        script = cut_down(4 << 20) if verb == "get" else cut_up(4 << 20)
        async with Proxy(service.address, script) as proxy:

            async def run(*options: str) -> Any:
                name = "a" if verb == "get" else "b"
                return await run_program(verb, *options, *proxy.address, name, folder=service.local)

            first = await run("--retries", "0")
            assert (first.code, first.out) == (3, b"") and first.err.count("\n") == 1
            await service.all_gone()
            second = await run()
            assert (second.code, second.err) == (0, "")
            assert " resumed from an earlier attempt, verified" in second.text
        assert (
            service.local / "a" if verb == "get" else service.root / "b"
        ).read_bytes() == CONTENT
