"""A local tree beside one of a server: with spans or without, the same is decided."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.client.session import ClientSession
from ftransfer.client.trees.compare import compare_with_server
from ftransfer.client.trees.options import TreeOptions
from ftransfer.client.trees.plan import Plan
from ftransfer.digest import digest_of
from ftransfer.errors import NotFound
from ftransfer.names import ROOT, SafeName, parse_name
from ftransfer.protocol.replies import Hello, Listing, Reply
from ftransfer.service.share import Share
from ftransfer.storage.base import FILE, FOLDER, LINK, SmallFile
from ftransfer.storage.memory import MemoryStore
from ftransfer.storage.memory_files import Node
from ftransfer.storage.small_files import write_small
from ftransfer.transfer.records import entry_to_wire
from ftransfer.transfer.spans import span_of, span_to_wire

Tree = Mapping[str, tuple[str, int, int]]  # name to kind, size or target, mtime


class Said:
    """A session with a server that answers `dir` from a store, with spans of a few entries."""

    def __init__(self, store: MemoryStore, *, span: int = 0, more: int = 0) -> None:
        """With `more` it announces so many entries that do not come."""
        self._more = more
        self.hello = Hello(1, "a server", 1, features=("spans",) if span else ())
        self.commands: list[Mapping[str, Any]] = []
        self._view = Share(store).view_for()
        self._span = span
        self._answers: deque[AsyncGenerator[Listing | Reply, None]] = deque()

    async def send(self, verb: str, argument: str, options: Mapping[str, Any]) -> None:
        assert verb == "dir"
        self.commands.append(options)
        self._answers.append(
            self._answer(
                argument, {key: value for key, value in options.items() if value is not None}
            )
        )

    async def _answer(
        self, path: str, options: dict[str, Any]
    ) -> AsyncGenerator[Listing | Reply, None]:
        count = 0
        if options.pop("spans", False):
            async for lines in self._view.lines(path, links=options.get("links", False)):
                count += len(lines)
                spans = [
                    lines[start : start + self._span] for start in range(0, len(lines), self._span)
                ]
                yield Listing([span_to_wire(span_of(span)) for span in spans])
        else:
            async for batch in self._view.scan(path, **options):
                count += len(batch)
                yield Listing([entry_to_wire(entry) for entry in batch])
        yield Reply({"entries": count + self._more})

    async def next_event(self) -> Listing | Reply:
        event = await anext(self._answers[0])
        if isinstance(event, Reply):
            self._answers.popleft()
        return event


async def store_of(tree: Tree, folder: SafeName = ROOT) -> MemoryStore:
    store = MemoryStore(now_ns=lambda: 1)
    prefix = "" if folder.is_root else f"{folder}/"
    if prefix:
        await store.make_folder(folder, parents=True)
    for name in sorted(tree):
        kind, size, mtime_ns = tree[name]
        if kind == LINK:  # it makes none itself, but lists them
            store._nodes[parse_name(f"{prefix}{name}")] = Node(
                LINK, mtime_ns, 0o777, target=f"target{size}"
            )
            continue
        data = bytes(size) if kind == FILE else b""
        item = SmallFile(f"{prefix}{name}", kind, mtime_ns, 0o755, data, digest_of(data))
        (result,) = await write_small(store, [item])
        assert not isinstance(result, Exception)
    for name in sorted(tree, reverse=True):  # what was put into a folder has set its time
        if tree[name][0] == FOLDER:
            await store.set_attributes(parse_name(f"{prefix}{name}"), mtime_ns=tree[name][2])
    return store


async def decide(
    server: Tree, local: Tree, options: TreeOptions, *, pulls: bool, span: int
) -> tuple[dict[str, list[object]], Said]:
    remote = parse_name("the/tree")
    said = Said(await store_of(server, remote), span=span)
    store = await store_of(local)
    with Plan() as plan:
        await compare_with_server(
            plan, cast(ClientSession, said), store, remote, options, pulls=pulls
        )
        kinds = (
            "staged",
            "small",
            "large",
            "compared",
            "links",
            "folders",
            "removed",
            "kept",
            "refused",
            "set",
            "unreadable",
        )
        return {
            **{kind: list(getattr(plan, kind)) for kind in kinds},
            "unchanged": [plan.unchanged],
        }, said


def completed(tree: Tree) -> Tree:
    """Make a tree that could be one: whatever has something below it is a folder."""
    whole = dict(tree)
    for name in tree:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            whole[above] = (FOLDER, 0, whole[above][2] if above in whole else 1)
    return whole


def few(names: list[str]) -> st.SearchStrategy[Tree]:
    things = st.tuples(
        st.sampled_from([FILE, FILE, FOLDER, LINK]), st.integers(0, 1), st.integers(1, 2)
    )
    return st.dictionaries(
        st.lists(st.sampled_from(names), min_size=1, max_size=3).map("/".join), things, max_size=12
    )


NAMES = ["a", "b", "a.b", "é"]
options = st.builds(
    lambda delete, links: TreeOptions(delete=delete, links=links), st.booleans(), st.booleans()
)


@given(few(NAMES), few(NAMES), few(NAMES), options, st.booleans(), st.integers(1, 4))
def test_spans_change_nothing_in_what_is_decided(
    both: Tree, server: Tree, local: Tree, options: TreeOptions, pulls: bool, span: int
) -> None:
    async def check() -> None:
        trees = completed({**both, **server}), completed({**both, **local})
        plain, _ = await decide(*trees, options, pulls=pulls, span=0)
        by_spans, _ = await decide(*trees, options, pulls=pulls, span=span)
        assert by_spans == plain

    asyncio.run(check())


MANY: Tree = completed({f"d{number // 10}/f{number:02}": (FILE, 1, 1) for number in range(100)})


@pytest.mark.parametrize("pulls", [True, False])
async def test_equal_trees_are_not_listed(pulls: bool) -> None:
    decided, said = await decide(MANY, MANY, TreeOptions(delete=True), pulls=pulls, span=8)
    assert decided["unchanged"] == [110]
    assert [command.get("spans") for command in said.commands] == [True]


@pytest.mark.parametrize("pulls", [True, False])
async def test_only_the_ranges_that_differ_are_listed(pulls: bool) -> None:
    changed = {**MANY, **{name: (FILE, 2, 2) for name in ("d0/f05", "d5/f55")}}
    decided, said = await decide(changed, MANY, TreeOptions(), pulls=pulls, span=8)
    assert [entry.name for entry in cast(Any, decided["small"])] == ["d0/f05", "d5/f55"]
    assert decided["unchanged"] == [110 - 2 - 2]  # and the two folders that hold them are set
    bounds = [(command["after"], command["until"]) for command in said.commands[1:]]
    assert len(bounds) == 2


@pytest.mark.parametrize(
    "checked", [TreeOptions(checksum=True), TreeOptions(wanted=lambda name, is_folder: True)]
)
async def test_where_spans_would_not_do_all_is_listed(checked: TreeOptions) -> None:
    _, said = await decide(MANY, MANY, checked, pulls=True, span=8)
    assert [(command.get("spans"), command.get("after")) for command in said.commands] == [
        (None, None)
    ]


async def test_destination_that_is_not_there_is_empty() -> None:
    for span in (0, 8):
        said = Said(MemoryStore(), span=span)
        with Plan() as plan:
            local = await store_of(MANY)
            await compare_with_server(
                plan, cast(ClientSession, said), local, parse_name("x"), TreeOptions(), pulls=False
            )
            assert len(plan.small) == 100
        assert len(said.commands) == 1


async def test_source_that_is_not_there_is_an_error() -> None:
    for span in (0, 8):
        said = Said(MemoryStore(), span=span)
        with Plan() as plan, pytest.raises(NotFound):
            await compare_with_server(
                plan,
                cast(ClientSession, said),
                MemoryStore(),
                parse_name("x"),
                TreeOptions(delete=True),
                pulls=True,
            )
