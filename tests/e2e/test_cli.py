"""The command line as processes: what it prints where, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from tests.support.programs import PROJECT, Done, run_program, start_program, start_server
from tests.support.service import Service, end_frame, fake_server, frame, free_port, raw_peer, serve
from tests.support.stalling import stalling_server

NAMES = [
    "射频仿真.pptx",
    "my holiday photo.jpg",
    "-leading dash",
    "esc\x1b[31m\nred",
    "bytes\udcff",
]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def run(service: Service, command: str, *arguments: str, stdin: bytes = b"") -> Done:
    return await run_program(
        command, *service.address, *arguments, folder=service.local, stdin=stdin
    )


# What works.


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_put_and_get_of_any_name(service: Service, name: str) -> None:
    content = os.urandom(10_000)
    (service.local / name).write_bytes(content)
    put = await run(service, "put", "--json", "--", name)
    assert (put.code, put.err) == (0, "")
    receipt = json.loads(put.out)
    assert (receipt["name"], receipt["size"], receipt["digest"]) == (
        name,
        len(content),
        digest_of(content),
    )
    assert (service.root / name).read_bytes() == content
    (service.local / name).unlink()
    get = await run(service, "get", "--json", "--", name)
    assert (get.code, get.err) == (0, "")
    assert json.loads(get.out)["digest"] == digest_of(content)
    assert (service.local / name).read_bytes() == content


async def test_results_as_text(service: Service) -> None:
    (service.local / "天线15.doc").write_bytes(b"x" * 2_000)
    (service.root / "reports").mkdir()
    put = await run(service, "put", "天线15.doc", "reports/")
    assert (put.code, put.err) == (0, "")
    assert put.text.startswith("stored 天线15.doc as reports/天线15.doc: 2.0 kB in ")
    get = await run(service, "get", "reports/天线15.doc", "copy.doc")
    assert get.text.startswith("received reports/天线15.doc as copy.doc: 2.0 kB in ")
    assert (service.local / "copy.doc").read_bytes() == b"x" * 2_000


async def test_streams(service: Service) -> None:
    content = os.urandom(3_000_000)
    put = await run(service, "put", "-", "stream", stdin=content)
    assert put.code == 0 and put.text.startswith("stored stream: 3.0 MB")
    get = await run(service, "get", "stream", "-")
    assert (get.code, get.out, get.err) == (0, content, "")


async def test_one_file_over_several_connections(service: Service) -> None:
    content = os.urandom(3_000_000)
    (service.local / "a").write_bytes(content)
    put = await run(service, "put", "--streams", "3", "a", "b")
    assert (put.code, put.err) == (0, "") and put.text.startswith("stored a as b: 3.0 MB")
    get = await run(service, "get", "--streams", "3", "b", "c")
    assert (get.code, get.err) == (0, "")
    assert (service.local / "c").read_bytes() == content
    refused = await run(service, "put", "--streams", "3", "-", "b", stdin=content)
    assert refused.code == 2 and "--streams needs one whole file" in refused.err


async def test_receipt_does_not_mix_with_content(service: Service) -> None:
    (service.root / "a").write_bytes(b"content")
    get = await run(service, "get", "--json", "a", "-")
    assert get.out == b"content"
    assert json.loads(get.err)["size"] == 7


async def test_part_of_a_file(service: Service) -> None:
    content = os.urandom(3_000_000)
    (service.root / "a").write_bytes(content)
    to_stdout = await run(service, "get", "a", "-", "--offset", "1000", "--length", "2000000")
    assert (to_stdout.code, to_stdout.out, to_stdout.err) == (0, content[1000:2_001_000], "")
    to_file = await run(service, "get", "--json", "a", "--offset", "2999990")
    assert (to_file.code, to_file.err) == (0, "")
    assert json.loads(to_file.out)["digest"] == digest_of(content[-10:])
    assert (service.local / "a").read_bytes() == content[-10:]
    refused = await run(service, "get", "a", "b", "--offset", "3000001")
    assert refused.code == 1 and "fewer than 3000001" in refused.err
    assert [path.name for path in service.local.iterdir()] == ["a"]


async def test_conditions_of_a_put(service: Service) -> None:
    (service.local / "a").write_bytes(b"new")
    assert (await run(service, "put", "--if-absent", "a")).code == 0
    again = await run(service, "put", "--if-absent", "a")
    assert again.code == 1 and again.err.count("\n") == 1 and "already exists" in again.err
    (service.local / "b").write_bytes(b"newer")
    other = await run(service, "put", "--if-match", digest_of(b"other"), "b", "a")
    assert other.code == 1 and "has other content than was expected" in other.err
    assert (service.root / "a").read_bytes() == b"new"
    assert (await run(service, "put", "--if-match", digest_of(b"new").upper(), "b", "a")).code == 0
    assert (service.root / "a").read_bytes() == b"newer"


async def test_what_is_not_synced_says_so(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "a").write_bytes(b"x")
    async with start_server(tmp_path / "share") as program:
        [address] = program.addresses
        assert (await run_program("put", *address, "a", folder=tmp_path)).text.endswith(
            ", verified\n"
        )
        unsynced = await run_program("put", "--no-fsync", *address, "a", folder=tmp_path)
        assert unsynced.text.endswith(", verified (not synced)\n")
        got = await run_program("get", "--no-fsync", *address, "a", "b", folder=tmp_path)
        assert got.text.endswith(", verified (not synced)\n")
    async with start_server(tmp_path / "share", "--no-fsync") as program:
        [address] = program.addresses
        receipt = await run_program("put", "--json", *address, "a", folder=tmp_path)
        assert json.loads(receipt.out)["durable"] is False
        async with raw_peer(*address) as peer:
            assert (await peer.json())[1]["durable"] is False


async def test_dir(service: Service) -> None:
    (service.root / "b").write_bytes(b"1234")
    (service.root / "a").mkdir()
    (service.root / "a" / "inner\n").touch()
    top = await run(service, "dir")
    assert [
        (line.split()[0], line.split()[1], line.split()[-1]) for line in top.text.splitlines()
    ] == [
        ("dir", "-", "a"),
        ("file", "4", "b"),
    ]
    inner = await run(service, "dir", "a")
    assert inner.text.endswith(" a/inner\\n\n")
    as_json = await run(service, "dir", "--json", "a/")
    assert json.loads(as_json.out)["name"] == "a/inner\n"


async def test_terminal_that_knows_only_ascii(service: Service) -> None:
    (service.root / "射").touch()
    done = await run_program(
        "dir", *service.address, folder=service.local, environment={"PYTHONIOENCODING": "ascii"}
    )
    assert (done.code, done.err) == (0, "") and done.text.endswith(" \\u5c04\n")


def touch_many(folder: Path) -> None:
    for number in range(3_000):
        (folder / f"file number {number:04} with quite a long name").touch()


async def test_reader_that_has_seen_enough(service: Service) -> None:
    await asyncio.to_thread(touch_many, service.root)  # a busy disk takes its time
    source, sink = os.pipe()
    program = asyncio.create_task(
        run_program("dir", *service.address, folder=service.local, stdout=sink)
    )
    try:
        await asyncio.get_running_loop().run_in_executor(None, os.read, source, 10)
    finally:
        os.close(source)
        os.close(sink)
    done = await program
    assert (done.code, done.err) == (0, "")


_HEAVY = (
    "argon2 cryptography platformdirs prompt_toolkit pydantic rich typer watchfiles wcwidth"
    " ftransfer.cli.serve ftransfer.cli.live ftransfer.cli.users ftransfer.gateways.native"
    " ftransfer.shell.commands ftransfer.tls ftransfer.watch"
)
# What the standard library and others have, and takes longer to import than to do without.
_SLOW = (
    "dataclasses ipaddress pathlib platform ftransfer.storage.local.bulk"
    " ftransfer.storage.local.bulk_read"
)
_HEAVY_TREES = "aiofiles dataclasses pathlib random tempfile"
_TREES = (
    "ftransfer.client.trees.transfers ftransfer.client.transfers.parallel_download"
    " ftransfer.client.trees.mirror"
)


@pytest.mark.parametrize(
    ("command", "arguments", "heavy"),
    [
        ("get", ["a", "b"], f"{_HEAVY} {_SLOW} {_TREES} aiofiles random tempfile"),
        ("put", ["a"], f"{_HEAVY} {_SLOW} {_TREES}"),
        ("dir", [], f"{_HEAVY} {_SLOW} {_TREES} aiofiles random tempfile"),
        ("get", ["-r", "folder", "copy"], f"{_HEAVY} {_HEAVY_TREES}"),
        ("sync", ["get", ".", "copy"], f"{_HEAVY} {_HEAVY_TREES}"),
        ("sync", ["put", ".", "copy"], f"{_HEAVY} {_HEAVY_TREES}"),
    ],
)
async def test_what_a_command_does_not_need_is_not_imported(
    service: Service, command: str, arguments: list[str], heavy: str
) -> None:
    (service.root / "a").write_bytes(b"there")
    (service.local / "a").write_bytes(b"here")
    (service.root / "folder" / "below").mkdir(parents=True)
    (service.root / "folder" / "below" / "a").write_bytes(b"there")
    code = f"""
import sys
there = set(sys.modules)  # what the installation brings, as an editable one does
from ftransfer.cli.runtime.entry import run_program
assert run_program({[command, *map(str, service.address), *arguments]!r}) == 0
sys.exit(repr(set({heavy.split()!r}) & set(sys.modules) - there))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=service.local,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    _, err = await process.communicate()
    assert err.decode().splitlines()[-1] == "set()"


# What does not.


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("get nope", 1, "nope: no such file or folder; dir lists what is there"),
        ("get folder", 1, "folder: is not a file but a folder; get -r receives folders"),
        ("get ../x", 1, "../x: a name cannot have . or .. as a part"),
        ("get /etc/passwd", 1, "etc/passwd: no such file or folder"),
        ("get .ftransfer/x", 1, "names that begin with .ftransfer are reserved"),
        ("get a nowhere/b", 1, "nowhere"),
        ("put nope", 1, "nope: No such file or directory; check the path on this machine"),
        ("put .", 1, ".: is a folder; use put -r"),
        ("put inner", 1, "inner: is a folder"),
        ("put a ../a", 1, "../a: a name cannot have"),
        ("put a nowhere/a", 1, "nowhere"),
        ("dir nope", 1, "nope: no such file or folder"),
        ("dir a", 1, "a: "),
    ],
)
async def test_refusals_are_one_line_with_the_name(
    service: Service, line: str, code: int, says: str
) -> None:
    (service.root / "folder").mkdir()
    (service.root / "a").touch()
    (service.local / "a").touch()
    (service.local / "inner").mkdir()
    done = await run(service, *line.split())
    assert (done.code, done.out) == (code, b"")
    assert done.err.startswith("ftransfer: ") and done.err.count("\n") == 1
    assert says in done.err
    assert str(service.root) not in done.err
    assert sorted(path.name for path in service.root.iterdir() if path.name != ".ftransfer") == [
        "a",
        "folder",
    ]


async def test_read_only_share(tmp_path: Path) -> None:
    async with serve(tmp_path, read_only=True) as service:
        (service.local / "a").touch()
        done = await run(service, "put", "a")
    assert (done.code, done.err) == (1, "ftransfer: a: this share is read-only\n")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "not an ftransfer server; it says: SSH-2.0-OpenSSH_9.2p1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ftransfer server"),
        (b"220 \x1b[31mftp ready\r\n", r"it says: 220 \x1b[31mftp ready"),
        (b"", "before its greeting"),
    ],
    ids=["ssh", "http", "ftp", "nothing"],
)
async def test_server_that_speaks_something_else(tmp_path: Path, said: bytes, says: str) -> None:
    async with fake_server(said, then_close=True) as address:
        done = await run_program("get", *address, "a", folder=tmp_path)
    assert done.code == 3 and says in done.err and done.err.count("\n") == 1


async def test_nobody_listens(tmp_path: Path) -> None:
    done = await run_program("dir", "127.0.0.1", free_port(), folder=tmp_path)
    assert done.code == 3 and "refuses connections" in done.err and done.err.count("\n") == 1


@pytest.mark.long
async def test_listener_that_never_greets(tmp_path: Path) -> None:
    async with fake_server() as address:
        done = await run_program("dir", *address, folder=tmp_path)
    assert done.code == 3 and "does not greet" in done.err


HELLO = frame(b"H", b'{"protocol":1}')
META = frame(
    b"M", b'{"name":"x","size":5,"mtime_ns":1,"mode":420,"identity":"i","offset":0,"length":5}'
)


@pytest.mark.parametrize(
    ("said", "line", "code", "says"),
    [
        (
            HELLO + META + frame(b"D", b"hello") + end_frame(5, digest_of(b"HELLO"), META),
            "get x",
            4,
            "x: the content does not match",
        ),
        (
            frame(b"X", b'{"code":"not_authorised","message":"log in first"}'),
            "dir",
            5,
            "log in first",
        ),
        (
            frame(b"X", b'{"code":"busy","message":"the server is full; try again later"}'),
            "dir",
            1,
            "full",
        ),
        (
            HELLO
            + frame(b"L", b'[{"name":"../../etc/cron.d/x","kind":"file","mtime_ns":1,"mode":420}]'),
            "dir",
            1,
            "../../etc/cron.d/x",
        ),
        (HELLO + frame(b"Z", b""), "dir", 3, ""),
        (HELLO, "dir", 3, "closed the connection"),
    ],
    ids=["digest", "login", "busy", "climbs", "frame", "closes"],
)
async def test_server_that_lies_or_refuses(
    tmp_path: Path, said: bytes, line: str, code: int, says: str
) -> None:
    async with fake_server(said, then_close=True) as address:
        command, *arguments = line.split()
        done = await run_program(command, *address, *arguments, folder=tmp_path)
    assert done.code == code and says in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "x").exists()


async def test_full_output(service: Service) -> None:
    (service.root / "a").write_bytes(b"x" * 10_000)
    sink = os.open("/dev/full", os.O_WRONLY)
    try:
        done = await run_program("dir", *service.address, folder=service.local, stdout=sink)
    finally:
        os.close(sink)
    assert (done.code, done.err) == (1, "ftransfer: stdout: No space left on device\n")


async def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    async with (
        stalling_server() as server,
        start_program("get", *server.address, "half", folder=tmp_path) as program,
    ):
        await server.stalls.wait()
        program.process.send_signal(signal.SIGINT)
        assert await program.end() == 130
    assert program.err == "ftransfer: interrupted\n"
    assert list(tmp_path.iterdir()) == []


async def test_interrupt_does_not_wait_for_stdin(tmp_path: Path) -> None:
    async with (
        stalling_server() as server,
        start_program("put", *server.address, "-", "name", folder=tmp_path) as program,
    ):
        await server.stalls.wait()  # stdin stays open and silent
        program.process.send_signal(signal.SIGINT)
        assert await program.end() == 130
    assert program.err == "ftransfer: interrupted\n"


# serve.


async def test_server_says_where_it_listens_logs_and_stops(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    async with start_server(share, "--welcome", "hello") as server:
        assert server.addresses[0][0] == "127.0.0.1" and server.port > 0
        assert await server.line_to_hand_on() == ({}, ["connect", "127.0.0.1", str(server.port)])
        done = await run_program("get", "127.0.0.1", server.port, "nope\x1b[2J", folder=tmp_path)
        assert done.code == 1
        assert await server.err_until(r"INFO 127\.0\.0\.1:\d+ #1 connected$")
        assert r"nope\x1b[2J" in await server.err_until(r" get .* not_found$")
        assert await server.err_until(r"#1 left$")
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 0
        assert "Traceback" not in server.err


async def test_interrupt_stops_a_server_too(tmp_path: Path) -> None:
    async with start_server(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        assert await server.end() == 0


async def test_second_signal_cuts_what_runs(tmp_path: Path) -> None:
    async with (
        start_server(tmp_path, "--anonymous", "all") as server,
        raw_peer("127.0.0.1", server.port) as peer,
    ):
        await peer.frame()
        await peer.send(b'put "x" {"size": 10, "wait": true}\n')
        assert (await peer.json())[0] == b"M"  # the put is under way and will never end
        server.process.send_signal(signal.SIGTERM)
        await server.err_until("^stopping")
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 130
    assert not (tmp_path / "x").exists()


async def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = await run_program("serve", tmp_path, "--port", port, folder=tmp_path)
    assert (done.code, done.out) == (1, b"")
    assert (
        f"cannot listen on 127.0.0.1:{port}: the port is in use" in done.err
        and done.err.count("\n") == 1
    )


@pytest.mark.parametrize("folder", ["missing", "file", "secret"])
async def test_folder_that_cannot_be_shared(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "secret").mkdir(mode=0o000)
    if folder == "secret" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    done = await run_program("serve", folder, folder=tmp_path)
    assert (done.code, done.out) == (1, b"")
    assert done.err.startswith(f"ftransfer: {folder}: ") and done.err.count("\n") == 1


async def test_ipv6(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    (tmp_path / "a").touch()
    async with start_server(tmp_path, "--host", "::1") as server:
        assert server.addresses[0][0] == "::1"
        done = await run_program("dir", "[::1]", server.port, folder=tmp_path)
        assert done.code == 0 and done.text.endswith(" a\n")


async def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    done = await run_program(
        "dir", "127.0.0.1", free_port(), folder=tmp_path, environment={"FTRANSFER_DEBUG": "1"}
    )
    assert done.code == 3 and "Traceback" in done.err


async def test_server_takes_all_the_descriptors_that_it_may_have(tmp_path: Path) -> None:
    limits = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096)); "
        "runpy.run_module('ftransfer', run_name='__main__')"
    )
    program = [sys.executable, "-c", limits, "serve", str(tmp_path), "--port", "0"]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=quiet
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"listening on ")
        text = await asyncio.to_thread(Path(f"/proc/{process.pid}/limits").read_text)
        line = next(line for line in text.splitlines() if line.startswith("Max open files"))
        assert line.split()[3:5] == ["4096", "4096"]
    finally:
        process.terminate()
        await process.wait()
