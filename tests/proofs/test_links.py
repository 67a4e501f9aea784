"""Hard links, the links of /proc, and mounts below the folder: what is served, what is not."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ftransfer.auth.permissions import ANYONE
from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError, NameRefused, NotFound, StoreFailed
from ftransfer.service.share import Share
from ftransfer.service.view import ShareView
from ftransfer.storage.base import FILE, LINK, SmallFile, UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.root import Resolver
from tests.support.canary import SECRET, Canary, canary


@pytest.fixture(params=["openat2", "walk"])
def resolver(request: pytest.FixtureRequest) -> Resolver:
    chosen: Resolver = request.param
    return chosen


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Canary]:
    (tmp_path / "share").mkdir()
    with canary(tmp_path / "outside") as made:
        yield made


@asynccontextmanager
async def door_of(folder: Path | str, resolver: Resolver) -> AsyncIterator[ShareView]:
    try:
        store = await LocalStore.open(folder, durable=False, resolver=resolver)
    except StoreFailed:
        pytest.skip("this kernel has no openat2")
    share = Share(store)
    try:
        yield share.view_for(ANYONE)
    finally:
        await share.close()


async def get(view: ShareView, name: str) -> bytes:
    reader = await view.open_read(name)
    try:
        return await reader.read(0, 1 << 16)
    finally:
        await reader.close()


async def put(view: ShareView, name: str, content: bytes) -> None:
    writer = await view.open_write(name, UploadSpec(size=len(content)))
    await writer.write(content)
    await writer.commit(digest_of(content))


async def test_put_and_rm_of_a_hard_link_leave_the_other_name_alone(
    tmp_path: Path, resolver: Resolver
) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "other").write_bytes(b"both")
    for name in ("put", "mput", "rm", "mv"):
        os.link(tmp_path / "other", tmp_path / "share" / name)
    async with door_of(tmp_path / "share", resolver) as view:
        assert await get(view, "put") == b"both"  # its owner has put it into the share by this name
        await put(view, "put", b"new")
        await view.write_small([SmallFile("mput", FILE, 0, 0o600, b"new", digest_of(b"new"))])
        await view.remove("rm")
        await put(view, "onto", b"new")
        await view.rename("onto", "mv", replace=True)
        assert await get(view, "put") == await get(view, "mput") == await get(view, "mv") == b"new"
    assert (tmp_path / "other").read_bytes() == b"both" and (
        tmp_path / "other"
    ).stat().st_nlink == 1


async def test_client_cannot_make_a_hard_link_nor_a_link_that_leads_out(
    tmp_path: Path, outside: Canary, resolver: Resolver
) -> None:
    targets = (
        "../outside/secret",
        "/etc/passwd",
        f"{outside.folder}/secret",
        "a/../../outside",
        ".ftransfer",
        "/proc/self/root",
        "",
    )
    async with door_of(tmp_path / "share", resolver) as view:
        for target in targets:
            (result,) = await view.write_small([SmallFile("link", LINK, 0, 0o777, target=target)])
            assert isinstance(result, FtransferError), target
    assert not os.path.lexists(tmp_path / "share" / "link")


async def test_link_is_not_moved_to_where_it_would_lead_out(
    tmp_path: Path, outside: Canary, resolver: Resolver
) -> None:
    (tmp_path / "share" / "deep" / "er").mkdir(parents=True)
    async with door_of(tmp_path / "share", resolver) as view:
        (made,) = await view.write_small(
            [SmallFile("deep/er/link", LINK, 0, 0o777, target="../../outside/secret")]
        )
        assert not isinstance(made, FtransferError)  # there it leads to share/outside/secret
        for old, new in (("deep/er/link", "deep/link"), ("deep/er", "er")):
            with pytest.raises(NameRefused, match="lead.* outside"):
                await view.rename(old, new)
        with pytest.raises(NotFound):
            await get(view, "deep/er/link")
    assert os.readlink(tmp_path / "share" / "deep" / "er" / "link") == "../../outside/secret"


LED_BY_PROC = [
    *(
        "cwd",
        "cwd/etc/passwd",
        "root",
        "root/etc/passwd",
        "exe",
        "fd/0",
        "fd/1",
        "task/self/root",
        "ns/mnt",
        "ns/net",
    ),
    *("map_files", "root/proc/self/root/etc/passwd", "cwd/.", "fd"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_links_of_proc_lead_nowhere(tmp_path: Path, resolver: Resolver) -> None:
    """The folder of a process has links without names: to its files, root and working folder."""
    handle = os.open("/etc/passwd", os.O_RDONLY)
    try:
        async with door_of(f"/proc/{os.getpid()}", resolver) as view:
            for name in (*LED_BY_PROC, f"fd/{handle}", f"task/{os.getpid()}/root/etc/passwd"):
                with pytest.raises(FtransferError):
                    await get(view, name)
            assert b"Umask" in await get(view, "status")  # what is no link is served
            listed = {
                entry.name: entry async for batch in view.scan("", links=False) for entry in batch
            }
        assert not {"cwd", "root", "exe"} & set(listed)
    finally:
        os.close(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_share_with_a_link_into_proc(
    tmp_path: Path, outside: Canary, resolver: Resolver
) -> None:
    for name, target in (
        ("root", "/proc/self/root"),
        ("cwd", "/proc/self/cwd"),
        ("fd", "/proc/self/fd"),
        ("self", "/proc/self"),
    ):
        (tmp_path / "share" / name).symlink_to(target)
    async with door_of(tmp_path / "share", resolver) as view:
        for name in (
            "root",
            "root/etc/passwd",
            "cwd/pyproject.toml",
            "fd/0",
            "self/environ",
            "self/root/etc/passwd",
        ):
            with pytest.raises(NotFound):
                await get(view, name)
        assert [
            entry async for batch in view.scan("", recursive=True, links=True) for entry in batch
        ] == []


_MOUNTS = """
import asyncio, os, sys
from pathlib import Path
from tests.proofs.test_links import inside_mounts, mount
base = Path(sys.argv[1])
mount("none", "/", None, 0x44000)  # private, so that nothing of this is seen elsewhere
mount(str(base / "mounted"), str(base / "share" / "disk"), None, 0x1000)
mount("tmpfs", str(base / "share" / "other"), "tmpfs", 0)
asyncio.run(inside_mounts(base, sys.argv[2]))
"""


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    kind_bytes = kind.encode() if kind else None
    if libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


async def inside_mounts(base: Path, resolver: Resolver) -> None:
    """Rules for folders mounted below the share; run in a mount namespace of its own."""
    # Within the mounted folder it would lead to base/outside
    (base / "share" / "disk" / "up").symlink_to("../outside/secret")
    (base / "share" / "disk" / "in").symlink_to("../file")
    async with door_of(base / "share", resolver) as view:
        assert await get(view, "disk/file") == b"mounted"  # its owner has mounted it there
        # By the names of the share, not of where the folder comes from
        assert await get(view, "disk/in") == b"inside"
        for name in ("disk/up", "disk/folder/up"):
            try:
                await get(view, name)
            except NotFound:
                continue
            raise AssertionError(name)
        try:
            await put(view, "other/new", b"new")
        except StoreFailed as error:
            assert "another file system" in str(error)
        else:
            raise AssertionError("put onto another file system")
        try:
            await view.remove("disk", recursive=True)
        except FtransferError:
            pass
        assert await get(view, "file") == b"inside"


@pytest.mark.root
@pytest.mark.skipif(sys.platform != "linux", reason="needs mount namespaces")
def test_mounts_below_the_folder(tmp_path: Path, resolver: Resolver) -> None:
    for folder in ("share/disk", "share/other", "mounted/folder"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "share" / "file").write_bytes(b"inside")
    (tmp_path / "mounted" / "file").write_bytes(b"mounted")
    (tmp_path / "mounted" / "folder" / "up").symlink_to("../../outside/secret")
    with canary(tmp_path / "outside"):
        program = [sys.executable, "-c", _MOUNTS, str(tmp_path), resolver]
        done = subprocess.run(
            ["unshare", "--mount", *program],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            timeout=15,
        )
    if b"unshare failed" in done.stderr:
        pytest.skip("this system lets nobody make a mount namespace")
    assert done.returncode == 0, done.stderr.decode()
    assert SECRET not in done.stdout
