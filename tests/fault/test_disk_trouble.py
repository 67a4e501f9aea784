"""Disk trouble end to end: a clear error for the command at both ends, and nothing lost."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import DiskFull, FtransferError, ReadOnly, StoreFailed
from ftransfer.gateways.native.listener import Server
from ftransfer.service.share import Share
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.syscalls import Kernel
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import Service

SIZE = 3 << 20
CONTENT = os.urandom(SIZE)


class FailingKernel(Kernel):
    """An operating system in which the calls in `failing` fail with their errno."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[str, int] = {}

    def _fail(self, call: str) -> None:
        number = self.failing.get(call)
        if number is not None:
            raise OSError(number, os.strerror(number))

    def reserve(self, descriptor: int, offset: int, size: int) -> bool:
        self._fail("reserve")
        return super().reserve(descriptor, offset, size)

    def rename(self, source: str, target: str, source_folder: int, target_folder: int) -> None:
        self._fail("rename")
        super().rename(source, target, source_folder, target_folder)

    def sync_file(self, descriptor: int) -> None:
        self._fail("sync_file")
        super().sync_file(descriptor)

    def open_beneath(
        self, folder: int, path: bytes, flags: int, *, stays_on_mount: bool = False
    ) -> int:
        self._fail("open_beneath")
        return super().open_beneath(folder, path, flags, stays_on_mount=stays_on_mount)


@contextlib.asynccontextmanager
async def serving(
    root: Path, local: Path, kernel: Kernel | None = None, *, direct: bool = True
) -> AsyncIterator[Service]:
    store = await LocalStore.open(root, kernel=kernel)
    server = await Server.start(Share(store), port=0, direct=direct)
    try:
        yield Service(server, root, local, direct)
    finally:
        await server.stop(0)
        await store.close()


@pytest.fixture
def kernel() -> FailingKernel:
    return FailingKernel()


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(
    request: pytest.FixtureRequest, tmp_path: Path, kernel: FailingKernel
) -> AsyncIterator[Service]:
    for name in ("share", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "local" / "a").write_bytes(CONTENT)
    async with serving(
        tmp_path / "share", tmp_path / "local", kernel, direct=request.param
    ) as service:
        yield service


@pytest.mark.parametrize(
    ("call", "number", "kind", "says"),
    [
        ("reserve", errno.ENOSPC, DiskFull, "the disk is full"),
        ("reserve", errno.EDQUOT, DiskFull, "quota"),
        ("sync_file", errno.ENOSPC, DiskFull, "the disk is full"),
        ("sync_file", errno.EIO, StoreFailed, "the disk reports an error"),
        ("rename", errno.EROFS, ReadOnly, "is read-only"),
        ("rename", errno.EXDEV, StoreFailed, "another file system"),
        ("open_beneath", errno.EMFILE, StoreFailed, "too many files are open"),
        ("open_beneath", errno.EIO, StoreFailed, "the disk reports an error"),
    ],
)
async def test_failing_call_fails_that_put_only(
    service: Service,
    kernel: FailingKernel,
    call: str,
    number: int,
    kind: type[FtransferError],
    says: str,
) -> None:
    (service.root / "x").write_bytes(b"old")
    async with service.client() as client:
        session = client.hello.session
        kernel.failing[call] = number
        with pytest.raises(kind, match=f"^x: .*{says}"):
            await client.put(service.local / "a", "x")
        assert (service.root / "x").read_bytes() == b"old"
        kernel.failing.clear()
        assert (await client.put(service.local / "a", "x")).digest == digest_of(CONTENT)
        assert client.hello.session == session
    assert (service.root / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
async def test_failing_call_fails_that_get_only(
    service: Service, kernel: FailingKernel, number: int
) -> None:
    (service.root / "x").write_bytes(CONTENT)
    async with service.client() as client:
        session = client.hello.session
        kernel.failing["open_beneath"] = number
        with pytest.raises(StoreFailed, match="^x: "):
            await client.get("x", service.local)
        with pytest.raises(StoreFailed):
            await client.checksum("x")
        kernel.failing.clear()
        await client.get("x", service.local)
        assert client.hello.session == session
    assert (service.local / "x").read_bytes() == CONTENT


async def test_part_that_is_there_stays_when_the_disk_is_full(
    service: Service, kernel: FailingKernel
) -> None:
    async with (
        Proxy(service.address, [Faults(up=Fault(cut_at=2 << 20))]) as proxy,
        service.client_at(proxy.address) as client,
    ):
        with pytest.raises(FtransferError):
            await client.put(service.local / "a")
        await service.all_gone()
        kernel.failing["reserve"] = errno.ENOSPC
        with pytest.raises(DiskFull):
            await client.put(service.local / "a")
        [partial] = await client.partials()
        assert partial.kept > 1 << 20
        kernel.failing.clear()
        receipt = await client.put(service.local / "a")
        assert receipt.kept == partial.kept
    assert (service.root / "a").read_bytes() == CONTENT


# A disk that is full in truth.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.root
async def test_full_disk_at_the_server(small_disk: Path, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    (local / "fits").write_bytes(CONTENT)
    (local / "large").write_bytes(bytes(20 << 20))
    async with serving(small_disk, local) as service, service.client() as client:
        session = client.hello.session
        with pytest.raises(DiskFull, match="^large: "):  # announced: refused before it comes
            await client.put(local / "large")
        with pytest.raises(DiskFull, match="^stream: "):  # not announced: when it is full
            await client.put_from(io.BytesIO(bytes(20 << 20)), "stream")
        assert [entry.name for entry in await client.dir()] == []
        assert (
            await client.put(local / "fits")
        ).size == SIZE  # nothing of the others takes up room
        assert client.hello.session == session


@pytest.mark.root
async def test_full_disk_at_the_client(small_disk: Path, tmp_path: Path) -> None:
    root = tmp_path / "share"
    root.mkdir()
    (root / "large").write_bytes(bytes(20 << 20))
    (root / "fits").write_bytes(CONTENT)
    async with serving(root, small_disk) as service, service.client() as client:
        with pytest.raises(DiskFull, match="^large: "):
            await client.get("large", small_disk)
        await client.get("fits", small_disk)
    assert (small_disk / "fits").read_bytes() == CONTENT
