"""Every string of special characters as a name, through every verb: nothing outside is reached.

`a` is a link that leads outside, so that what is accepted as a name is tried as a way out, too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError, NameRefused
from ftransfer.names import NameReader, SafeName, parse_name, parse_path
from ftransfer.service.view import ShareView
from ftransfer.storage.base import FILE, FOLDER, LINK, SmallFile, UploadSpec
from tests.support.canary import SECRET, Canary

ALPHABET = (
    ".",
    "..",
    "/",
    "\\",
    "%",
    "%2e",
    "2e",
    "~",
    "a",
    "\0",
    "\udc2e",
    "\udcc0\udcae",
    "/secret",
    "/outside/secret",
)
MORE = (
    "\uff0e",
    "\u2215",
    ":",
    " ",
    "\n",
    "\x7f",
    "-",
    "*",
    "\ud800",
    "C:",
    ".ftransfer",
    "A",
    "folder",
)


def strings(alphabet: tuple[str, ...], longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        for letters in itertools.product(alphabet, repeat=length):
            yield "".join(letters)


def assert_climbs_nowhere(name: SafeName, text: str) -> None:
    """Ask Python's own reading of paths, which shares no code with ours, where the name leads."""
    path = "/".join(name.parts)
    assert "\0" not in path and not path.startswith("/"), repr(text)
    assert os.path.normpath(path or ".") == (path or "."), repr(text)
    assert not (set(name.parts) & {"", ".", ".."}), repr(text)
    raw = os.fsencode(path).split(b"/")
    assert not any(
        part in (b".", b"..") or b"\0" in part or part.lower().startswith(b".ftransfer")
        for part in raw
    ), repr(text)


def check_names(alphabet: tuple[str, ...], longest: int) -> tuple[int, int]:
    tried = taken = 0
    reader = NameReader()
    for text in strings(alphabet, longest):
        for parse in (parse_name, parse_path, reader.parse):
            tried += 1
            try:
                name = parse(text)
            except NameRefused:
                continue
            taken += 1
            assert_climbs_nowhere(name, text)
    return tried, taken


def test_no_string_gives_a_name_that_climbs() -> None:
    tried, taken = check_names(ALPHABET, 3)
    assert tried == 3 * sum(len(ALPHABET) ** length for length in range(4)) and 0 < taken < tried
    check_names(ALPHABET + MORE, 2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_longer_string_gives_a_name_that_climbs(capsys: pytest.CaptureFixture[str]) -> None:
    tried, taken = check_names(ALPHABET, 5)
    with capsys.disabled():
        print(f"\n{tried:,} strings read as names, {taken:,} taken, none of them climbs")  # noqa: T201  # the figures are what the long form is for


# Every way by which a name comes to a store; each gives what was read or listed, as bytes.


async def dir_(view: ShareView, text: str) -> bytes:
    return repr([entry async for batch in view.scan(text, links=True) for entry in batch]).encode()


async def dir_recursive(view: ShareView, text: str) -> bytes:
    return repr(
        [entry async for batch in view.scan(text, recursive=True) for entry in batch]
    ).encode()


async def get(view: ShareView, text: str) -> bytes:
    reader = await view.open_read(text)
    try:
        return await reader.read(0, 1 << 16)
    finally:
        await reader.close()


async def stat(view: ShareView, text: str) -> bytes:
    return b"size %d" % (await view.stat(text)).size


async def mget(view: ShareView, text: str) -> bytes:
    return _content(await view.read_small([parse_name(text)], 1 << 16))


async def mget_tree(view: ShareView, text: str) -> bytes:
    return b"".join([_content(group) async for group in view.read_tree(text, 1 << 16, 16)])


async def put(view: ShareView, text: str) -> bytes:
    writer = await view.open_write(text, UploadSpec(size=3))
    try:
        await writer.write(b"put")
        await writer.commit(digest_of(b"put"))
    finally:
        await writer.abort()
    return b""


async def put_kept(view: ShareView, text: str) -> bytes:
    writer = await view.open_write(text, UploadSpec(size=9, source="s"))
    await writer.write(b"part")
    await writer.suspend()
    return repr(await view.partials(text)).encode()


async def mput(view: ShareView, text: str) -> bytes:
    kinds = (
        SmallFile(text, FILE, 0, 0o600, b"put", digest_of(b"put")),
        SmallFile(text, FOLDER, 0, 0o700),
        SmallFile("link", LINK, 0, 0o777, target=text),
        SmallFile(text, LINK, 0, 0o777, target="../outside"),
    )
    await view.write_small(kinds)
    return b""


async def mkdir(view: ShareView, text: str) -> bytes:
    await view.make_folder(text)
    return b""


async def mkdir_parents(view: ShareView, text: str) -> bytes:
    await view.make_folder(text, parents=True)
    return b""


async def mv_from(view: ShareView, text: str) -> bytes:
    await view.rename(text, "moved", replace=True)
    return b""


async def mv_to(view: ShareView, text: str) -> bytes:
    await view.rename("file", text)
    return b""


async def mv_onto(view: ShareView, text: str) -> bytes:
    await view.rename("file", text, replace=True)
    return b""


async def rm(view: ShareView, text: str) -> bytes:
    await view.remove(text, recursive=True)
    return b""


async def setstat(view: ShareView, text: str) -> bytes:
    await view.set_attributes(text, mtime_ns=1, mode=0o777)
    return b""


async def clear_partials(view: ShareView, text: str) -> bytes:
    return repr(await view.clear_partials(text)).encode()


def _content(items: object) -> bytes:
    assert isinstance(items, list)
    return b"".join(
        bytes(item.data) if isinstance(item, SmallFile) else repr(item).encode() for item in items
    )


WAYS: tuple[Callable[[ShareView, str], Awaitable[bytes]], ...] = (
    *(dir_, dir_recursive, get, stat, mget, mget_tree, put, put_kept, mput),
    *(mkdir, mkdir_parents, mv_from, mv_to, mv_onto, rm, setstat, clear_partials),
)


def set_out(share: Path) -> None:
    """Put back what an attempt may have moved or removed."""
    file, link = share / "file", share / "a"
    if not file.exists():
        file.write_bytes(b"inside")
    if not link.is_symlink():
        if link.is_dir():
            link.rename(share / f"was{len(os.listdir(share))}")
        link.unlink(missing_ok=True)
        link.symlink_to("../outside")


async def attempt(
    way: Callable[[ShareView, str], Awaitable[bytes]], view: ShareView, text: str
) -> bool:
    try:
        found = await way(view, text)
    except FtransferError as error:
        found = str(error).encode("utf-8", "backslashreplace")
        assert SECRET not in found
        return False
    assert SECRET not in found and b"size %d" % len(SECRET) not in found, (way.__name__, text)
    return True


async def through_all(
    view: ShareView,
    share: Path,
    outside: Canary,
    way: Callable[[ShareView, str], Awaitable[bytes]],
    longest: int,
) -> int:
    count = 0
    for text in strings(ALPHABET, longest):
        set_out(share)
        await attempt(way, view, text)
        count += 1
        if count % 100 == 0:
            outside.check(f"{way.__name__} of the strings up to {text!r}")
    outside.check(way.__name__)
    return count


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_no_string_reaches_outside(
    view: ShareView,
    tmp_path: Path,
    outside: Canary,
    way: Callable[[ShareView, str], Awaitable[bytes]],
) -> None:
    await through_all(view, tmp_path / "share", outside, way, 2)
    for text in (
        f"{tmp_path}/outside/secret",
        "a/secret",
        "a/folder/secret",
        "./a/secret",
        "a/../outside/secret",
        "a/folder",
        "a",
    ):
        set_out(tmp_path / "share")
        await attempt(way, view, text)
        outside.check(f"{way.__name__} of {text!r}")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_no_longer_string_reaches_outside(
    view: ShareView,
    tmp_path: Path,
    outside: Canary,
    way: Callable[[ShareView, str], Awaitable[bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = await through_all(view, tmp_path / "share", outside, way, 3)
    with capsys.disabled():
        print(f" {way.__name__}: {count:,} strings", end="")  # noqa: T201  # the figures are what the long form is for
