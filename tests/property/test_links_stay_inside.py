"""Whatever a store is asked in any order, each link it creates leads inside."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError
from ftransfer.names import parse_name
from ftransfer.storage.base import FILE, LINK, SmallFile, UploadSpec
from ftransfer.storage.local import LocalStore

T = TypeVar("T")

# Few names, so that links come to stand on the way of others.
PARTS = ["a", "b", "c"]
NAMES = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join)
TARGETS = st.lists(st.sampled_from([*PARTS, "..", "..", "."]), min_size=1, max_size=6).map("/".join)


class LinkedTree(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._temporary = tempfile.TemporaryDirectory()
        self._share = Path(os.path.realpath(self._temporary.name)) / "over" / "share"
        self._share.mkdir(parents=True)
        self._store = self._run(LocalStore.open(self._share, durable=False))

    def teardown(self) -> None:
        self._run(self._store.close())
        self._runner.close()
        self._temporary.cleanup()

    def _run(self, steps: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(steps)

    def _try(self, steps: Coroutine[Any, Any, object]) -> None:
        try:
            self._run(steps)
        except FtransferError:
            pass  # that it may be refused is not what is looked at here

    @rule(name=NAMES, text=TARGETS)
    def link(self, name: str, text: str) -> None:
        self._run(self._store.write_small([SmallFile(name, LINK, 0, 0o777, target=text)]))

    @rule(name=NAMES)
    def put_packed(self, name: str) -> None:
        self._run(self._store.write_small([SmallFile(name, FILE, 0, 0o644, b"x", digest_of(b"x"))]))

    @rule(name=NAMES)
    def put(self, name: str) -> None:
        async def steps() -> None:
            writer = await self._store.open_write(parse_name(name), UploadSpec(size=1))
            await writer.write(b"x")
            await writer.commit(digest_of(b"x"))

        self._try(steps())

    @rule(name=NAMES)
    def make_folder(self, name: str) -> None:
        self._try(self._store.make_folder(parse_name(name), parents=True))

    @rule(old=NAMES, new=NAMES, replace=st.booleans())
    def move(self, old: str, new: str, replace: bool) -> None:
        self._try(self._store.rename(parse_name(old), parse_name(new), replace=replace))

    @rule(name=NAMES, recursive=st.booleans())
    def remove(self, name: str, recursive: bool) -> None:
        self._try(self._store.remove(parse_name(name), recursive=recursive))

    @invariant()
    def each_link_leads_inside(self) -> None:
        for folder, folders, files in os.walk(self._share):
            for last in (*folders, *files):
                path = os.path.join(folder, last)
                if os.path.islink(path):
                    led_to = Path(os.path.realpath(path))
                    assert led_to.is_relative_to(self._share), (path, os.readlink(path))


TestLinkedTree = LinkedTree.TestCase
TestLinkedTree.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
