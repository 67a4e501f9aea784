"""An interrupted tree is run again: the same command resumes it, and a name counts once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.retry import NO_RETRY, RetryRules
from ftransfer.client.trees.destination import destination_of
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem
from ftransfer.errors import ChannelError, FtransferError, NotFound
from tests.support.programs import run_program, start_program
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service, serve
from tests.support.trees import assert_same, make_tree

SIZE = 4 << 20
TREE = {"a": b"a", "sub/b": b"b", "z": os.urandom(SIZE)}
CUT = Faults(down=Fault(cut_at=SIZE // 2))
STALL = Faults(down=Fault(stall_at=SIZE // 2))
SOON = RetryRules(first_s=0.001, longest_s=0.01, quiet_s=10)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        make_tree(service.root / "x" / "tree", TREE)
        make_tree(service.root / "other", {"c": b"c"})
        yield service


async def cut_get(service: Service, dest: Path, faults: Faults = CUT) -> None:
    async with (
        Proxy(service.address, [faults]) as proxy,
        service.client_at(proxy.address, retry=NO_RETRY) as client,
    ):
        with pytest.raises(ChannelError):
            await client.get_tree("x/tree", dest)


@pytest.mark.parametrize("line", ["get -r x/tree new", "get -r x/tree new/", "get -r x/tree"])
async def test_get_that_was_killed_goes_on_in_the_same_folder(service: Service, line: str) -> None:
    verb, flag, *rest = line.split()
    async with Proxy(service.address, [STALL]) as proxy:
        words: list[str | int] = [verb, flag, *proxy.address, *rest]
        async with start_program(*words, folder=service.local) as killed:
            await proxy.entered.wait()
            await proxy.passages[0].down.stalled.wait()
            killed.process.kill()
            await killed.end()
        again = await run_program(*words, folder=service.local)
    assert (again.code, again.err) == (0, "")
    whole = service.local / (
        "new" if line.endswith("new") else "new/tree" if line.endswith("/") else "tree"
    )
    assert_same(service.root / "x" / "tree", whole)
    assert not (whole / ".ftransfer").exists()


async def test_get_of_the_shell_goes_on_in_the_same_folder(service: Service) -> None:
    await cut_get(service, service.local / "new")
    line = b"get -r x/tree new\n"
    again = await run_program("connect", *service.address, folder=service.local, stdin=line)
    assert (again.code, again.err) == (0, "")
    assert_same(service.root / "x" / "tree", service.local / "new")
    once_more = await run_program("connect", *service.address, folder=service.local, stdin=line)
    assert once_more.code == 0
    assert_same(service.root / "x" / "tree", service.local / "new" / "tree")


@pytest.mark.parametrize("at", [0, 400, SIZE // 2])
async def test_put_that_was_cut_goes_on_in_the_same_folder(service: Service, at: int) -> None:
    make_tree(service.local / "tree", TREE)
    async with Proxy(service.address, [Faults(up=Fault(cut_at=at))]) as proxy:
        words: list[str | int] = ["put", "-r", *proxy.address, "tree", "new"]
        cut = await run_program(*words, "--retries", "0", folder=service.local)
        assert cut.code == 3
        await service.all_gone()
        again = await run_program(*words, folder=service.local)
    assert again.code == 0
    assert_same(service.local / "tree", service.root / "new")


async def test_only_what_is_left_of_a_get_is_done(service: Service) -> None:
    new = service.local / "new"
    await cut_get(service, new)
    items: list[TreeItem] = []
    async with service.client() as client:
        await client.get_tree("x/tree", await destination_of("x/tree", new), on_item=items.append)
    assert [item.name for item in items if item.did == "copied"] == ["z"]
    assert_same(service.root / "x" / "tree", new)


async def test_folder_that_is_made_is_an_ordinary_one_to_every_other_command(
    service: Service,
) -> None:
    new = service.local / "new"
    await cut_get(service, new)
    assert await destination_of("x/tree/", f"{new}") == str(new)
    assert await destination_of("x/tree", f"{new}/") == str(new / "tree")
    assert await destination_of("other", new) == str(new / "other")
    async with service.client() as client:
        await client.put_tree(new, "copy")
        assert {path.name for path in (service.root / "copy").iterdir()} == {"a", "sub"}
        await client.get_tree("other", new, options=TreeOptions(delete=True))
    assert {path.name for path in new.iterdir()} - {".ftransfer"} == {"c"}


async def test_folder_that_was_there_before_is_never_taken_for_one_that_is_made(
    service: Service,
) -> None:
    new = service.local / "new"
    new.mkdir()
    await cut_get(service, new)
    assert await destination_of("x/tree", new) == str(new / "tree")


async def test_refused_get_leaves_no_folder(service: Service) -> None:
    async with service.client() as client:
        for name in ("nothing", "x/tree/a"):
            with pytest.raises(FtransferError):
                await client.get_tree(name, service.local / "deep" / "new")
        with pytest.raises(NotFound):
            await client.get_matching("x/tree/*.nothing", service.local / "deep")
    assert list(service.local.iterdir()) == []


async def test_get_that_was_cut_before_anything_came_leaves_no_folder(service: Service) -> None:
    await cut_get(service, service.local / "new", Faults(up=Fault(cut_at=10)))
    assert list(service.local.iterdir()) == []


async def test_get_with_names_that_failed_is_not_complete(service: Service) -> None:
    new, big = service.local / "new", service.root / "x" / "tree" / "z"
    async with service.client() as client:
        report = await client.get_tree(
            "x/tree", new, on_item=lambda item: big.unlink(missing_ok=True)
        )
        assert report.failed == 1
        assert await destination_of("x/tree", new) == str(new)
        assert (await client.get_tree("x/tree", new)).failed == 0
    assert await destination_of("x/tree", new) == str(new / "tree")
    assert not (new / ".ftransfer").exists()


async def test_cancelled_get_goes_on_in_the_same_folder(service: Service) -> None:
    new = service.local / "new"
    begun = asyncio.Event()
    async with service.client() as client:
        task = asyncio.create_task(client.get_tree("x/tree", new, on_item=lambda item: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await destination_of("x/tree", new) == str(new)


async def test_mark_goes_with_old_parts(service: Service) -> None:
    new = service.local / "new"
    await cut_get(service, new)
    for path in (new / ".ftransfer" / "partials").glob("*.data"):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    async with service.client() as client:
        await client.get("other/c", new)
    assert await destination_of("x/tree", new) == str(new / "tree")
    assert not (new / ".ftransfer").exists()


# A name that fails in each of several attempts.


@pytest.mark.parametrize("verb", ["get", "put"])
async def test_name_that_fails_in_each_attempt_counts_once(service: Service, verb: str) -> None:
    here, there = service.root / "x" / "tree", service.local / "tree"
    make_tree(there, {"a/in the way": b"x"})
    script = [CUT]
    if verb == "put":
        here, there = service.local / "source", service.root / "there"
        make_tree(here, TREE)
        make_tree(there, {"a/in the way": b"x"})
        script = [Faults(up=Fault(cut_at=SIZE // 2))]
    items: list[TreeItem] = []
    async with (
        Proxy(service.address, script) as proxy,
        service.client_at(proxy.address, retry=SOON) as client,
    ):
        if verb == "get":
            report = await client.get_tree("x/tree", there, on_item=items.append)
        else:
            report = await client.put_tree(here, "there", on_item=items.append)
    assert [item.name for item in items if item.did == "failed"] == ["a", "a"]
    assert (report.failed, report.copied) == (1, 2)


async def test_name_that_failed_first_and_was_copied_then_has_not_failed(service: Service) -> None:
    obstacle = service.local / "tree" / "a" / "in the way"
    make_tree(service.local / "tree", {"a/in the way": b"x"})
    async with Proxy(service.address, [STALL]) as proxy:
        async with start_program(
            "get", "-r", *proxy.address, "x/tree", folder=service.local
        ) as running:
            await running.err_until("^ftransfer: a: ")
            await proxy.passages[0].down.stalled.wait()
            obstacle.unlink()
            obstacle.parent.rmdir()
            proxy.cut()
            line = await running.out_line()
            assert await running.end() == 0
    assert line.startswith("received 3 files") and "FAILED" not in line
    assert_same(service.root / "x" / "tree", service.local / "tree")
