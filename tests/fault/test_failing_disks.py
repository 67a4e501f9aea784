"""A disk that fails while a file is sent: an error of that command, a session that goes on, no made-up byte in what is kept."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ftransfer.client.trees import TreeOptions
from ftransfer.errors import FtransferError, StoreFailed
from ftransfer.limits import Limits
from tests.support.sabotage import Sabotage
from tests.support.service import Service, serve

DATA = bytes(range(256)) * 20_000
CHUNK_BYTES = 1 << 18
READS = {"sendfile", "preadv", "file.read", "pread"}


@pytest.fixture
def sabotage() -> Iterator[Sabotage]:
    made = Sabotage()
    with made.installed():
        yield made


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path, sabotage: Sabotage) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param, limits=Limits(max_chunk_bytes=CHUNK_BYTES)) as service:
        yield service


@pytest.mark.parametrize("fatal", [1, 2, 4])
async def test_get_from_a_disk_that_fails(service: Service, sabotage: Sabotage, fatal: int) -> None:
    (service.root / "f").write_bytes(DATA)
    async with service.client() as client:
        session = client.hello.session
        sabotage.arm(fatal, errno.EIO, only=READS, lasts=True)
        with pytest.raises(StoreFailed, match="disk reports an error"):
            await client.get("f", service.local / "f")
        sabotage.disarm()
        assert not (service.local / "f").exists()
        receipt = await client.get("f", service.local / "f")
        assert client.hello.session == session
    assert (service.local / "f").read_bytes() == DATA
    assert receipt.kept % CHUNK_BYTES == 0


@pytest.mark.parametrize("fatal", [1, 2, 4])
async def test_put_from_a_disk_that_fails(service: Service, sabotage: Sabotage, fatal: int) -> None:
    (service.local / "f").write_bytes(DATA)
    async with service.client() as client:
        sabotage.arm(fatal, errno.EIO, only=READS, lasts=True)
        with pytest.raises(FtransferError, match="disk reports an error"):
            await client.put(service.local / "f")
        sabotage.disarm()
        assert not (service.root / "f").exists()
        await client.put(service.local / "f")
    assert (service.root / "f").read_bytes() == DATA


async def test_file_system_without_sendfile(service: Service, sabotage: Sabotage) -> None:
    (service.root / "f").write_bytes(DATA)
    sabotage.arm(1, errno.EINVAL, only={"sendfile"}, lasts=True)
    async with service.client() as client:
        await client.get("f", service.local / "f")
        await client.put(service.local / "f", "g")
    assert (service.root / "g").read_bytes() == DATA


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("way", ["get", "put"])
async def test_folder_that_cannot_be_listed_removes_nothing_on_the_other_side(
    service: Service, sabotage: Sabotage, number: int, way: str
) -> None:
    for folder in (service.root / "tree", service.local / "tree"):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/f").write_bytes(DATA[:100])
    options = TreeOptions(delete=True)
    async with service.client() as client:
        for call in ("scandir", "syscall"):
            for fatal in range(1, 12):
                sabotage.arm(fatal, number, only={call})
                try:
                    if way == "get":
                        await client.get_tree("tree", service.local / "tree", options=options)
                    else:
                        await client.put_tree(service.local / "tree", "tree", options=options)
                except FtransferError:
                    pass
                sabotage.disarm()
                assert (service.root / "tree/sub/f").exists() and (service.local / "tree/sub/f").exists(), f"{call} {fatal}"
