"""A disk that fails in a transfer: an error of that command, a live session, no invented byte."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.errors import FtransferError, StoreFailed
from ftransfer.limits import Limits
from ftransfer.transport.base import PeerTransport
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
async def service(
    request: pytest.FixtureRequest, tmp_path: Path, sabotage: Sabotage
) -> AsyncIterator[Service]:
    async with serve(
        tmp_path, direct=request.param, limits=Limits(max_chunk_bytes=CHUNK_BYTES)
    ) as service:
        yield service


@pytest.mark.parametrize("fatal", [1, 2, 4])
async def test_get_from_a_disk_that_fails(service: Service, sabotage: Sabotage, fatal: int) -> None:
    (service.root / "f").write_bytes(DATA)
    async with service.client() as client:
        session = client.hello.session
        with (
            sabotage.failing(fatal, errno.EIO, only=READS, lasts=True),
            pytest.raises(StoreFailed, match="disk reports an error"),
        ):
            await client.get("f", service.local / "f")
        assert not (service.local / "f").exists()
        receipt = await client.get("f", service.local / "f")
        assert client.hello.session == session
    assert (service.local / "f").read_bytes() == DATA
    assert receipt.kept % CHUNK_BYTES == 0


@pytest.mark.parametrize("fatal", [1, 2, 4])
async def test_put_from_a_disk_that_fails(service: Service, sabotage: Sabotage, fatal: int) -> None:
    (service.local / "f").write_bytes(DATA)
    async with service.client() as client:
        with (
            sabotage.failing(fatal, errno.EIO, only=READS, lasts=True),
            pytest.raises(FtransferError, match="disk reports an error"),
        ):
            await client.put(service.local / "f")
        assert not (service.root / "f").exists()
        await client.put(service.local / "f")
    assert (service.root / "f").read_bytes() == DATA


async def test_file_system_without_sendfile(
    tmp_path: Path, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path) as service, service.client() as client:
        (service.local / "f").write_bytes(DATA)
        os.utime(service.local / "f", ns=(1, 1))
        # Whose digest is known from then on: nobody has to look at the content
        await client.put(service.local / "f")
        # To this machine it is copied in any case
        monkeypatch.setattr(PeerTransport, "is_local", False)
        with sabotage.failing(1, errno.EINVAL, only={"sendfile"}, lasts=True):
            await client.get("f", service.local / "g")
        assert sabotage.hit == "sendfile"
        assert (service.local / "g").read_bytes() == DATA


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
        for calls in ({"scandir", "listdir"}, {"syscall"}):
            for failing in sabotage.each_call(number, only=calls):
                with contextlib.suppress(FtransferError), failing:
                    if way == "get":
                        await client.get_tree("tree", service.local / "tree", options=options)
                    else:
                        await client.put_tree(service.local / "tree", "tree", options=options)
                assert (service.root / "tree/sub/f").exists() and (
                    service.local / "tree/sub/f"
                ).exists(), calls
