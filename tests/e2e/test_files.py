"""Looking after files, from the library against the real server."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from ftransfer.client.address import Address
from ftransfer.client.connector import open_session
from ftransfer.client.request_window import request_many
from ftransfer.client.session import ClientSession
from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    Closed,
    DigestMismatch,
    FolderNotEmpty,
    FtransferError,
    LineTooLong,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
    ReadOnly,
)
from ftransfer.gateways.native.listener import Server
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.names import parse_name
from ftransfer.service.audit import Audit
from ftransfer.service.share import Share
from ftransfer.storage.base import FILE, FOLDER
from ftransfer.storage.local import LocalStore
from ftransfer.storage.memory import MemoryStore
from tests.support.service import Service, serve

ODD_NAMES = ["plain", "with blank", '"quoted"', "line\nfeed", "射频", "-r", "bytes \udcff.dat"]
OLD_NS = 1_600_000_000_123_456_789


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
async def test_each_command_with_any_name(service: Service, name: str) -> None:
    async with service.client() as client:
        await client.mkdir(name)
        assert (await client.stat(name)).kind == FOLDER
        (service.root / name / name).write_bytes(b"content")
        inner, moved = f"{name}/{name}", f"{name}/moved {name}"
        assert (await client.checksum(inner)).digest == digest_of(b"content")
        await client.rename(inner, moved)
        await client.set_attributes(moved, mtime_ns=OLD_NS, mode=0o600)
        entry = await client.stat(moved)
        assert (entry.name, entry.kind, entry.size, entry.mtime_ns, entry.mode) == (
            moved,
            FILE,
            7,
            OLD_NS,
            0o600,
        )
        assert await client.remove(moved) == 1
        assert await client.remove(name) == 1
    assert list(service.root.iterdir()) == []


async def test_stat_gives_the_identity_that_a_get_gives(service: Service) -> None:
    (service.root / "a").write_bytes(b"one")
    async with service.client() as client:
        before = await client.stat("a")
        async with service.peer() as peer:
            await peer.send(b"get a\n")
            assert (await peer.json())[1]["identity"] == before.identity
        (service.root / "a").write_bytes(b"other")
        assert (await client.stat("a")).identity != before.identity


async def test_stat_of_the_share_itself(service: Service) -> None:
    async with service.client() as client:
        for name in ("", ".", "/"):
            assert (await client.stat(name)).kind == FOLDER


async def test_mkdir_with_parents_is_content_with_what_is_there(service: Service) -> None:
    async with service.client() as client:
        with pytest.raises(NotFound):
            await client.mkdir("a/b/c")
        await client.mkdir("a/b/c", parents=True)
        await client.mkdir("a/b/c", parents=True)
        with pytest.raises(AlreadyThere):
            await client.mkdir("a/b/c/")
        (service.root / "file").touch()
        with pytest.raises(NotAFolder):
            await client.mkdir("file/x", parents=True)
    assert (service.root / "a/b/c").is_dir()


async def test_rename_replaces_only_on_demand(service: Service) -> None:
    (service.root / "a").write_bytes(b"new")
    (service.root / "b").write_bytes(b"old")
    async with service.client() as client:
        with pytest.raises(AlreadyThere):
            await client.rename("a", "b")
        assert (service.root / "b").read_bytes() == b"old"
        await client.rename("a", "b", replace=True)
        assert (service.root / "b").read_bytes() == b"new"
        with pytest.raises(NotFound):
            await client.rename("a", "c")
        with pytest.raises(NotFound):
            await client.rename("b", "no/such/folder")


async def test_remove_takes_content_only_on_demand(service: Service) -> None:
    (service.root / "a/b").mkdir(parents=True)
    (service.root / "a/b/c").touch()
    async with service.client() as client:
        with pytest.raises(FolderNotEmpty):
            await client.remove("a")
        assert await client.remove("a", recursive=True) == 3
        with pytest.raises(NotFound):
            await client.remove("a")
    assert list(service.root.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "/etc", "a//b", ".ftransfer", "nul\0"], ids=ascii)
async def test_bad_names_are_refused_by_the_server_too(service: Service, name: str) -> None:
    session = await open_session(Address(*service.address), DEFAULT_LIMITS)
    try:
        attempts: list[tuple[str, dict[str, Any]]] = [
            ("stat", {}),
            ("checksum", {}),
            ("mkdir", {}),
            ("mv", {"to": "x"}),
            ("rm", {"recursive": True}),
            ("setstat", {"mode": 0}),
            ("partials", {}),
        ]
        for verb, options in attempts:
            with pytest.raises(NameRefused):
                await session.request(verb, name, options)
        (service.root / "there").touch()
        with pytest.raises(NameRefused):
            await session.request("mv", "there", {"to": name})
    finally:
        await session.close()
    assert (service.root / "there").exists()


async def test_the_share_itself_stays(service: Service) -> None:
    async with service.client() as client:
        with pytest.raises(NameRefused):
            await client.remove("", recursive=True)
        with pytest.raises(NameRefused):
            await client.rename("", "x")
        with pytest.raises(AlreadyThere):
            await client.mkdir("/")


async def test_read_only_share_refuses_every_change(tmp_path: Path) -> None:
    async with serve(tmp_path, read_only=True) as service:
        (service.root / "a").write_bytes(b"x")
        mode = (service.root / "a").stat().st_mode
        async with service.client() as client:
            for change in (
                client.mkdir("b"),
                client.rename("a", "b"),
                client.remove("a"),
                client.set_attributes("a", mode=0o600),
                client.clear_partials(),
            ):
                with pytest.raises(ReadOnly):
                    await change
            assert (await client.checksum("a")).size == 1
            assert await client.partials() == []
        assert [path.name for path in service.root.iterdir()] == ["a"]
        assert (service.root / "a").stat().st_mode == mode


async def test_checksum_of_what_is_no_file(service: Service) -> None:
    (service.root / "folder").mkdir()
    async with service.client() as client:
        with pytest.raises(NotAFile):
            await client.checksum("folder")
        with pytest.raises(NotFound):
            await client.checksum("nothing")


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1, 9 << 20])
async def test_checksum_of_any_size(service: Service, size: int) -> None:
    data = os.urandom(size)
    (service.root / "a").write_bytes(data)
    async with service.client() as client:
        found = await client.checksum("a")
    assert (found.name, found.size, found.digest) == ("a", size, digest_of(data))


async def test_known_digest_is_not_computed_again(service: Service) -> None:
    """A wrong digest, said to be known, shows who believes in it; and for how long."""
    path = service.root / "a"
    content = b"content " * 200_000  # too much to be sent in one go
    path.write_bytes(content)
    store = await LocalStore.open(service.root, durable=False)
    service.server.service.digests.cache.read(
        await store.stat(parse_name("a")), digest_of(b"other"), 2**62
    )
    await store.close()
    async with service.client() as client:
        assert (await client.checksum("a")).digest == digest_of(b"other")
        with pytest.raises(DigestMismatch):
            await client.get("a", service.local)
        assert (await client.get_to("a", io.BytesIO(), offset=1)).digest == digest_of(content[1:])
        about = path.stat()
        path.write_bytes(content.upper())
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        assert (await client.checksum("a")).digest == digest_of(content.upper())
        assert (await client.get("a", service.local)).digest == digest_of(content.upper())


async def test_put_makes_the_digest_known(service: Service) -> None:
    (service.local / "a").write_bytes(b"content")
    os.utime(service.local / "a", ns=(OLD_NS, OLD_NS))
    async with service.client() as client:
        await client.put(service.local / "a")
    assert len(service.server.service.digests.cache) == 1


async def test_digest_of_what_was_just_written_is_not_remembered(service: Service) -> None:
    (service.root / "a").write_bytes(b"content")
    async with service.client() as client:
        await client.get("a", service.local)
        await client.checksum("a")
    assert len(service.server.service.digests.cache) == 0


async def test_partials_are_listed_and_cleared(service: Service) -> None:
    async with service.client() as client:
        assert await client.partials() == []
        for name in ("a", "folder/b"):
            (service.root / "folder").mkdir(exist_ok=True)
            await leave_partial(service, name)
        found = await client.partials()
        assert [(partial.name, partial.kept, partial.size) for partial in found] == [
            ("a", 4, 10),
            ("folder/b", 4, 10),
        ]
        assert [partial.name for partial in await client.partials("folder")] == ["folder/b"]
        assert await client.partials(older_s=3600) == []
        assert await client.clear_partials(older_s=3600) == []
        assert [partial.name for partial in await client.clear_partials("folder/")] == ["folder/b"]
        assert [partial.name for partial in await client.clear_partials()] == ["a"]
        assert await client.partials() == []


async def test_partial_that_is_being_written_is_not_cleared(service: Service) -> None:
    async with service.client() as client, service.peer() as peer:
        await peer.send(b'put "a" {"size": 10, "source": "s", "wait": true}\n')
        assert (await peer.frame())[0] == b"M"
        assert await client.clear_partials() == []


async def leave_partial(service: Service, name: str) -> None:
    """Cut a put of ten bytes off after four."""
    async with service.peer() as peer:
        await peer.send(f'put "{name}" {{"size": 10, "source": "s", "wait": true}}\n'.encode())
        assert (await peer.frame())[0] == b"M"
        # The frame before an error may have been filled up, and is not kept.
        await peer.send(
            b"D\0\0\0\4abcd" + b"D\0\0\0\1e" + b'X\0\0\0\x1f{"code":"aborted","message":""}'
        )
        assert await peer.error() == "aborted"


async def test_any_store_can_be_looked_after(tmp_path: Path) -> None:
    server = await Server.start(Share(MemoryStore()), port=0)
    try:
        async with Service(server, tmp_path, tmp_path).client() as client:
            await client.mkdir("a/b", parents=True)
            (tmp_path / "file").write_bytes(b"x")
            await client.put(tmp_path / "file", "a/b/")
            assert (await client.checksum("a/b/file")).digest == digest_of(b"x")
            assert await client.remove("a", recursive=True) == 3
    finally:
        await server.stop(0)


# Commands sent ahead.


async def session_with(service: Service, limits: Limits = DEFAULT_LIMITS) -> ClientSession:
    return await open_session(Address(*service.address), limits, direct=service.direct)


async def outcomes(
    session: ClientSession, commands: list[tuple[str, str, dict[str, Any]]]
) -> list[Any]:
    return [outcome async for outcome in request_many(session, commands)]


async def test_many_commands_are_answered_in_order(service: Service) -> None:
    session = await session_with(service)
    names = [f"{number:04}" for number in range(1000)]
    made = await outcomes(session, [("mkdir", name, {}) for name in names])
    assert [values["name"] for values in made] == names
    assert await session.request("rm", names[0]) == {"removed": 1}
    await session.close()


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257])
async def test_windows_of_commands_around_their_size(service: Service, count: int) -> None:
    session = await session_with(service)
    assert len(await outcomes(session, [("stat", "/", {})] * count)) == count
    await session.close()


async def test_error_of_one_command_does_not_end_the_others(service: Service) -> None:
    session = await session_with(service)
    commands: list[tuple[str, str, dict[str, Any]]] = [
        ("mkdir", "a", {}),
        ("mkdir", "a", {}),
        ("stat", "x" * 70_000, {}),
        ("rm", "a", {}),
        ("rm", "a", {}),
    ]
    found = await outcomes(session, commands)
    assert [
        type(outcome) if isinstance(outcome, FtransferError) else outcome for outcome in found
    ] == [
        {"name": "a"},
        AlreadyThere,
        LineTooLong,
        {"removed": 1},
        NotFound,
    ]
    assert session.is_between_commands
    await session.close()


async def test_long_lines_and_long_answers_do_not_block_each_other(service: Service) -> None:
    name = "/".join(["\udcff" * 200] * 20)  # each line and each answer 24 kB
    session = await session_with(service)
    found = await outcomes(session, [("stat", name, {})] * 400)
    assert {type(outcome) for outcome in found} == {NotFound} and len(found) == 400
    await session.close()


async def test_commands_left_unanswered_cost_the_connection(service: Service) -> None:
    session = await session_with(service)
    async with aclosing(request_many(session, [("stat", "/", {})] * 100)) as answers:
        assert isinstance(await anext(answers), dict)
    assert session.is_over


async def test_end_of_the_connection_ends_the_commands(service: Service) -> None:
    session = await session_with(service)
    with pytest.raises(Closed):
        await outcomes(session, [("stat", "/", {}), ("close", "", {}), ("stat", "/", {})])
    assert session.is_over


async def test_no_line_is_sent_that_is_longer_than_the_server_takes(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, limits=Limits(max_line_bytes=300)) as service,
        service.client() as client,
    ):
        await client.dir()
        with pytest.raises(LineTooLong, match="300 bytes"):
            await client.stat(f"{'x' * 147}/{'x' * 148}")
        with pytest.raises(NotFound):
            await client.stat(f"{'x' * 147}/{'x' * 147}")
        # Over the same connection
        assert [native.session.number for native in service.server.sessions] == [1]


async def test_lists_of_names_fit_into_what_the_server_takes(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, limits=Limits(max_json_bytes=4_096)) as service,
        service.client() as client,
    ):
        (service.local / "tree").mkdir()
        (service.local / "tree" / "not empty").touch()  # so that files are asked for by name
        for number in range(300):
            (service.root / f"{number:050}").write_bytes(b"x")
        report = await client.get_tree("", service.local / "tree")
    assert (report.copied, report.failed) == (300, 0)


async def test_every_change_stands_in_the_record(tmp_path: Path) -> None:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "file").write_bytes(b"content")
    async with serve(tmp_path, audit=audit) as service, service.client() as client:
        await client.mkdir("folder")
        await client.put(tmp_path / "local" / "file", "folder/a")
        await client.set_attributes("folder/a", mode=0o600)
        await client.rename("folder/a", "b")
        await leave_partial(service, "cut")
        assert [partial.name for partial in await client.clear_partials()] == ["cut"]
        await client.remove("folder", recursive=True)
    assert audit.flush(5)
    audit.close()
    records = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    keys = ("event", "name", "to", "bytes")
    assert [tuple(record[key] for key in keys if key in record) for record in records] == [
        ("mkdir", "folder"),
        ("put", "folder/a", 7),
        ("setstat", "folder/a"),
        ("mv", "folder/a", "b"),
        ("put", "cut", 5),  # what came before it broke off
        ("partials", "cut", 4),
        ("rm", "folder"),
    ]
