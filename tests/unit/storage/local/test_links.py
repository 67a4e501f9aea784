"""Links in a share: inner ones are followed, outer ones are invisible, also while swapped."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import ChangedMeanwhile, FtransferError, NameRefused, NotFound, StoreFailed
from ftransfer.names import ROOT, parse_name
from ftransfer.storage.base import FILE, FOLDER, LINK, Entry, SmallFile, UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.bulk import write_small
from ftransfer.storage.local.links import LinksBelow
from ftransfer.storage.local.resolver import MAX_LINKS, NameResolver, leads_inside
from ftransfer.storage.local.root import Resolver
from ftransfer.storage.local.syscalls import FOLDER_FLAGS, PATH_FLAGS, Kernel

SECRET = b"secret"
ATTEMPTS = 300


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Return a share with a secret beside it: share/d/e/f, share/top, and outside/secret."""
    share = tmp_path / "share"
    (share / "d" / "e").mkdir(parents=True)
    (share / "d" / "e" / "f").write_bytes(b"deep")
    (share / "top").write_bytes(b"top")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    return share


@pytest.fixture(params=["openat2", "walk"])
async def store(request: pytest.FixtureRequest, share: Path) -> AsyncIterator[LocalStore]:
    resolver: Resolver = request.param
    try:
        opened = await LocalStore.open(share, resolver=resolver)
    except StoreFailed:
        pytest.skip("this kernel has no openat2")
    yield opened
    await opened.close()


async def get(store: LocalStore, name: str) -> bytes:
    reader = await store.open_read(parse_name(name))
    try:
        return await reader.read(0, 1 << 20)
    finally:
        await reader.close()


async def get_packed(store: LocalStore, name: str) -> bytes:
    (item,) = await store.read_small([parse_name(name)], 1 << 20)
    if isinstance(item, FtransferError):
        raise item
    assert isinstance(item, SmallFile)
    return bytes(item.data)


async def names(store: LocalStore, *, links: bool = False) -> dict[str, Entry]:
    return {
        entry.name: entry
        async for batch in store.scan(ROOT, recursive=True, links=links)
        for entry in batch
    }


INSIDE = [
    ("link", "top", "link"),
    ("link", "d/e/f", "link"),
    ("link", "./d/./e//f", "link"),
    ("link", "d/e", "link/f"),
    ("link", "d/e/", "link/f"),
    ("d/link", "../top", "d/link"),
    ("d/e/link", "../../top", "d/e/link"),
    ("d/e/link", "../../d/e/../e/f", "d/e/link"),
    ("d/link", "..", "d/link/top"),
    ("d/link", ".", "d/link/e/f"),
]


@pytest.mark.parametrize("get_it", [get, get_packed])
@pytest.mark.parametrize(("link", "target", "name"), INSIDE)
async def test_link_inside_is_followed(
    store: LocalStore,
    share: Path,
    link: str,
    target: str,
    name: str,
    get_it: Callable[[LocalStore, str], Awaitable[bytes]],
) -> None:
    (share / link).symlink_to(target)
    assert await get_it(store, name) in (b"top", b"deep")
    assert (await store.stat(parse_name(name))).kind == FILE


OUTSIDE = [
    ("link", "../outside/secret", "link"),
    ("link", "../outside", "link/secret"),
    ("link", "../share/top", "link"),
    ("link", "d/../../outside/secret", "link"),
    ("d/link", "../../outside/secret", "d/link"),
    ("link", "/etc/passwd", "link"),
    ("link", "missing", "link"),
    ("link", "link", "link"),
    ("link", "top/", "link"),
    ("link", "top/../top", "link"),
    ("link", "/proc/self/cwd", "link"),
]


@pytest.mark.parametrize(("link", "target", "name"), OUTSIDE)
async def test_link_outside_is_not_there(
    store: LocalStore, share: Path, link: str, target: str, name: str
) -> None:
    (share / link).symlink_to(target)
    for get_it in (get, get_packed):
        with pytest.raises(NotFound) as caught:
            await get_it(store, name)
        assert "outside" not in str(caught.value)
    with pytest.raises(NotFound):
        await store.stat(parse_name(name))
    assert link not in await names(store)


async def test_absolute_link_is_refused_though_it_leads_inside(
    store: LocalStore, share: Path
) -> None:
    (share / "link").symlink_to(share / "top")
    with pytest.raises(NotFound):
        await get(store, "link")


@pytest.mark.parametrize(("count", "is_followed"), [(MAX_LINKS, True), (MAX_LINKS + 1, False)])
async def test_chain_of_links_has_a_limit(
    store: LocalStore, share: Path, count: int, is_followed: bool
) -> None:
    for number in range(1, count):
        (share / f"l{number}").symlink_to(f"l{number + 1}")
    (share / f"l{count}").symlink_to("top")
    if is_followed:
        assert await get(store, "l1") == b"top"
    else:
        with pytest.raises(NotFound):
            await get(store, "l1")


async def test_link_into_the_hidden_place_is_not_followed(store: LocalStore, share: Path) -> None:
    writer = await store.open_write(parse_name("up"), UploadSpec(source="s", owner="ann"))
    await writer.write(SECRET)
    (data,) = (share / ".ftransfer" / "partials").glob("*.data")
    (share / "link").symlink_to(".ftransfer/partials")
    (share / "file").symlink_to(f"d/../.ftransfer/partials/{data.name}")
    for name in ("file", f"link/{data.name}"):
        for get_it in (get, get_packed):
            with pytest.raises(NotFound):
                await get_it(store, name)
    with pytest.raises(NotFound):
        await store.open_write(parse_name("link/new"), UploadSpec(size=1))
    await writer.abort()


async def test_listing_without_links_gives_what_they_lead_to(
    store: LocalStore, share: Path
) -> None:
    (share / "to-file").symlink_to("top")
    (share / "to-folder").symlink_to("d")
    (share / "d" / "loop").symlink_to("..")
    found = await names(store)
    assert (found["to-file"].kind, found["to-file"].size) == (FILE, 3)
    assert found["to-folder"].kind == found["d/loop"].kind == FOLDER
    assert list(found) == ["d", "d/e", "d/e/f", "d/loop", "to-file", "to-folder", "top"]


async def test_listing_with_links_gives_their_text_if_it_stays_inside(
    store: LocalStore, share: Path
) -> None:
    (share / "d" / "dangling").symlink_to("../nowhere")
    (share / "d" / "up").symlink_to("../../outside")
    (share / "absolute").symlink_to("/etc")
    found = await names(store, links=True)
    assert (found["d/dangling"].kind, found["d/dangling"].target) == (LINK, "../nowhere")
    assert "d/up" not in found and "absolute" not in found


async def test_folder_reached_by_a_link_can_be_listed_and_written(
    store: LocalStore, share: Path
) -> None:
    (share / "link").symlink_to("d/e")
    batches = [batch async for batch in store.scan(parse_name("link"), recursive=True)]
    assert [entry.name for batch in batches for entry in batch] == ["link/f"]
    results = await store.write_small(
        [SmallFile("link/new/g", FILE, 0, 0o644, b"g", digest_of(b"g"))]
    )
    assert results[0] is None
    assert (share / "d" / "e" / "new" / "g").read_bytes() == b"g"


async def test_put_replaces_the_link_itself(store: LocalStore, share: Path) -> None:
    (share / "link").symlink_to("top")
    (share / "out").symlink_to("../outside/secret")
    for name in ("link", "out"):
        writer = await store.open_write(parse_name(name), UploadSpec(size=3))
        await writer.write(b"new")
        await writer.commit(digest_of(b"new"))
        assert not (share / name).is_symlink()
    assert (share / "top").read_bytes() == b"top"
    assert (share.parent / "outside" / "secret").read_bytes() == SECRET


async def test_remove_and_rename_change_the_link_itself(store: LocalStore, share: Path) -> None:
    (share / "link").symlink_to("d")
    (share / "d" / "out").symlink_to("../../outside")
    await store.rename(parse_name("link"), parse_name("moved"))
    assert os.readlink(share / "moved") == "d"
    assert await store.remove(parse_name("moved"), recursive=True) == 1
    assert await store.remove(parse_name("d"), recursive=True) == 4
    assert (share.parent / "outside" / "secret").exists()


async def test_links_can_be_made_from_a_pack(store: LocalStore, share: Path) -> None:
    results = await store.write_small([SmallFile("d/new", LINK, 10**18, 0o777, target="../top")])
    assert results[0] is None
    assert os.readlink(share / "d" / "new") == "../top"
    assert (share / "d" / "new").lstat().st_mtime_ns == 10**18


LINKED_OUT = [
    [("a/l", "."), ("x", "a/l/../..")],  # where the first leads to itself is not where it stands
    [("x", "a/l/../.."), ("a/l", ".")],
    [("l0", "."), ("x", "l0/l0/../../outside/secret")],
    [("d/e/up", "../.."), ("x", "d/e/up/../outside")],
    [("view", "d"), ("view/x", "../../outside")],  # deeper by its name than it is
    [("deep", "."), ("deep/deep/deep/x", "../../outside")],
]


@pytest.mark.parametrize("links", LINKED_OUT)
async def test_links_that_lead_out_together_are_refused(
    store: LocalStore, share: Path, links: list[tuple[str, str]]
) -> None:
    files = [SmallFile(name, LINK, 0, 0o777, target=target) for name, target in links]
    for files_at_once in (files, *([file] for file in files)):
        results = await store.write_small(files_at_once)
    for error in filter(None, results):
        assert isinstance(error, NameRefused) and "leads outside" in str(error)
    made = [path for path in share.rglob("*") if path.is_symlink()]
    assert len(made) < len(links)
    for path in made:
        assert path.resolve().is_relative_to(share)


async def test_link_through_a_link_that_leads_out_is_refused(
    store: LocalStore, share: Path
) -> None:
    (share / "out").symlink_to("../outside")
    (result,) = await store.write_small([SmallFile("x", LINK, 0, 0o777, target="out/secret")])
    assert isinstance(result, NameRefused) and "leads outside" in str(result)
    # A link that was made for another one might lead on through it
    with pytest.raises(NameRefused, match="leads outside"):
        await store.rename(parse_name("out"), parse_name("other"))


async def test_folder_is_not_moved_to_where_a_link_in_it_leads_out(
    store: LocalStore, share: Path
) -> None:
    (share / "d" / "e" / "g").mkdir()
    (share / "d" / "e" / "g" / "far").symlink_to("../../../top")
    (share / "d" / "e" / "g" / "near").symlink_to("..")
    (share / "d" / "e" / "g" / "stray").symlink_to("/etc")  # somebody's own, and no worse elsewhere
    for old, new in (("d/e/g", "g"), ("d/e", "e"), ("d/e/g", "d/h")):
        with pytest.raises(NameRefused, match="d/e.*the link (g/)?far in it would lead outside"):
            await store.rename(parse_name(old), parse_name(new))
    await store.remove(parse_name("d/e/g/far"))
    await store.rename(parse_name("d/e/g"), parse_name("d/h"))
    await store.rename(parse_name("d/h"), parse_name("d/e/h"))
    assert (share / "d" / "e" / "h" / "near").resolve() == share / "d" / "e"


async def test_link_that_comes_while_a_folder_is_looked_through_is_seen(
    store: LocalStore, share: Path
) -> None:
    look = LinksBelow.go_on
    late = SmallFile("d/e/late", LINK, 0, 0o777, target="../../outside")
    made: list[object] = []

    def go_on(self: LinksBelow) -> bool:
        more = look(self)
        if not made:
            made.append(write_small(store._root, store._staging, [late]))
        return more

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinksBelow, "go_on", go_on)
        with pytest.raises(NameRefused, match="would lead outside"):
            await store.rename(parse_name("d/e"), parse_name("e"))
    assert made == [[None]]


async def test_folder_in_which_links_are_always_made_is_not_moved_up(
    store: LocalStore, share: Path
) -> None:
    look = LinksBelow.go_on

    def go_on(self: LinksBelow) -> bool:
        more = look(self)
        assert write_small(
            store._root, store._staging, [SmallFile("d/e/l", LINK, 0, 0o777, target=".")]
        ) == [None]
        return more

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinksBelow, "go_on", go_on)
        with pytest.raises(ChangedMeanwhile, match="try again"):
            await store.rename(parse_name("d/e"), parse_name("e"))


async def test_deep_tree_is_looked_through(store: LocalStore, share: Path) -> None:
    deep = "d/e" + "/x" * 500
    (result,) = await store.write_small(
        [SmallFile(f"{deep}/far", LINK, 0, 0o777, target="../" * 502 + "top")]
    )
    assert result is None
    with pytest.raises(NameRefused, match="far in it would lead outside"):
        await store.rename(parse_name("d/e"), parse_name("e"))
    await store.rename(parse_name("d/e"), parse_name("d/f"))


async def test_target_folder_is_held_when_a_link_on_the_way_is_swapped(
    store: LocalStore, share: Path
) -> None:
    (share / "view").symlink_to("d")
    writer = await store.open_write(parse_name("view/new"), UploadSpec(size=3))
    (share / "view").unlink()
    (share / "view").symlink_to("../outside")
    await writer.write(b"new")
    await writer.commit(digest_of(b"new"))
    assert (share / "d" / "new").read_bytes() == b"new"
    assert os.listdir(share.parent / "outside") == ["secret"]


class Swapper:
    """A thread that makes `view` lead by turns inside and outside, until told to stop.

    Inside it is a folder, for a moment missing between the turns, or, with `only_links`, a link
    that is replaced in one step.
    """

    def __init__(self, share: Path, *, only_links: bool = False) -> None:
        self._share = share
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._swap_links if only_links else self._swap_folder
        )
        room = share / ("room" if only_links else "view")
        room.mkdir()
        (room / "secret").write_bytes(b"harmless")
        (share / "away").symlink_to("../outside")
        if only_links:
            (share / "view").symlink_to("room")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _swap_folder(self) -> None:
        view, away, other = (self._share / name for name in ("view", "away", "other"))
        while not self._stop.is_set():
            os.rename(view, other)
            os.rename(away, view)
            os.rename(view, away)
            os.rename(other, view)

    def _swap_links(self) -> None:
        while not self._stop.is_set():
            for target in ("../outside", "room"):
                os.symlink(target, self._share / "next")
                os.rename(self._share / "next", self._share / "view")


@pytest.mark.parametrize("get_it", [get, get_packed])
async def test_link_swapped_in_while_reading_never_leads_outside(
    store: LocalStore, share: Path, get_it: Callable[[LocalStore, str], Awaitable[bytes]]
) -> None:
    with Swapper(share):
        for _ in range(ATTEMPTS):
            try:
                assert await get_it(store, "view/secret") == b"harmless"
            except NotFound:
                pass


async def test_link_swapped_in_while_writing_never_leads_outside(
    store: LocalStore, share: Path
) -> None:
    written = 0
    with Swapper(share, only_links=True):
        for number in range(ATTEMPTS):
            (result,) = await store.write_small(
                [SmallFile(f"view/{number}/f", FILE, 0, 0o644, b"x", digest_of(b"x"))]
            )
            written += result is None
            try:
                await store.remove(parse_name("view/secret"))
            except NotFound:
                pass
    assert os.listdir(share.parent / "outside") == ["secret"]
    assert written == len(
        [name for name in os.listdir(share / "room") if (share / "room" / name / "f").exists()]
    )


async def test_link_swapped_in_while_removing_never_leads_outside(
    store: LocalStore, share: Path
) -> None:
    (share.parent / "outside" / "x").mkdir()
    with Swapper(share, only_links=True):
        for _ in range(ATTEMPTS):
            try:
                await store.make_folder(parse_name("view/x/y"), parents=True)
                await store.remove(parse_name("view/x"), recursive=True)
            except NotFound:
                pass
    assert sorted(os.listdir(share.parent / "outside")) == ["secret", "x"]
    assert os.listdir(share.parent / "outside" / "x") == []


@pytest.mark.parametrize("uses_openat2", [True, False])
def test_open_below_goes_through_no_link(share: Path, uses_openat2: bool) -> None:
    (share / "link").symlink_to("d")
    root = os.open(share, FOLDER_FLAGS)
    try:
        resolver = NameResolver(root, Kernel(), uses_openat2=uses_openat2)
        os.close(resolver.open(("link", "e"), PATH_FLAGS))
        for parts in (("link", "e"), ("link",)):
            with pytest.raises(FileNotFoundError):
                resolver.open_below(root, parts, FOLDER_FLAGS)
    finally:
        os.close(root)


def test_walk_goes_back_by_the_handle_it_came_from(share: Path) -> None:
    (share / "d" / "e" / "link").symlink_to("../../top")
    root = os.open(share, FOLDER_FLAGS)
    held = os.open(share / "d", FOLDER_FLAGS)
    try:
        (share / "d").rename(share.parent / "moved-out")
        inside = NameResolver(held, Kernel(), uses_openat2=False)
        # From d, `../..` leads out, although on disk there is something
        with pytest.raises(FileNotFoundError):
            inside.open(("e", "link"), PATH_FLAGS)
    finally:
        os.close(held)
        os.close(root)


@pytest.mark.parametrize(
    ("folder", "target", "is_inside"),
    [
        ((), "a", True),
        (("a",), "../b", True),
        (("a",), "..", True),
        (("a",), "../..", False),
        (("a",), ".././../b", False),
        (("a", "b"), ".././../b", True),
        (("a",), "b/..", False),
        ((), "..", False),
        ((), "/a", False),
        ((), "", False),
        ((), "a/../../b", False),
        ((), "a\0", False),
        ((), "./.FTransfer/x", False),
    ],
)
def test_leads_inside(folder: tuple[str, ...], target: str, is_inside: bool) -> None:
    assert leads_inside(folder, target) is is_inside
