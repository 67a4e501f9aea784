"""The server, as a client sees it that knows only docs/protocol.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from blake3 import blake3

from ftransfer.gateways.native.listener import Server
from ftransfer.limits import DEFAULT_LIMITS
from ftransfer.names import parse_name
from ftransfer.service.service import ServiceOptions
from ftransfer.service.share import Share
from ftransfer.storage.base import Store
from ftransfer.storage.local import LocalStore
from ftransfer.storage.memory import MemoryStore
from ftransfer.transfer.selection import hidden_names
from tests.conformance.independent_client import Client, Refused

T = TypeVar("T")

# Small enough that a test passes the caps in no time.
LIMITS = DEFAULT_LIMITS._replace(max_line_bytes=2_000, max_chunk_bytes=50_000)


@pytest.fixture(params=["folder", "folder through streams", "memory"])
def way(request: pytest.FixtureRequest) -> str:
    """What stands behind the server, and how bytes get there."""
    return str(request.param)


@pytest.fixture
async def store(way: str, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if way == "memory" else await LocalStore.open(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def server(way: str, store: Store) -> AsyncIterator[Server]:
    server = await Server.start(
        Share(store),
        port=0,
        direct=way != "folder through streams",
        options=ServiceOptions(limits=LIMITS),
    )
    yield server
    await server.stop(grace_s=5)


async def speak(server: Server, conversation: Callable[[Client], T]) -> T:
    """Run one session in a thread, since the client blocks; it closes in good order."""

    def run() -> T:
        with Client(*server.addresses[0]) as client:
            result = conversation(client)
            client.close()
            return result

    return await asyncio.to_thread(run)


async def test_hello_says_what_the_document_says(server: Server) -> None:
    hello = await speak(server, lambda client: client.hello)
    assert hello["protocol"] == 1
    assert isinstance(hello["durable"], bool)
    assert hello["limits"]["max_line_bytes"] == 2_000
    assert (await speak(server, lambda client: client.hello))["session"] == hello["session"] + 1


async def test_hidden_names_are_told_when_a_session_says_who_it_is(store: Store) -> None:
    server = await Server.start(Share(store, hiding=hidden_names((".git", "*.key"))), port=0)
    try:
        assert await speak(server, lambda client: client.introduce("ann")) == (".git", "*.key")
        assert "hides" not in await speak(server, lambda client: client.hello)
    finally:
        await server.stop(grace_s=5)


@pytest.mark.parametrize("size", [0, 1, 50_000, 50_001, 300_000])
async def test_content_comes_back_as_it_was_sent(server: Server, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]

    def conversation(client: Client) -> None:
        receipt = client.put("a", content, mtime_ns=1_700_000_000_123_456_789, mode=0o640)
        assert (receipt["name"], receipt["mtime_ns"]) == ("a", 1_700_000_000_123_456_789)
        meta, got = client.get("a")
        assert got == content
        assert (meta["size"], meta["mtime_ns"], meta["mode"]) == (
            size,
            1_700_000_000_123_456_789,
            0o640,
        )

    await speak(server, conversation)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "my holiday photo.jpg",
        "射频仿真.pptx",
        "天线15.doc",
        "-rf",
        'say "hi"',
        "it's",
        "line\nfeed",
        "\x1b[31m",
        " ",
        "😀",
        "\udcff\udc80",
    ],
)
async def test_names_of_all_kinds(server: Server, name: str) -> None:
    def conversation(client: Client) -> None:
        assert client.put(name, b"x")["name"] == name
        assert [(entry["name"], entry["kind"], entry["size"]) for entry in client.dir()] == [
            (name, "file", 1)
        ]
        assert client.get(name)[1] == b"x"

    await speak(server, conversation)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../a",
        "a/../b",
        "a//b",
        ".",
        "a/",
        "a\0b",
        ".ftransfer/x",
        "x" * 256,
        "\ud800",
    ],
)
async def test_names_that_climb_or_cannot_be_are_refused(server: Server, name: str) -> None:
    def conversation(client: Client) -> None:
        assert refusal(lambda: client.get(name)) == "bad_name"
        client.command("put", name)
        assert refusal(lambda: client.give_up("refused")) == "bad_name"
        assert list(client.dir()) == []

    await speak(server, conversation)


async def test_plain_lines_as_a_person_types_them(server: Server) -> None:
    def conversation(client: Client) -> None:
        client.put("my notes.txt", b"hello")
        client.say(b"GET my notes.txt\r")
        assert client.receive()[1] == b"hello"
        client.say(b"help")
        reply = client.reply()
        assert any(row["usage"] == "get NAME" for row in reply["verbs"])
        assert reply["aliases"]["quit"] == "close"

    await speak(server, conversation)


async def test_commands_sent_ahead_are_answered_in_order(server: Server) -> None:
    def conversation(client: Client) -> None:
        client.put("a", b"first")
        client.put("b", b"second")
        client.say(b"get a\nget none\nget b")
        assert client.receive()[1] == b"first"
        assert refusal(client.reply) == "not_found"
        assert client.receive()[1] == b"second"

    await speak(server, conversation)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"fetch a", "unknown_verb"),
        (b"", "unknown_verb"),
        (b"get", "bad_argument"),
        (b"get \xff", "bad_argument"),
        (b'get "a', "bad_argument"),
        (b'get "a" {"offset": -1}', "bad_argument"),
        (b'get "a" {"offset": "1"}', "bad_argument"),
        (b"get a", "not_found"),
        (b"dir a", "not_found"),
    ],
)
async def test_refused_line_leaves_the_session_as_it_was(
    server: Server, line: bytes, code: str
) -> None:
    def conversation(client: Client) -> None:
        client.say(line)
        assert refusal(client.reply) == code
        assert list(client.dir()) == []

    await speak(server, conversation)


@pytest.mark.parametrize(
    ("line", "code"), [(b"x" * 2_001, "line_too_long"), (b"put", "bad_argument")]
)
async def test_line_after_which_nobody_knows_where_the_next_begins_ends_the_session(
    server: Server, line: bytes, code: str
) -> None:
    def run() -> bytes:
        with Client(*server.addresses[0]) as client:
            client.say(line)
            assert refusal(client.reply) == code
            return client.rest()

    assert await asyncio.to_thread(run) == b""
    assert await speak(server, lambda client: list(client.dir())) == []


async def test_listing_of_folders(server: Server, store: Store) -> None:
    await store.make_folder(parse_name("b/c"), parents=True)

    def conversation(client: Client) -> None:
        client.put("b/c/2", b"22")
        client.put("b/1", b"1")
        client.put("a", b"")
        assert {(entry["name"], entry["kind"]) for entry in client.dir("/")} == {
            ("a", "file"),
            ("b", "dir"),
        }
        assert [entry["name"] for entry in client.dir(recursive=True)] == [
            "a",
            "b",
            "b/1",
            "b/c",
            "b/c/2",
        ]
        assert [entry["name"] for entry in client.dir("b/c/")] == ["b/c/2"]
        assert refusal(lambda: client.get("b")) == "not_a_file"
        assert refusal(lambda: list(client.dir("a"))) == "not_a_folder"

    await speak(server, conversation)


async def test_get_goes_on_where_it_was_cut(server: Server) -> None:
    def conversation(client: Client) -> None:
        client.put("a", b"0123456789")
        meta, _ = client.get("a")
        again, content = client.get("a", b"0123", meta["identity"])
        assert (again["offset"], again["length"], content) == (4, 6, b"0123456789")
        assert client.get("a", b"0123456789", meta["identity"])[1] == b"0123456789"
        client.put("a", b"another version")
        afresh, content = client.get("a", b"0123", meta["identity"])
        assert (afresh["offset"], content) == (0, b"another version")
        assert refusal(lambda: client.get("a", b"x" * 16, afresh["identity"])) == "bad_offset"

    await speak(server, conversation)


async def test_a_part_has_a_digest_of_its_own(server: Server) -> None:
    def conversation(client: Client) -> None:
        client.put("a", b"0123456789")
        client.command("get", "a", offset=2, length=3)
        assert client.receive()[1] == b"234"
        client.command("get", "a", offset=8, length=100)
        assert client.receive()[1] == b"89"

    await speak(server, conversation)


async def test_put_goes_on_where_it_was_cut(server: Server) -> None:
    def cut() -> None:
        with Client(*server.addresses[0]) as client:
            client.command("put", "a", size=10, source="s", wait=True)
            assert client.offset() == 0
            client.send_data(b"0123")

    def conversation(client: Client) -> None:
        assert list(client.dir()) == []
        assert client.put_waiting("a", b"0123456789", "s")["kept"] == 4
        assert client.get("a")[1] == b"0123456789"

    await asyncio.to_thread(cut)
    await until_no_session_is_left(server)
    await speak(server, conversation)


async def test_put_at_once_can_be_gone_on_with_by_one_that_waits(server: Server) -> None:
    def cut() -> None:
        with Client(*server.addresses[0]) as client:
            client.command("put", "a", size=10, source="s")
            client.send_data(b"0123")

    def conversation(client: Client) -> None:
        assert client.put_waiting("a", b"0123456789", "s")["kept"] == 4

    def all_at_once(client: Client) -> None:
        # From the start, whatever is there of that source
        assert client.put("a", b"9876543210", source="s")["kept"] == 0
        assert client.get("a")[1] == b"9876543210"

    for what in (conversation, all_at_once):
        await asyncio.to_thread(cut)
        await until_no_session_is_left(server)
        await speak(server, what)


async def test_put_in_parts_over_several_sessions(server: Server, way: str) -> None:
    content = bytes(range(256)) * 1000

    def conversation(client: Client) -> None:
        assert "parts" in client.hello["features"]
        offset, word = client.begin_parts("a", len(content), "s")
        assert offset == 0
        if not word:
            assert way == "memory"
            assert client.send_file(content)["size"] == len(content)
            return
        with Client(*server.addresses[0]) as second, Client(*server.addresses[0]) as third:
            third.send_part("a", word, 200_000, content[200_000:])
            client.send("D", b"")
            second.send_part("a", word, 70_000, content[70_000:200_000])
            assert (
                refusal(lambda: third.send_part("a", word, 199_999, content[199_999:]))
                == "bad_offset"
            )
            assert refusal(lambda: third.send_part("b", word, 0, content[:70_000])) == "not_found"
            third.send_part("a", word, 0, content[:70_000])
            assert client.end_file(content)["kept"] == 0
            assert refusal(lambda: third.send_part("a", word, 0, b"late")) == "not_found"
            assert second.get("a")[1] == content

    await speak(server, conversation)


async def test_put_that_waits_and_has_nothing_to_go_on_with(server: Server) -> None:
    assert (await speak(server, lambda client: client.put_waiting("a", b"abc", "s")))["kept"] == 0


async def test_put_on_conditions(server: Server) -> None:
    def conversation(client: Client) -> None:
        digest = client.put("a", b"old", if_absent=True)["digest"]
        client.command("put", "a", if_absent=True)
        assert refusal(lambda: client.give_up("refused")) == "exists"
        assert client.put("a", b"new", if_match=digest)["size"] == 3
        client.command("put", "a", if_match=digest)
        assert refusal(lambda: client.give_up("refused")) == "changed"
        assert client.get("a")[1] == b"new"

    await speak(server, conversation)


@pytest.mark.parametrize(
    ("announced", "end", "code"),
    [
        (3, b'{"size": 2, "digest": ""}', "size_mismatch"),
        (2, b'{"size": 3, "digest": ""}', "size_mismatch"),
        (3, b'{"size": 3, "digest": "00"}', "digest_mismatch"),
    ],
)
async def test_put_that_does_not_verify_changes_nothing(
    server: Server, announced: int, end: bytes, code: str
) -> None:
    def conversation(client: Client) -> None:
        client.put("a", b"old")
        client.command("put", "a", size=announced)
        client.send_data(b"new"[:announced])
        client.send("E", end)
        assert refusal(client.reply) == code
        assert client.get("a")[1] == b"old"

    await speak(server, conversation)


async def test_put_given_up_by_the_client_changes_nothing(server: Server) -> None:
    def conversation(client: Client) -> None:
        client.put("a", b"old")
        client.command("put", "a")
        client.send_data(b"new")
        assert refusal(lambda: client.give_up("changed my mind")) == "aborted"
        assert client.get("a")[1] == b"old"

    await speak(server, conversation)


async def test_put_refused_in_the_middle_is_drained(server: Server) -> None:
    def conversation(client: Client) -> None:
        client.command("put", "no/such/folder")
        client.send_data(b"x" * 200_000)
        client.send("E", b'{"size": 200000, "digest": ""}')
        assert refusal(client.reply) == "not_found"
        assert list(client.dir()) == []

    await speak(server, conversation)


@pytest.mark.parametrize(
    "frame",
    [
        b"Q\0\0\0\0",
        b"D\xff\xff\xff\xff",
        b"D\0\0\xc3\x51",
        b"R\0\0\0\2{}",
        b"L\0\0\0\2[]",
        b"E\0\0\0\2[]",
        b"E\0\0\0\1x",
    ],
)
async def test_broken_frame_ends_the_session_and_leaves_nothing(
    server: Server, frame: bytes
) -> None:
    def broken() -> None:
        with Client(*server.addresses[0]) as client:
            client.say(b"put a\n" + frame)
            assert refusal(client.reply) == "protocol"
            assert client.rest() == b""

    await asyncio.to_thread(broken)
    assert await speak(server, lambda client: list(client.dir())) == []


async def test_end_of_input_is_the_same_as_close(server: Server) -> None:
    def run() -> bytes:
        with Client(*server.addresses[0]) as client:
            client.say(b"dir")
            client.end_input()
            assert client.reply() == {"entries": 0}
            return client.rest()

    assert await asyncio.to_thread(run) == b""


def refusal(act: Callable[[], object]) -> str:
    """Return the code with which the server refuses."""
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.code


async def until_no_session_is_left(server: Server) -> None:
    await asyncio.gather(*server.sessions.values(), return_exceptions=True)


# Section 8.


async def test_packs_go_both_ways(server: Server) -> None:
    files = {"a": b"", "d/b": b"b" * 1000, "d/\u5c04": b"c"}

    def conversation(client: Client) -> None:
        assert client.mput(files).keys() == files.keys()
        assert client.mget(*files, "missing") == files

    await speak(server, conversation)


async def test_item_that_fails_is_told_apart(server: Server) -> None:
    def conversation(client: Client) -> None:
        outcomes = client.mput({"a": b"1", "../b": b"2"})
        assert (
            outcomes["a"]["digest"] == blake3(b"1").hexdigest()
            and outcomes["../b"]["error"]["code"] == "bad_name"
        )

    await speak(server, conversation)


# What a flipped bit does to a name.


def flipped(data: bytes, of: bytes) -> bytes:
    """Return the bytes with one bit of the last letter of `of` inverted."""
    return data.replace(of, of[:-1] + bytes([of[-1] ^ 1]))


async def test_name_of_a_put_that_was_changed_on_the_way_is_refused(server: Server) -> None:
    def conversation(client: Client) -> None:
        for line in (b"put notes.txt", b'put "notes.txt" {"size":3,"mode":420}'):
            client.say(line, arrives=flipped(line, b"notes"))
            with pytest.raises(Refused, match="digest_mismatch"):
                client.send_file(b"abc")
        assert list(client.dir()) == []

    await speak(server, conversation)


async def test_name_in_a_pack_that_was_changed_on_the_way_is_refused(server: Server) -> None:
    def conversation(client: Client) -> None:
        with pytest.raises(Refused, match="digest_mismatch"):
            client.mput({"a": b"1", "notes": b"2"}, arrives=lambda index: flipped(index, b"notes"))
        assert list(client.dir()) == []

    await speak(server, conversation)
