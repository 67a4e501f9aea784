"""Random pairs of trees: a sync makes them equal, a dry run predicts it, a second run is idle."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ftransfer.client.client import Client
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.report import TreeItem, TreeReport
from ftransfer.transfer.selection import selection
from tests.support.service import serve
from tests.support.trees import picture

PARTS = ["a", "b", "c.tmp", "d"]
FILE, FOLDER, LINK_IN, LINK_OUT, LINK_FOLDER, FIFO = (
    "file",
    "folder",
    "link in",
    "link out",
    "link to folder",
    "fifo",
)
EXCLUDE = ["*.tmp"]

Tree = Mapping[str, tuple[str, int]]  # name to kind, and what content and time are made of

names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)
kinds = st.sampled_from([FILE, FILE, FILE, FOLDER, LINK_IN, LINK_OUT, LINK_FOLDER, FIFO])
trees = st.dictionaries(names, st.tuples(kinds, st.integers(0, 2)), max_size=7)
plain_trees = st.dictionaries(
    names, st.tuples(st.sampled_from([FILE, FILE, FOLDER]), st.integers(0, 2)), max_size=7
)
option_sets = st.builds(
    lambda delete, links, checksum, excludes: TreeOptions(
        delete=delete,
        links=links,
        checksum=checksum,
        wanted=selection(exclude=EXCLUDE if excludes else ()),
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def make(root: Path, tree: Tree) -> None:
    """Make a tree, as far as its names can be beside each other."""
    root.mkdir(parents=True)
    for name, (kind, number) in sorted(tree.items()):
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "file":
                    path.write_bytes(b"x" * (number + 1))
                    os.utime(path, ns=(10**18 + number, 10**18 + number))
                case "folder":
                    path.mkdir(exist_ok=True)
                case "fifo":
                    os.mkfifo(path)
                case _:
                    up = "../" * name.count("/")
                    path.symlink_to(
                        {LINK_IN: f"{up}a", LINK_OUT: "/nothing/there", LINK_FOLDER: f"{up}b"}[kind]
                    )
        except OSError:  # another kind of thing is in the way, or a link leads round in a circle
            continue
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            os.utime(path, ns=(10**18, 10**18))


Sync = Callable[[Client, TreeOptions], Awaitable[tuple[TreeReport, list[TreeItem]]]]


async def both_ways(
    source: Tree, there: Tree, check: Callable[[Path, Path, Client, Sync], Awaitable[None]]
) -> None:
    """Have two trees, and a sync from the one to the other, once in each direction."""
    for direction in ("put", "get"):
        folder = Path(tempfile.mkdtemp())
        try:
            async with serve(folder, watcher=None) as service, service.client() as client:
                here, other = service.local / "tree", service.root / "tree"
                roots = (here, other) if direction == "put" else (other, here)
                make(roots[0], source)
                make(roots[1], there)

                async def sync(
                    client: Client, options: TreeOptions
                ) -> tuple[TreeReport, list[TreeItem]]:
                    items: list[TreeItem] = []
                    if direction == "put":  # noqa: B023  # called before the next turn
                        put = partial(client.put_tree, here, "tree")  # noqa: B023  # as above
                        return await put(options=options, on_item=items.append), items
                    get = partial(client.get_tree, "tree", here)  # noqa: B023  # as above
                    return await get(options=options, on_item=items.append), items

                await check(*roots, client, sync)
        finally:
            shutil.rmtree(folder)


def told(items: list[TreeItem]) -> Counter[tuple[str, str]]:
    return Counter((item.name, item.did) for item in items)


# Each is four or six commands with a server of their own.
FEW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.timeout(120)
@FEW
@given(trees, trees, option_sets)
@example(
    {"a": (FILE, 1)},
    {"a/b": (FILE, 1), "a/c.tmp": (FILE, 1)},
    TreeOptions(delete=True, wanted=selection(exclude=EXCLUDE)),
)
@example({"a/b": (FILE, 1)}, {"a": (FILE, 1)}, TreeOptions())
@example(
    {"a": (FILE, 1), "d/a": (FILE, 1)},
    {"a": (FILE, 1), "d/a": (FILE, 1)},
    TreeOptions(checksum=True),
)
@example({"a/b": (FILE, 1)}, {"a": (LINK_FOLDER, 1), "b": (FOLDER, 1)}, TreeOptions(delete=True))
# The link leads nowhere, and then to the folder that the run makes.
@example({"a/b": (FILE, 1), "b": (FILE, 1)}, {"b": (LINK_IN, 1)}, TreeOptions())
# The link leads outside until the file has come.
@example({"a": (FILE, 1), "b": (LINK_IN, 1)}, {"a": (LINK_OUT, 1)}, TreeOptions(links=True))
# What it leads to stays a link that leads outside.
@example({"a/b": (FILE, 1), "b": (LINK_IN, 1)}, {"a": (LINK_OUT, 1)}, TreeOptions(links=True))
def test_dry_run_tells_what_the_run_does_and_a_second_run_does_nothing(
    source: Tree, there: Tree, options: TreeOptions
) -> None:
    async def check(one: Path, other: Path, client: Client, sync: Sync) -> None:
        before = picture(other)
        dry, dry_items = await sync(client, options._replace(dry_run=True))
        assert picture(other) == before
        run, items = await sync(client, options)
        # A dry run does not follow the links of the destination, so it does not know these.
        refused = refused_links(one, other, dry_items) if options.links else set()
        expected = [
            item._replace(did="failed") if item.name in refused else item for item in dry_items
        ]
        assert told(expected) == told(items)
        assert dry._replace(
            seconds=0,
            dry_run=False,
            links=dry.links - len(refused),
            failed=dry.failed + len(refused),
        ) == run._replace(seconds=0)
        if any(about[0] == "link" for about in before.values()):
            return  # what a link there leads to may be another thing by now
        again, again_items = await sync(client, options)
        assert told(again_items) == {
            pair: 1 for pair in told(items) if pair[1] in ("left out", "kept", "failed")
        }
        assert again.unchanged >= run.unchanged

    asyncio.run(both_ways(source, there, check))


@pytest.mark.timeout(120)
@FEW
@given(plain_trees, plain_trees)
def test_with_delete_the_one_becomes_the_other(source: Tree, there: Tree) -> None:
    async def check(one: Path, other: Path, client: Client, sync: Sync) -> None:
        report, _ = await sync(client, TreeOptions(delete=True))
        assert report.is_complete
        assert picture(one) == picture(other)

    asyncio.run(both_ways(source, there, check))


@pytest.mark.timeout(120)
@FEW
@given(trees, trees, option_sets)
def test_no_name_is_lost_that_was_not_to_go(
    source: Tree, there: Tree, options: TreeOptions
) -> None:
    async def check(one: Path, other: Path, client: Client, sync: Sync) -> None:
        given_source, before = picture(one), picture(other)
        report, _ = await sync(client, options)
        after = picture(other)
        assert picture(one) == given_source
        for name, about in before.items():
            if not options.wanted(name, about[0] == "dir") or about[0] == "special":
                assert after.get(name, ())[:2] == about[:2] or about[0] == "dir", (
                    f"{name} takes no part"
                )
                assert name in after
            elif (
                name not in given_source
                and not options.delete
                and not any(is_above(other_name, name) for other_name in given_source)
            ):
                assert after.get(name, ())[:2] == about[:2] or about[0] == "dir", (
                    f"{name} was not to be removed"
                )
                assert name in after
        left_out = [
            name
            for name in given_source
            if is_left_out(one / name, given_source[name], links=options.links)
        ]
        for name in left_out:
            for old in before:
                if (old == name or is_above(name, old)) and options.wanted(name, False):
                    assert old in after, f"{old} has the name of something that was left out"
        if options.delete and report.is_complete:
            kept = {
                name for name, about in after.items() if options.wanted(name, about[0] == "dir")
            }
            assert kept <= {*given_source, *unseen(before)}

    asyncio.run(both_ways(source, there, check))


def refused_links(one: Path, other: Path, items: list[TreeItem]) -> set[str]:
    """Return the links that would lead outside: to what is such a link in the destination."""
    return {
        item.name
        for item in items
        if item.did == "linked"
        for target in [os.path.join(other / Path(item.name).parent, os.readlink(one / item.name))]
        if not Path(os.path.realpath(target)).is_relative_to(os.path.realpath(other))
    }


def is_above(name: str, below: str) -> bool:
    return below.startswith(f"{name}/")


def is_left_out(path: Path, about: tuple[object, ...], *, links: bool) -> bool:
    if about[0] == "special":
        return True
    if about[0] != "link":
        return False
    return str(about[1]).startswith("/") or (
        not links and (not path.exists() or path.is_dir() or not path.is_file())
    )


def unseen(before: Mapping[str, tuple[object, ...]]) -> set[str]:
    """What a destination has that is no part of a share: it stays if nothing takes its name."""
    return {name for name, about in before.items() if about[0] in ("special", "link")}
