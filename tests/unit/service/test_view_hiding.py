"""Hidden names through the view: invisible to everybody by any verb, and never lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.auth.permissions import ANYONE, Grant, Principal, parse_rights
from ftransfer.errors import FolderNotEmpty, Forbidden, FtransferError, NotFound
from ftransfer.names import ROOT, parse_name
from ftransfer.service.share import Share
from ftransfer.service.view import ShareView
from ftransfer.storage.base import FOLDER, LINK, SmallFile, Store, UploadSpec
from ftransfer.storage.local import LocalStore
from ftransfer.storage.memory import MemoryStore
from ftransfer.transfer.hidden_names import SECRETS
from ftransfer.transfer.selection import hidden_names
from tests.unit.service.test_view import listed, put, small

TREE = (
    "a.txt",
    ".env",
    "proj/b.txt",
    "proj/.git/config",
    "proj/sub/key.pem",
    "proj/sub/c.txt",
    "place/secret",
    "other/secret",
)
SHOWN = [
    "a.txt",
    "other",
    "other/secret",
    "place",
    "place/secret",
    "proj",
    "proj/b.txt",
    "proj/sub",
    "proj/sub/c.txt",
]
# By folder, so that the slow ways of the view are gone as well.
SOMEBODY = Principal(
    "ann", (Grant(ROOT, parse_rights("all")), Grant(parse_name("nowhere"), parse_rights("read")))
)


@pytest.fixture(params=["memory", "local"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = (
        MemoryStore()
        if request.param == "memory"
        else await LocalStore.open(tmp_path, durable=False)
    )
    whole = Share(store).view_for()
    for name in TREE:
        if "/" in name:
            await whole.make_folder(name.rpartition("/")[0], parents=True)
        await put(whole, name)
    yield store
    await store.close()


@pytest.fixture(params=[ANYONE, SOMEBODY], ids=["anyone", "somebody"])
def view(request: pytest.FixtureRequest, store: Store) -> ShareView:
    return Share(store, hiding=hidden_names(SECRETS)).view_for(request.param)


async def whole(store: Store) -> set[str]:
    return {name for name in await listed(Share(store).view_for()) if name in TREE}


async def test_hidden_names_are_in_no_listing_and_no_tree(view: ShareView) -> None:
    assert await listed(view) == SHOWN
    assert sorted(await listed(view, "proj", recursive=False)) == ["proj/b.txt", "proj/sub"]
    lines = [line.partition("\0")[0] async for group in view.lines("") for line in group]
    assert lines == SHOWN
    tree = [item.name async for group in view.read_tree("", 1 << 20, 100) for item in group]
    assert sorted(tree) == SHOWN


@pytest.mark.parametrize(
    "name", [".env", "proj/.git", "proj/.git/config", "proj/.GIT/config", "proj/sub/key.pem"]
)
async def test_hidden_names_are_not_there_for_any_verb(
    view: ShareView, store: Store, name: str
) -> None:
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: view.stat(name),
        lambda: view.open_read(name),
        lambda: listed(view, name),
        lambda: view.set_attributes(name, mode=0o777),
        lambda: view.remove(name, recursive=True),
        lambda: view.rename(name, "moved"),
    ]
    for verb in verbs:
        with pytest.raises(NotFound):
            await verb()
    items = await view.read_small([parse_name("a.txt"), parse_name(name)], 1 << 20)
    assert [type(item) for item in items] == [SmallFile, NotFound]
    with pytest.raises(NotFound):
        async for _ in view.read_tree(name, 1 << 20, 100):
            pass
    assert await whole(store) == set(TREE)


@pytest.mark.parametrize(
    "name", [".env", ".env.new", "proj/.git/hooks", ".git", "new/.SSH/id", "a.pem"]
)
async def test_nothing_is_stored_under_a_hidden_name(
    view: ShareView, store: Store, name: str
) -> None:
    refused = "hides such names and stores nothing under them"
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: put(view, name),
        lambda: view.make_folder(name, parents=True),
        lambda: view.rename("a.txt", name),
        lambda: view.rename("a.txt", name, replace=True),
        lambda: view.open_replaced(name),
    ]
    for verb in verbs:
        with pytest.raises(Forbidden, match=refused):
            await verb()
    kinds = [
        small(name),
        SmallFile(name, FOLDER, 0, 0o755),
        SmallFile(name, LINK, 0, 0o777, target="a.txt"),
        small("fine"),
    ]
    results = await view.write_small(kinds)
    assert [type(result) for result in results] == [Forbidden, Forbidden, Forbidden, type(None)]
    assert all(refused in str(result) for result in results[:3])
    assert await whole(store) == set(TREE)


async def test_removing_a_tree_leaves_what_is_hidden_in_it_and_says_so(
    view: ShareView, store: Store
) -> None:
    with pytest.raises(
        FolderNotEmpty, match="proj: holds hidden files, which stay; all else in it is removed"
    ):
        await view.remove("proj", recursive=True)
    assert await whole(store) == {
        "a.txt",
        ".env",
        "proj/.git/config",
        "proj/sub/key.pem",
        "place/secret",
        "other/secret",
    }
    with pytest.raises(FolderNotEmpty):
        await view.remove("proj")
    assert await view.remove("place", recursive=True) == 2


async def test_a_folder_is_moved_with_what_is_hidden_in_it(view: ShareView, store: Store) -> None:
    await view.rename("proj", "moved")
    assert "moved/.git/config" in await listed(Share(store).view_for())
    assert "moved/b.txt" in await listed(view)


async def test_a_move_cannot_uncover_what_is_hidden_by_its_place(store: Store) -> None:
    view = Share(store, hiding=hidden_names(["/place/secret"])).view_for()
    assert "place/secret" not in await listed(view) and "other/secret" in await listed(view)
    for old, new in (("place", "moved"), ("other", "place")):
        if new == "place":
            await Share(store).view_for().rename("place", "aside")
        with pytest.raises(
            Forbidden, match="cannot be moved there, because of names that this server hides"
        ):
            await view.rename(old, new)
    await view.rename("other", "moved")
    assert await view.rename("a.txt", "b.txt") == parse_name("b.txt")


async def test_partials_of_hidden_names_are_not_told(store: Store) -> None:
    writer = await Share(store).view_for().open_write(".env.new", UploadSpec(size=10, source="s"))
    await writer.write(b"part")
    await writer.suspend()
    view = Share(store, hiding=hidden_names(SECRETS)).view_for()
    assert await view.partials() == await view.clear_partials() == []
    assert len(await store.partials()) == 1


async def test_a_pattern_with_a_star_shows_a_name_that_another_takes_back(store: Store) -> None:
    view = Share(store, hiding=hidden_names(["*.txt", "!c.txt"])).view_for()
    assert {name for name in await listed(view) if name.endswith(".txt")} == {"proj/sub/c.txt"}


async def refusal(work: Awaitable[object]) -> FtransferError:
    with pytest.raises(FtransferError) as caught:
        await work
    return caught.value


@pytest.fixture
async def linked(tmp_path: Path) -> AsyncIterator[LocalStore]:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for link, target in {
        "to-file": ".env",
        "to-folder": "proj/.git",
        "to-link": "to-file",
        "up": "proj",
        "fine": "a.txt",
    }.items():
        (tmp_path / link).symlink_to(target)
    store = await LocalStore.open(tmp_path, durable=False)
    yield store
    await store.close()


async def test_no_link_leads_to_what_is_hidden(linked: LocalStore) -> None:
    view = Share(linked, hiding=hidden_names(SECRETS)).view_for()
    names = await listed(view)
    assert "fine" in names and not {"to-file", "to-folder", "to-link"} & set(names)
    for name in ("to-file", "to-folder/config", "to-link", "up/.git/config"):
        assert isinstance(await refusal(view.open_read(name)), NotFound)
        assert isinstance((await view.read_small([parse_name(name)], 1000))[0], NotFound)
    assert (await view.open_read("up/b.txt")).entry.size == len("proj/b.txt")
    assert await refusal(put(view, "to-folder/new"))
    results = await view.write_small(
        [
            SmallFile("l", LINK, 0, 0o777, target=".env"),
            SmallFile("m", LINK, 0, 0o777, target="a.txt"),
        ]
    )
    assert results[0] is not None and results[1] is None


async def test_where_a_whole_path_decides_no_link_is_followed(linked: LocalStore) -> None:
    view = Share(linked, hiding=hidden_names(["/proj/sub"])).view_for()
    assert "fine" not in await listed(view)
    for name in ("up/sub/c.txt", "fine"):
        assert isinstance(await refusal(view.open_read(name)), NotFound)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder of several thousand things, one of them hidden."""
    for number in range(3000):
        if number < 350:
            (tmp_path / "big" / f"d{number % 7}" / str(number % 50)).mkdir(
                parents=True, exist_ok=True
            )
        (tmp_path / "big" / f"f{number}").touch()
    (tmp_path / "big" / "d3" / "3" / ".env").touch()
    return tmp_path


async def test_a_large_folder_with_something_hidden_is_emptied_to_the_end(large: Path) -> None:
    store = await LocalStore.open(large, durable=False)
    view = Share(store, hiding=hidden_names(SECRETS)).view_for()
    with pytest.raises(FolderNotEmpty):
        await view.remove("big", recursive=True)
    assert [str(path.relative_to(large)) for path in sorted((large / "big").rglob("*"))] == [
        "big/d3",
        "big/d3/3",
        "big/d3/3/.env",
    ]
    await store.close()
