"""What the owner of a share allows and bounds, by the flags of `serve`, as a user meets it."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.programs import Done, Running, run_program, start_server
from tests.support.service import raw_peer


async def test_drop_box_takes_new_files_and_shows_none(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "report.txt").write_text("mine")
    async with start_server(tmp_path / "box", "--drop-box") as server:

        async def client(*arguments: str) -> Done:
            verb, *rest = arguments
            return await run_program(verb, "127.0.0.1", server.port, *rest, folder=tmp_path)

        first = await client("put", "report.txt")
        again = await client("put", "report.txt")
        listing = await client("dir")
        got = await client("get", "report.txt", "back.txt")
    assert first.code == 0 and (tmp_path / "box/report.txt").read_text() == "mine"
    assert again.code == 1 and "already exists and you may not overwrite it" in again.err
    assert (listing.code, listing.out) == (0, b"")
    assert got.code == 1 and "report.txt: no such file or folder" in got.err


@pytest.mark.parametrize("flags", [("--read-only", "--drop-box")])
async def test_contradicting_flags_are_wrong_usage_naming_both(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    done = await run_program("serve", ".", *flags, folder=tmp_path)
    assert done.code == 2
    assert all(flag in done.err for flag in flags) and done.err.count("\n") == 1


async def put(server: Running, tmp_path: Path, size: int, name: str) -> Done:
    (tmp_path / "file").write_bytes(bytes(size))
    return await run_program("put", "127.0.0.1", server.port, "file", name, folder=tmp_path)


@pytest.fixture(name="share")
def make_share(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--quota", "1000"), "does not fit into the share's quota of 1000"),
        (("--user-quota", "1000"), "does not fit into your quota of 1000"),
        (("--quota-files", "1"), "does not fit into the share's quota of 1 files and folders"),
        (("--user-quota-files", "1"), "does not fit into your quota of 1 files and folders"),
        (("--max-file", "1000"), "is larger than the 1000 that one file may have"),
        (("--keep-free", "8000000T"), "are kept free"),
    ],
)
async def test_bound_on_what_may_be_put(
    share: Path, tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    async with start_server(share, *flags) as server:
        if any("files" in flag for flag in flags):
            (share / "there").touch()
        done = await put(server, tmp_path, 1001, "big")
        (share / "there").unlink(missing_ok=True)
        small = await put(server, tmp_path, 1000, "small")
    assert done.code == 1 and done.err.startswith("ftransfer: big: ") and says in done.err
    assert small.code == (1 if "--keep-free" in flags else 0)
    assert not (share / "big").exists()


async def test_bounds_on_sessions_and_times(share: Path) -> None:
    async with start_server(
        share, "--anonymous", "all", "--max-source-sessions", 1, "--idle-time", "2s"
    ) as server:
        async with raw_peer("127.0.0.1", server.port) as first:
            assert (await first.json())[0] == b"H"
            async with raw_peer("127.0.0.1", server.port) as second:
                assert await second.error() == "busy"
            assert await first.error() == "timed_out"


async def test_record_of_who_did_what(share: Path, tmp_path: Path) -> None:
    async with start_server(share, "--audit", str(tmp_path / "audit.log")) as server:
        assert (await put(server, tmp_path, 5, "a b")).code == 0
        (tmp_path / "audit.log").rename(tmp_path / "audit.1")
        server.process.send_signal(signal.SIGHUP)
        await server.err_until("settings: unchanged")
        assert (await put(server, tmp_path, 5, "c")).code == 0
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
    names = [
        [
            record["name"]
            for record in map(json.loads, path.read_text().splitlines())
            if record["event"] == "put"
        ]
        for path in (tmp_path / "audit.1", tmp_path / "audit.log")
    ]
    assert names == [["a b"], ["c"]]


async def test_audit_file_that_cannot_be_opened_is_wrong_usage(share: Path, tmp_path: Path) -> None:
    done = await run_program(
        "serve", share, "--port", 0, "--audit", tmp_path / "none/audit.log", folder=tmp_path
    )
    assert done.code == 2 and "none/audit.log: cannot open the file: No such file" in done.err


async def test_configuration_is_read_anew_on_a_signal(share: Path, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text('quota = "1000"\nwelcome = "hello"\n')
    async with start_server(share, "--config", str(config)) as server:
        assert (await put(server, tmp_path, 2000, "a")).code == 1

        config.write_text('quota = "10X"\n')
        server.process.send_signal(signal.SIGHUP)
        assert "serve.toml:1:1: quota" in await server.err_until("settings: not changed:")
        assert (await put(server, tmp_path, 2000, "a")).code == 1

        config.write_text('quota = "5000"\nwelcome = "good bye"\n')
        server.process.send_signal(signal.SIGHUP)
        await server.err_until("settings: read from .*serve.toml")
        assert "settings: welcome cannot change while the server runs" in await server.err_until(
            "cannot change"
        )
        assert (await put(server, tmp_path, 2000, "a")).code == 0


async def test_command_line_comes_before_the_file(share: Path, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text('max_file = "10"\n')
    async with start_server(share, "--config", str(config), "--max-file", "3K") as server:
        assert (await put(server, tmp_path, 2000, "a")).code == 0
        server.process.send_signal(signal.SIGHUP)
        await server.err_until("settings: read from .*serve.toml")
        assert (await put(server, tmp_path, 2001, "a")).code == 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "shown", "also"),
    [("[::1]", "::1", "::1"), ("::", "::", "127.0.0.1"), ("", "::", "127.0.0.1")],
)
async def test_addresses_to_listen_on(share: Path, host: str, shown: str, also: str) -> None:
    async with start_server(share, "--host", host, "--anonymous", "read") as server:
        assert server.addresses == [(shown, server.port)]
        if not host:
            await server.err_until(
                "--host is empty: this server listens on all addresses of the machine"
            )
        done = await run_program(
            "dir", also, server.port, *(["--tls"] if shown == "::" else []), folder=share
        )
        assert done.code == 0, done.err
