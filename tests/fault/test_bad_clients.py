"""Clients that break the rules: nothing is written, one error is sent, the server serves on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.limits import Limits
from tests.support.service import Service, end_frame, frame, raw_peer, serve

CAPS = Limits(max_line_bytes=256, max_chunk_bytes=4_096, max_json_bytes=8_000, max_sessions=4)
HELLO = digest_of(b"hello")


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, limits=CAPS, direct=request.param) as service:
        (service.root / "a.txt").write_bytes(b"hello")
        (service.root / "folder").mkdir()
        yield service
        await assert_serves(service)


async def assert_serves(service: Service) -> None:
    """The server must go on whatever happened, and hold nothing but what was there."""
    async with service.client() as client:
        names = [entry.name for entry in await client.dir()]
        assert names == ["a.txt", "folder"]
        await client.get("a.txt", service.local)
    assert (service.local / "a.txt").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"fetch x\n", "unknown_verb"),
        (b"\n", "unknown_verb"),
        (b"get\n", "bad_argument"),
        (b"get \n", "bad_argument"),
        (b"close now\n", "bad_argument"),
        (b"get caf\xe9\n", "bad_argument"),
        (b"get \xff\xfe\n", "bad_argument"),
        (b'get "unfinished\n', "bad_argument"),
        (b'get "a.txt" {"offset": -1}\n', "bad_argument"),
        (b'get "a.txt" {"offset": "1"}\n', "bad_argument"),
        (b'get "a.txt" {"offset": true}\n', "bad_argument"),
        (b'get "a.txt" [1]\n', "bad_argument"),
        (b'get "a.txt" {"offset": 6}\n', "bad_offset"),
        (b'get ""\n', "bad_argument"),
        (b"get /etc/passwd\n", "bad_name"),
        (b"get ../secret\n", "bad_name"),
        (b"get folder/../../secret\n", "bad_name"),
        (b"get folder//x\n", "bad_name"),
        (b"get .\n", "bad_name"),
        (b'get "a\\u0000b"\n', "bad_name"),
        (b'get "\\ud800"\n', "bad_name"),
        (b"get .ftransfer/partials\n", "bad_name"),
        (b"get nothing.txt\n", "not_found"),
        (b"get a.txt/x\n", "not_found"),
        (b"get folder\n", "not_a_file"),
        (b"dir a.txt\n", "not_a_folder"),
        (b"dir nowhere\n", "not_found"),
        (b"dir ../\n", "bad_name"),
    ],
)
async def test_bad_line_is_answered_and_the_session_goes_on(
    service: Service, line: bytes, code: str
) -> None:
    async with service.peer() as peer:
        await peer.send(line + b"help\n")
        assert await peer.error() == code
        assert (await peer.json())[0] == b"R"


@pytest.mark.parametrize("part", ["é" * 128, "a" * 256])
async def test_name_that_is_too_long_is_refused(tmp_path: Path, part: str) -> None:
    async with serve(tmp_path) as service, service.peer() as peer:
        for name in (part, "a/" * 2048 + "a"):
            await peer.send(f"get {name}\n".encode())
            assert await peer.error() == "bad_name"


async def test_line_at_the_cap_is_taken_and_one_past_it_ends_the_session(service: Service) -> None:
    async with service.peer() as peer:
        await peer.send(b"get " + b"a" * 252 + b"\n")
        assert await peer.error() == "not_found"
        await peer.send(b"get " + b"a" * 253 + b"\n")
        assert await peer.error() == "line_too_long"
        assert await peer.is_at_end()


async def test_line_without_end_is_cut_off_at_the_cap(service: Service) -> None:
    async with service.peer() as peer:
        await peer.send(b"a" * 257)
        assert await peer.error() == "line_too_long"
        assert await peer.is_at_end()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (frame(b"?", b"x"), "protocol"),
        (frame(b"D", b"x" * 4097), "protocol"),
        (b"D\xff\xff\xff\xff", "protocol"),
        (b"E\x00\x00\x1f\x41", "protocol"),
        (frame(b"R", b"{}"), "protocol"),
        (frame(b"P", b"x"), "protocol"),
        (frame(b"E", b"no json"), "protocol"),
        (frame(b"E", b"[]"), "protocol"),
        (frame(b"E", b'{"size": 5}'), "protocol"),
        (frame(b"E", b'{"size": -5, "digest": ""}'), "protocol"),
        (frame(b"E", b"[" * 400), "protocol"),
    ],
    ids=[
        "unknown",
        "one-past-the-cap",
        "huge",
        "json-past-the-cap",
        "not-ours",
        "out-of-turn",
        "no-json",
        "list",
        "no-digest",
        "negative",
        "deep",
    ],
)
async def test_bad_frame_ends_the_session_with_an_error(
    service: Service, body: bytes, code: str
) -> None:
    async with service.peer() as peer:
        await peer.send(b"put new.txt\n" + body)
        assert await peer.error() == code
        assert await peer.is_at_end()


async def test_data_frame_at_the_cap_is_taken(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=CAPS) as service, service.peer() as peer:
        data = b"x" * 1000
        await peer.send(b"put new.bin\n" + frame(b"D", data) + end_frame(1000, digest_of(data)))
        kind, receipt = await peer.json()
        assert kind == b"R" and receipt["digest"] == digest_of(data)
        assert (service.root / "new.bin").read_bytes() == data


@pytest.mark.parametrize(
    ("line", "body", "code"),
    [
        (b"put new.txt\n", frame(b"D", b"hello") + end_frame(4, HELLO), "size_mismatch"),
        (
            b'put "new.txt" {"size": 6}\n',
            frame(b"D", b"hello") + end_frame(5, HELLO),
            "size_mismatch",
        ),
        (
            b'put "new.txt" {"size": 4}\n',
            frame(b"D", b"hello") + end_frame(5, HELLO),
            "size_mismatch",
        ),
        (
            b"put new.txt\n",
            frame(b"D", b"hello") + end_frame(5, digest_of(b"hellO")),
            "digest_mismatch",
        ),
        (b"put new.txt\n", frame(b"D", b"hello") + end_frame(5, "nonsense"), "digest_mismatch"),
        (b"put new.txt\n", frame(b"D", b"hel") + frame(b"X", b'{"code":"aborted"}'), "aborted"),
        (b"put folder\n", frame(b"D", b"hello") + end_frame(5, HELLO), "not_a_file"),
        (b"put ../new.txt\n", frame(b"D", b"hello") + end_frame(5, HELLO), "bad_name"),
        (
            b"put no/such/new.txt\n",
            frame(b"D", b"hello") + frame(b"D") + end_frame(5, HELLO),
            "not_found",
        ),
        (
            b'put "a.txt" {"if_absent": true}\n',
            frame(b"D", b"hello") + end_frame(5, HELLO),
            "exists",
        ),
        (
            b'put "a.txt" {"if_match": "00"}\n',
            frame(b"D", b"hello") + end_frame(5, HELLO),
            "changed",
        ),
    ],
)
async def test_refused_put_writes_nothing_and_the_session_goes_on(
    service: Service, line: bytes, body: bytes, code: str
) -> None:
    async with service.peer() as peer:
        await peer.send(line + body + b"help\n")
        assert await peer.error() == code
        assert (await peer.json())[0] == b"R"


async def test_put_line_that_is_not_understood_ends_the_session(service: Service) -> None:
    async with service.peer() as peer:
        await peer.send(b'put "new.txt" {"size": "big"}\n' + frame(b"D", b"get a.txt\n"))
        assert await peer.error() == "bad_argument"
        assert await peer.is_at_end()


async def test_client_that_goes_away_at_any_byte_leaves_nothing(service: Service) -> None:
    whole = b"put new.txt\n" + frame(b"D", b"hel") + frame(b"D", b"lo") + end_frame(5, HELLO)
    for length in range(len(whole)):
        async with service.peer() as peer:
            await peer.send(whole[:length])
        await service.all_gone()
    assert sorted(
        path.name for path in service.root.iterdir() if not path.name.startswith(".")
    ) == ["a.txt", "folder"]


async def test_no_permission_on_disk_is_said(service: Service) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (service.root / "a.txt").chmod(0)
    async with service.peer() as peer:
        await peer.send(b"get a.txt\n")
        assert await peer.error() == "forbidden"
    (service.root / "a.txt").chmod(0o644)


async def test_session_past_the_cap_is_told_busy_and_one_at_the_cap_is_served(
    service: Service,
) -> None:
    async with service.peer(), service.peer(), service.peer(), service.peer():
        async with raw_peer(*service.address) as peer:
            assert await peer.error() == "busy"
            assert await peer.is_at_end()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(idle_s=0.05), b""),
        (Limits(idle_s=0.05), b"help\n"),
        (Limits(line_s=0.05), b"get a"),
        (Limits(stall_s=0.05), b"put new.txt\n"),
        (Limits(stall_s=0.05), b"put new.txt\n" + frame(b"D", b"hello")),
        (Limits(stall_s=0.05), b"put new.txt\nD\x00\x00\x00\x05he"),
    ],
    ids=["nothing", "no-more", "half-a-line", "no-frame", "no-end", "half-a-frame"],
)
@pytest.mark.parametrize("direct", [True, False])
async def test_client_that_sends_nothing_is_ended_in_time(
    tmp_path: Path, limits: Limits, said: bytes, direct: bool
) -> None:
    async with serve(tmp_path, limits=limits, direct=direct) as service, service.peer() as peer:
        await peer.send(said)
        kind, value = await peer.json()
        if kind == b"R":
            kind, value = await peer.json()
        assert kind == b"X" and value["code"] == "timed_out"
        assert await peer.is_at_end()


@pytest.mark.parametrize("direct", [True, False])
async def test_client_that_reads_nothing_is_ended_in_time(tmp_path: Path, direct: bool) -> None:
    async with serve(tmp_path, limits=Limits(stall_s=0.1, close_s=0.1), direct=direct) as service:
        (service.root / "big").write_bytes(bytes(64 << 20))
        async with service.peer() as peer:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a ReadTransport in truth
            await peer.send(b"get big\n")
            await service.all_gone()
