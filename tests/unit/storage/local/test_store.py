"""What is specific to files on a disk: kinds, attributes, names as bytes, the shared folder."""

from __future__ import annotations

import os
import re
import resource
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    Forbidden,
    FtransferError,
    NotAFile,
    NotAFolder,
    NotFound,
    SourceChanged,
    StoreFailed,
)
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.storage.base import FILE, THING_BYTES, Entry, SmallFile, UploadSpec, Usage
from ftransfer.storage.capabilities import supports_threads
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.own_files import open_own_file

MTIME = 1_700_000_000_123_456_789


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    opened = await LocalStore.open(tmp_path)
    yield opened
    await opened.close()


async def put(
    store: LocalStore,
    name: str,
    data: bytes = b"content",
    *,
    mode: int | None = None,
    mtime_ns: int | None = None,
) -> Entry:
    writer = await store.open_write(
        parse_name(name), UploadSpec(size=len(data), mode=mode, mtime_ns=mtime_ns)
    )
    await writer.write(data)
    return await writer.commit(digest_of(data))


async def names(store: LocalStore, *, recursive: bool = True) -> list[str]:
    return [entry.name async for batch in store.scan(ROOT, recursive=recursive) for entry in batch]


# Only regular files.


@pytest.fixture(params=["fifo", "socket", "device", "link to fifo"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Make something that is neither file nor folder; return its name."""
    path = tmp_path / "special"
    match request.param:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            # By a relative name in its folder: the whole path may be longer than a socket's address
            # can be.
            with socket.socket(socket.AF_UNIX) as bound:
                folder = os.open(tmp_path, os.O_RDONLY)
                try:
                    bound.bind(f"/proc/self/fd/{folder}/special")
                except OSError:
                    pytest.skip("no socket can be made here")
                finally:
                    os.close(folder)
        case "device":
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            except PermissionError:
                pytest.skip("only root makes devices")
        case _:
            os.mkfifo(tmp_path / ".fifo")
            path.symlink_to(".fifo")
    return path.name


async def test_special_file_is_neither_listed_nor_opened(store: LocalStore, special: str) -> None:
    assert await names(store) == await names(store, recursive=False) == []
    with pytest.raises(NotAFile):
        await store.open_read(parse_name(special))
    with pytest.raises(NotAFile):
        await store.stat(parse_name(special))
    with pytest.raises(NotAFile):
        await store.set_attributes(parse_name(special), mode=0o600)
    (item,) = await store.read_small([parse_name(special)], 100)
    assert isinstance(item, NotAFile)


@pytest.mark.parametrize("is_small", [True, False])
async def test_special_file_is_not_replaced_moved_or_removed(
    store: LocalStore, tmp_path: Path, is_small: bool
) -> None:
    os.mkfifo(tmp_path / "fifo")
    if is_small:
        (result,) = await store.write_small(
            [SmallFile("fifo", FILE, 0, 0o644, b"x", digest_of(b"x"))]
        )
        assert isinstance(result, NotAFile)
    else:
        with pytest.raises(NotAFile):
            await put(store, "fifo")
    with pytest.raises(NotAFile):
        await store.remove(parse_name("fifo"))
    with pytest.raises(NotAFile):
        await store.rename(parse_name("fifo"), parse_name("x"))
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


async def test_fifo_that_somebody_writes_to_is_left_alone(
    store: LocalStore, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    both = os.open(tmp_path / "fifo", os.O_RDWR | os.O_NONBLOCK)
    os.write(both, b"for somebody else")
    try:
        with pytest.raises(NotAFile):
            await store.open_read(parse_name("fifo"))
        assert os.read(both, 100) == b"for somebody else"
    finally:
        os.close(both)


# Attributes.


@pytest.mark.parametrize("is_small", [True, False])
@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, 0o600), (0o777, 0o777), (0o6755, 0o755), (0o444, 0o444), (0, 0)]
)
async def test_mode_is_exactly_as_announced_without_setuid(
    store: LocalStore, tmp_path: Path, mode: int, expected: int, is_small: bool
) -> None:
    if is_small:
        await store.write_small([SmallFile("f", FILE, 0, mode, b"", digest_of(b""))])
    else:
        await put(store, "f", mode=mode)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == expected


async def test_mode_not_announced_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store = await LocalStore.open(tmp_path)
    finally:
        os.umask(before)
    assert (await put(store, "f")).mode == 0o640
    await store.close()


@pytest.mark.parametrize("mtime_ns", [0, 1, MTIME, -1_500_000_001])
async def test_mtime_is_kept_to_the_nanosecond(
    store: LocalStore, tmp_path: Path, mtime_ns: int
) -> None:
    assert (await put(store, "f", mtime_ns=mtime_ns)).mtime_ns == mtime_ns
    await store.write_small([SmallFile("g", FILE, mtime_ns, 0o644, b"", digest_of(b""))])
    assert (tmp_path / "g").stat().st_mtime_ns == mtime_ns


@pytest.mark.parametrize("mtime_ns", [1 << 70, -(1 << 70)])
async def test_mtime_beyond_the_range_is_brought_into_it(store: LocalStore, mtime_ns: int) -> None:
    entry = await put(store, "f", mtime_ns=mtime_ns)
    (result,) = await store.write_small(
        [SmallFile("g", FILE, mtime_ns, 0o644, b"", digest_of(b""))]
    )
    await store.set_attributes(parse_name("f"), mtime_ns=mtime_ns)
    assert abs(entry.mtime_ns) < 1 << 63
    assert result is None


# Names.


async def test_names_that_are_not_utf8_go_both_ways(store: LocalStore, tmp_path: Path) -> None:
    raw = b"caf\xe9\xff"
    name = os.fsdecode(raw)
    await put(store, name)
    await store.write_small([SmallFile(f"{name}.d/{name}", FILE, 0, 0o644, b"", digest_of(b""))])
    assert raw in os.listdir(os.fsencode(tmp_path))
    assert await names(store) == [name, f"{name}.d", f"{name}.d/{name}"]
    assert (await store.stat(parse_name(name))).name == name
    writer = await store.open_write(parse_name(name), UploadSpec(source="s"))
    await writer.write(b"x")
    await writer.suspend()
    assert [partial.name for partial in await store.partials()] == [name]


async def test_names_that_could_not_be_asked_for_are_not_listed(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / ".ftransfer-old").mkdir()
    (tmp_path / ".FTRANSFER").write_bytes(b"")
    (tmp_path / "ok").write_bytes(b"")
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(17):  # 17 * 251 bytes are more than a name can have
        os.mkdir("d" * 250, dir_fd=handle)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    found = await names(store)
    assert "ok" in found and len(found) == 17
    assert all(parse_name(name) for name in found)
    assert await store.remove(parse_name("d" * 250), recursive=True) == 17


async def test_deep_tree_needs_few_descriptors(store: LocalStore) -> None:
    deep = "/".join(["d"] * 500)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        await store.make_folder(parse_name(deep), parents=True)
        await put(store, f"{deep}/f")
        assert len(await names(store)) == 501
        assert await store.usage() == Usage(500 * THING_BYTES + 7, 501)
        assert await store.remove(parse_name("d"), recursive=True) == 501
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_part_too_long_for_the_file_system(store: LocalStore) -> None:
    name = SafeName(("x" * 256,))
    with pytest.raises(FtransferError) as caught:
        await store.stat(name)
    assert caught.value.code == "bad_name"


# Reading while others write.


async def test_file_written_in_place_with_its_mtime_set_back_is_found(
    store: LocalStore, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    os.utime(path, ns=(MTIME, MTIME))
    reader = await store.open_read(parse_name("f"))
    await reader.check()
    tick = tmp_path / "tick"
    tick.write_bytes(b"")
    # The clock of some file systems ticks slowly
    while tick.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        tick.write_bytes(b"")
    path.write_bytes(b"two")
    os.utime(path, ns=(MTIME, MTIME))
    with pytest.raises(SourceChanged):
        await reader.check()
    await reader.close()


async def test_chmod_and_unlink_do_not_count_as_change(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    reader = await store.open_read(parse_name("f"))
    (tmp_path / "f").chmod(0o600)
    await reader.check()
    (tmp_path / "f").unlink()
    await reader.check()
    await reader.close()


@pytest.mark.parametrize(("size", "is_held"), [(0, False), (1, True), (1000, True), (1001, False)])
async def test_small_file_is_read_as_it_is_opened(
    store: LocalStore, tmp_path: Path, size: int, is_held: bool
) -> None:
    (tmp_path / "f").write_bytes(bytes(size))
    before = len(os.listdir("/proc/self/fd"))
    reader = await store.open_whole(parse_name("f"), 1000)
    assert (len(os.listdir("/proc/self/fd")) == before) == is_held
    assert supports_threads(reader) == (not is_held)
    assert await reader.read(0, 2000) == bytes(size)
    await reader.close()


async def test_small_file_that_changes_while_it_is_read(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    os.utime(path, ns=(MTIME, MTIME))
    read = os.read

    def overtaken(handle: int, size: int) -> bytes:
        path.write_bytes(b"two")
        return read(handle, size)

    monkeypatch.setattr(os, "read", overtaken)
    with pytest.raises(SourceChanged):
        await store.open_whole(parse_name("f"), 1000)


# The folder itself.


@pytest.mark.parametrize(
    ("name", "kind"), [("missing", NotFound), ("file", NotAFolder), ("nul\0", StoreFailed)]
)
async def test_root_that_cannot_be_shared(
    tmp_path: Path, name: str, kind: type[FtransferError]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    given = f"{tmp_path}/{name}"
    with pytest.raises(kind, match=re.escape(str(tmp_path))):
        await LocalStore.open(given)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_root_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(Forbidden, match="closed"):
        await LocalStore.open(tmp_path / "closed")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_folder_that_may_not_be_written_to_is_said_before_the_content_comes(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir(mode=0o555)
    with pytest.raises(Forbidden):
        await store.open_write(parse_name("d/f"), UploadSpec(size=1))
    (result,) = await store.write_small([SmallFile("d/f", FILE, 0, 0o644, b"", digest_of(b""))])
    assert isinstance(result, Forbidden)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_folder_that_may_not_be_read_is_left_out(store: LocalStore, tmp_path: Path) -> None:
    for name, mode in (("a", 0o755), ("b", 0), ("c", 0o755)):
        (tmp_path / name).mkdir(mode=mode)
    assert await names(store) == ["a", "c"]
    with pytest.raises(Forbidden):
        [batch async for batch in store.scan(parse_name("b"))]


async def test_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    store = await LocalStore.open(tmp_path / "link")
    await put(store, "f")
    await store.close()
    assert os.listdir(tmp_path / "real") == ["f"]


async def test_closed_store_says_so(tmp_path: Path) -> None:
    store = await LocalStore.open(tmp_path)
    await put(store, "f")
    reader = await store.open_read(parse_name("f"))
    await store.close()
    await store.close()
    with pytest.raises(StoreFailed):
        await store.stat(ROOT)
    with pytest.raises(StoreFailed):
        await reader.read(0, 1)
    await reader.close()


# A single file to send.


async def test_open_file_reads_any_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    reader = await open_own_file(tmp_path / "link")
    assert (reader.entry.name, reader.entry.size) == (str(tmp_path / "link"), 10)
    assert await reader.read(3, 4) == b"3456"
    await reader.check()
    await reader.close()
    await reader.close()


@pytest.mark.parametrize(
    ("name", "kind"), [("missing", NotFound), ("folder", NotAFile), ("fifo", NotAFile)]
)
async def test_open_file_refuses_what_is_no_file(
    tmp_path: Path, name: str, kind: type[FtransferError]
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(kind, match=re.escape(f"{tmp_path}/{name}: ")):
        await open_own_file(tmp_path / name)
