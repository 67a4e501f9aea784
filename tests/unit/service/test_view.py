"""What a view permits, for users with some rights in some folders, in memory and on disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ftransfer.auth.permissions import ANYONE, Grant, Principal, parse_rights
from ftransfer.digest import digest_of
from ftransfer.errors import AlreadyThere, Forbidden, NameRefused, NotAFolder, NotFound, ReadOnly
from ftransfer.names import ROOT, parse_name, parse_path
from ftransfer.service.share import Share
from ftransfer.service.view import ShareView
from ftransfer.storage.base import FOLDER, LINK, Entry, SmallFile, Store, UploadSpec
from ftransfer.storage.local import LocalStore


@pytest.fixture(name="store")
async def make_store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    for name in (
        "open/a.txt",
        "open/sub/b.txt",
        "secret/key.txt",
        "home/ann/notes.txt",
        "home/bob/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    store = await LocalStore.open(tmp_path, durable=False)
    yield store
    await store.close()


def user(name: str = "ann", /, **rights_of_prefix: str) -> Principal:
    """Make one from prefix=words; "root" is the root, and _ stands for /."""
    grants = (
        Grant(ROOT if key == "root" else parse_path(key.replace("_", "/")), parse_rights(words))
        for key, words in rights_of_prefix.items()
    )
    return Principal(name, tuple(grants))


def view(
    store: Store, principal: Principal, *, read_only: bool = False, drop_box: bool = False
) -> ShareView:
    return Share(store, read_only=read_only, drop_box=drop_box).view_for(principal)


async def listed(
    view: ShareView, path: str = "", *, recursive: bool = True, links: bool = False
) -> list[str]:
    return [
        entry.name
        async for batch in view.scan(path, recursive=recursive, links=links)
        for entry in batch
    ]


async def put(
    view: ShareView, name: str, data: bytes = b"new", announced: UploadSpec | None = None
) -> Entry:
    writer = await view.open_write(name, announced or UploadSpec(size=len(data)))
    await writer.write(data)
    return await writer.commit(digest_of(data))


def small(name: str, data: bytes = b"new") -> SmallFile:
    return SmallFile(name, "file", 0, 0o644, data, digest_of(data))


async def test_anyone_sees_and_does_everything(store: LocalStore) -> None:
    everything = view(store, ANYONE)
    assert len(await listed(everything)) == 11
    await put(everything, "open/a.txt")
    assert await everything.remove("secret", recursive=True) == 2


async def test_listing_leaves_out_what_may_not_be_seen_and_shows_the_way_to_what_may(
    store: LocalStore,
) -> None:
    ann = view(store, user(open="read", home_ann="all"))
    assert await listed(ann) == [
        "home",
        "home/ann",
        "home/ann/notes.txt",
        "open",
        "open/a.txt",
        "open/sub",
        "open/sub/b.txt",
    ]
    assert await listed(ann, "home", recursive=False) == ["home/ann"]


async def test_lines_are_those_of_what_is_listed(store: LocalStore) -> None:
    for principal in (
        ANYONE,
        user(open="read", home_ann="all"),
        user(root="all", secret="none"),
        user(root="get"),
        user(),
    ):
        asked = view(store, principal)
        for path in ("", "home", "open"):
            try:
                expected = [name[len(path) :].lstrip("/") for name in await listed(asked, path)]
            except (NotFound, Forbidden) as error:
                with pytest.raises(type(error)):
                    await anext(asked.lines(path))
                continue
            assert [
                line.split("\0")[0] async for batch in asked.lines(path) for line in batch
            ] == expected


async def test_bounds_of_a_listing_are_checked_as_names(store: LocalStore) -> None:
    with pytest.raises(NameRefused):
        await anext(view(store, ANYONE).scan("", recursive=True, after="../secret"))


async def test_narrow_grant_takes_away(store: LocalStore) -> None:
    ann = view(store, user(root="all", secret="none"))
    assert not [name for name in await listed(ann) if name.startswith("secret")]
    with pytest.raises(NotFound):
        await ann.open_read("secret/key.txt")
    with pytest.raises(NotFound):
        await ann.remove("secret", recursive=True)


@pytest.mark.parametrize(
    "name",
    ["secret", "secret/key.txt", "secret/none.txt", "home/bob", "home/bob/notes.txt", "none"],
)
async def test_hidden_and_missing_are_answered_alike(store: LocalStore, name: str) -> None:
    ann = view(store, user(open="all", home_ann="all"))
    expected = f"{name}: no such file or folder"
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: ann.stat(name),
        lambda: ann.open_read(name),
        lambda: listed(ann, name),
        lambda: put(ann, name),
        lambda: ann.make_folder(name),
        lambda: ann.remove(name, recursive=True),
        lambda: ann.set_attributes(name, mode=0o600),
        lambda: ann.rename(name, "open/x"),
        lambda: ann.rename("open/a.txt", name),
    ]
    for call in calls:
        with pytest.raises(NotFound) as error:
            await call()
        assert (str(error.value), error.value.name) == (expected, name)
    for item in [
        *await ann.read_small([parse_name(name)], 1000),
        *await ann.write_small([small(name)]),
    ]:
        assert isinstance(item, NotFound) and str(item) == expected


async def test_seen_but_not_allowed_is_forbidden_and_says_which_right_is_missing(
    store: LocalStore,
) -> None:
    ann = view(store, user(root="list"))
    with pytest.raises(Forbidden, match="no right to read"):
        await ann.open_read("open/a.txt")
    with pytest.raises(Forbidden, match="no right to write"):
        await put(ann, "open/new")
    with pytest.raises(Forbidden, match="no right to delete"):
        await ann.remove("open/a.txt")


async def test_write_makes_new_files_and_replaces_none(store: LocalStore, tmp_path: Path) -> None:
    ann = view(store, user(root="read,write"))
    await put(ann, "open/new")
    with pytest.raises(AlreadyThere):
        await put(ann, "open/a.txt")
    stored = await ann.write_small([small("open/a.txt"), small("open/newer")])
    assert isinstance(stored[0], AlreadyThere) and stored[1] is None
    assert (tmp_path / "open/a.txt").read_text() == "open/a.txt"


async def test_overwrite_replaces_and_makes_nothing_new(store: LocalStore) -> None:
    ann = view(store, user(root="read,overwrite"))
    await put(ann, "open/a.txt")
    with pytest.raises(Forbidden, match="to replace what is there"):
        await put(ann, "open/new")
    assert isinstance((await ann.write_small([small("open/new")]))[0], Forbidden)


async def test_drop_box_takes_new_names_and_shows_nothing(
    store: LocalStore, tmp_path: Path
) -> None:
    box = view(store, ANYONE, drop_box=True)
    await put(box, "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes() == b"new"
    assert await listed(box) == []
    for name in ("report.pdf", "none.pdf"):
        with pytest.raises(NotFound):
            await box.open_read(name)
        with pytest.raises(NotFound):
            await listed(box, name)


@pytest.mark.parametrize("name", ["open", "open/a.txt", "secret/key.txt"])
async def test_drop_box_answers_any_taken_name_alike(store: LocalStore, name: str) -> None:
    box = view(store, ANYONE, drop_box=True)
    taken = f"{name}: already exists and you may not overwrite it; choose another name"
    for announced in (UploadSpec(), UploadSpec(replaces=await store.stat(parse_name(name)))):
        with pytest.raises(AlreadyThere) as error:
            await put(box, name, announced=announced)
        assert str(error.value) == taken
    with pytest.raises(AlreadyThere) as error:
        await box.open_replaced(name)
    assert str(error.value) == taken
    assert [str(item) for item in await box.write_small([small(name)])] == [taken]


async def test_read_only_share_says_so_to_those_who_could_write(store: LocalStore) -> None:
    anyone, ann = view(store, ANYONE, read_only=True), view(store, user(open="all"), read_only=True)
    for attempt in (
        put(anyone, "x"),
        anyone.remove("open/a.txt"),
        anyone.rename("open/a.txt", "y"),
        anyone.make_folder("z"),
    ):
        with pytest.raises(ReadOnly):
            await attempt
    with pytest.raises(ReadOnly):
        await anyone.clear_partials()
    with pytest.raises(NotFound):
        await put(ann, "secret/x")


async def test_links_lead_nowhere_for_those_who_may_not_go_everywhere(
    store: LocalStore, tmp_path: Path
) -> None:
    os.symlink("../secret/key.txt", tmp_path / "open/way")
    os.symlink("../secret", tmp_path / "open/view")
    assert await view(store, ANYONE).open_read("open/way")
    ann = view(store, user(open="all"))
    for name in ("open/way", "open/view/key.txt"):
        with pytest.raises(NotFound):
            await ann.open_read(name)
    with pytest.raises(NotFound):
        await put(ann, "open/view/x")
    assert (
        await listed(ann, links=True)
        == await listed(ann)
        == ["open", "open/a.txt", "open/sub", "open/sub/b.txt"]
    )
    assert [type(item) for item in await ann.read_small([parse_name("open/way")], 1000)] == [
        NotFound
    ]
    planted = await ann.write_small(
        [SmallFile("open/mine", LINK, 0, 0o777, target="../secret/key.txt")]
    )
    assert isinstance(planted[0], Forbidden)


async def test_moving_needs_the_right_to_read_all_that_is_moved(store: LocalStore) -> None:
    ann = view(store, user(root="all", home_bob="list,delete"))
    with pytest.raises(Forbidden):
        await ann.rename("home/bob/notes.txt", "open/mine")
    with pytest.raises(Forbidden, match="for all below"):
        await ann.rename("home", "open/home")
    with pytest.raises(Forbidden, match="for all below"):
        await view(store, user(root="all", home_bob="read")).remove("home", recursive=True)


async def test_small_files_come_in_order_with_the_refusals_between(store: LocalStore) -> None:
    ann = view(store, user(open="read", home_ann="read"))
    names = ["home", "home/ann/notes.txt", "secret/key.txt", "open/a.txt", "home/bob/notes.txt"]
    items = await ann.read_small([parse_name(name) for name in names], 1000)
    assert [item.name for item in items] == names
    assert [type(item) for item in items] == [SmallFile, SmallFile, NotFound, SmallFile, NotFound]
    assert isinstance(items[0], SmallFile) and items[0].kind == FOLDER


async def test_file_in_the_place_of_a_folder_on_the_way_is_not_given(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "way").write_text("not a folder")
    ann = view(store, user(way_in="read"))
    assert [type(item) for item in await ann.read_small([parse_name("way")], 1000)] == [NotFound]
    with pytest.raises(NotFound):
        await ann.stat("way")
    assert await listed(ann) == []


async def test_users_see_only_their_own_partials(store: LocalStore) -> None:
    for name in ("ann", "bob"):
        writer = await view(store, user(name, root="all")).open_write(
            "open/big", UploadSpec(size=10, source="s")
        )
        assert writer.resumed_bytes == 0
        await writer.write(name.encode())
        await writer.suspend()
    ann = view(store, user("ann", root="all"))
    assert [partial.owner for partial in await ann.partials()] == ["ann"]
    assert [partial.owner for partial in await ann.clear_partials()] == ["ann"]
    assert [partial.owner for partial in await store.partials()] == ["bob"]
    assert await view(store, user("cleo", root="all")).partials() == []


async def keep_part(store: Store, principal: Principal, name: str, source: str) -> None:
    writer = await view(store, principal).open_write(name, UploadSpec(size=10, source=source))
    await writer.write(b"part")
    await writer.suspend()


async def test_those_without_a_name_know_of_each_others_partials_what_their_rights_say(
    store: LocalStore,
) -> None:
    await keep_part(store, ANYONE, "open/mine", "my source")
    await keep_part(store, ANYONE, "open/other", "another source")

    async def seen(
        rights: str, *, clears: bool = False, source: str = "", drop_box: bool = False
    ) -> list[str]:
        one = view(
            store,
            Principal("", (Grant(ROOT, parse_rights(rights)),), is_anonymous=True),
            drop_box=drop_box,
        )
        choose = one.clear_partials if clears else one.partials
        return sorted(partial.name for partial in await choose(source=source))

    for rights, drop_box in (
        ("drop-box", False),
        ("get,write,overwrite,delete", False),
        ("all", True),
    ):
        assert (
            await seen(rights, drop_box=drop_box)
            == await seen(rights, clears=True, drop_box=drop_box)
            == []
        )
        assert await seen(rights, source="my source", drop_box=drop_box) == ["open/mine"]
        assert await seen(rights, source="a guess", drop_box=drop_box) == []
    assert await seen("read,write") == ["open/mine", "open/other"]
    assert await seen("read,write", clears=True) == []
    assert await seen("drop-box", clears=True, source="my source") == ["open/mine"]
    assert await seen("read,delete", clears=True) == ["open/other"]


async def test_a_user_with_a_name_sees_their_own_partials_without_any_right_to_see(
    store: LocalStore,
) -> None:
    ann = user("ann", root="drop-box")
    await keep_part(store, ann, "open/mine", "source")
    assert [partial.name for partial in await view(store, ann).partials()] == ["open/mine"]
    assert [partial.name for partial in await view(store, ann, drop_box=True).clear_partials()] == [
        "open/mine"
    ]


async def test_principal_without_grants_is_shown_an_empty_share(store: LocalStore) -> None:
    nobody = view(store, Principal("nobody", ()))
    assert await listed(nobody) == []
    with pytest.raises(NotFound):
        await nobody.open_read("open/a.txt")


# What is missing.


@pytest.mark.parametrize(
    ("name", "missing", "makes"),
    [
        ("nowhere/x", "nowhere", "nowhere"),
        ("open/q/w/e/x", "open/q", "open/q/w/e"),
        ("open/sub/a b/x", "open/sub/a b", '"open/sub/a b"'),
    ],
)
async def test_refusal_names_the_folder_that_is_missing(
    store: LocalStore, name: str, missing: str, makes: str
) -> None:
    everything = view(store, ANYONE)
    for refused in (
        lambda: put(everything, name),
        lambda: everything.make_folder(name),
        lambda: everything.rename("open/a.txt", name),
    ):
        with pytest.raises(NotFound) as caught:
            await refused()
        assert str(caught.value) == f"{missing}: there is no such folder; mkdir -p {makes} makes it"
        assert caught.value.name == missing


async def test_refusal_names_what_is_missing_itself(store: LocalStore) -> None:
    everything = view(store, ANYONE)
    with pytest.raises(NotFound, match=r"^open/nothing: no such file"):
        await everything.rename("open/nothing", "nowhere/x")
    with pytest.raises(NotAFolder, match=r"^open/a.txt: is not a folder"):
        await put(everything, "open/a.txt/x")


@pytest.mark.parametrize("name", ["box/deep/x", "secret/deep/x", "nowhere/x"])
async def test_missing_folder_is_not_named_to_who_might_not_see_it(
    store: LocalStore, tmp_path: Path, name: str
) -> None:
    (tmp_path / "box").mkdir()
    blind = view(store, user(root="write"))
    with pytest.raises(NotFound) as caught:
        await put(blind, name)
    assert str(caught.value) == f"{name}: no such file or folder"


async def test_deep_name_costs_few_questions(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = view(store, ANYONE)
    asked: list[str] = []
    stat = everything.stat

    async def counted(path: str) -> Entry:
        asked.append(path)
        return await stat(path)

    monkeypatch.setattr(everything, "stat", counted)
    with pytest.raises(NotFound, match="^d: there is no such folder"):
        await everything.make_folder("/".join("d" * 1000))
    assert len(asked) <= 11


async def test_slash_at_the_end_removes_a_folder_only(store: LocalStore, tmp_path: Path) -> None:
    everything = view(store, ANYONE)
    for recursive in (False, True):
        with pytest.raises(NotAFolder, match=r"^open/a.txt: is a file"):
            await everything.remove("open/a.txt/", recursive=recursive)
    assert (tmp_path / "open" / "a.txt").exists()
    assert await everything.remove("open/sub/", recursive=True) == 2
