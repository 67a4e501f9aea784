"""A server whose numbers do not add up: the command fails, and nothing is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftransfer.client.client import Client, connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.client.trees.options import TreeOptions
from ftransfer.digest import digest_of
from ftransfer.errors import RemoteProtocolError, SourceChanged
from ftransfer.limits import Limits
from ftransfer.transfer.spans import span_of
from tests.support.service import fake_server, frame

HELLO = frame(b"H", b'{"protocol":1}')
HELLO_SPANS = frame(b"H", b'{"protocol":1,"features":["spans"]}')
ENTRY = {"name": "t/a", "kind": "file", "size": 1, "mtime_ns": 1, "mode": 420}


def reply(**values: int) -> bytes:
    return frame(b"R", json.dumps(values).encode())


def listing(*items: object) -> bytes:
    return frame(b"L", json.dumps(items).encode())


def pack(*names: str) -> bytes:
    from blake3 import blake3

    columns = {"size": 1, "mtime_ns": 1, "mode": 420, "digest": digest_of(b"x")}
    head = json.dumps(
        {"name": names} | {key: [value] * len(names) for key, value in columns.items()}
    ).encode()
    return frame(
        b"P", len(head).to_bytes(4, "big") + blake3(head).digest() + head + b"x" * len(names)
    )


def client_at(address: tuple[str, int]) -> Client:
    return connect(*address, retry=NO_RETRY, limits=Limits(stall_s=1.0, close_s=0.1))


async def refuse_tree(said: bytes, dest: Path, options: TreeOptions | None = None) -> None:
    async with fake_server(said) as address, client_at(address) as client:
        with pytest.raises(RemoteProtocolError, match="announced|is missing"):
            await client.get_tree("t", dest, options=options)


@pytest.mark.parametrize(
    "said",
    [
        HELLO + listing() + reply(entries=7),
        HELLO + listing(ENTRY) + reply(entries=0),
        HELLO + listing() + reply(),
        HELLO + reply(entries=1),
        HELLO_SPANS + listing({"until": "mine", "entries": 2}) + reply(entries=3),
        HELLO_SPANS + listing() + reply(entries=1),
        HELLO_SPANS
        + listing({"until": "mine", "entries": 1})
        + reply(entries=1)
        + listing()
        + reply(entries=5),
    ],
)
async def test_nothing_is_removed_by_a_listing_that_does_not_add_up(
    tmp_path: Path, said: bytes
) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    await refuse_tree(said, tmp_path, TreeOptions(delete=True))
    assert (tmp_path / "mine").read_bytes() == b"mine"


async def test_nothing_is_removed_where_spans_promised_more_than_is_listed(tmp_path: Path) -> None:
    """A span of two entries, of which none is listed: what we have in their place stays."""
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "more").write_bytes(b"more")
    span = listing(
        {"until": "more", "entries": 2, "digest": span_of(["x\0file 1 1 1\0"]).digest}
    ) + reply(entries=2)
    # Since the source may have changed, it is asked again
    said = HELLO_SPANS + 3 * (span + reply(entries=0))
    async with fake_server(said) as address, client_at(address) as client:
        with pytest.raises(SourceChanged):
            await client.get_tree("t", tmp_path, options=TreeOptions(delete=True))
    assert {path.name for path in tmp_path.iterdir()} >= {"mine", "more"}


@pytest.mark.parametrize(
    "said",
    [
        reply(sent=1, failed=0, bytes=5),
        pack("t/a") + reply(sent=2, failed=0, bytes=1),
        pack("t/a") + reply(sent=1, failed=1, bytes=1),
        pack("t/a") + reply(sent=1, failed=0, bytes=2),
        pack("t/a") + reply(),
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
async def test_a_tree_that_is_not_what_was_announced_is_not_done(
    tmp_path: Path, said: bytes, fresh: bool
) -> None:
    if not fresh:
        (tmp_path / "x").touch()
        said = listing(ENTRY) + reply(entries=1) + said
    async with fake_server(HELLO + said) as address, client_at(address) as client:
        with pytest.raises(RemoteProtocolError):
            await client.get_tree("t", tmp_path)


@pytest.mark.parametrize(
    "said",
    [reply(stored=2, failed=0), reply(stored=0, failed=0), reply(stored=1, failed=1), reply()],
)
async def test_a_tree_that_the_server_counts_otherwise_is_not_stored(
    tmp_path: Path, said: bytes
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    error = frame(
        b"O",
        json.dumps([{"name": "t/a", "error": {"code": "forbidden", "message": "no"}}]).encode(),
    )
    nothing_there = frame(b"X", b'{"code":"not_found","message":"no"}')
    async with (
        fake_server(HELLO_SPANS + nothing_there + reply() + error + said) as address,
        client_at(address) as client,
    ):
        with pytest.raises(RemoteProtocolError):
            await client.put_tree(tmp_path, "t")


async def list_all(client: Client) -> object:
    return [batch async for batch in client.iter_dir("t")]


@pytest.mark.parametrize(
    "said", [listing(ENTRY) + reply(entries=7), reply(entries=1), listing(ENTRY) + reply()]
)
async def test_listings_are_counted(said: bytes) -> None:
    async with fake_server(HELLO + said) as address, client_at(address) as client:
        with pytest.raises(RemoteProtocolError):
            await list_all(client)


@pytest.mark.parametrize("said", [reply(partials=1, bytes=0, cleared=0), reply()])
async def test_partials_are_counted(said: bytes) -> None:
    async with fake_server(HELLO + said) as address, client_at(address) as client:
        with pytest.raises(RemoteProtocolError):
            await client.partials()
