"""put from a pipe and get into one, as people write it in a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.errors import FtransferError
from tests.support.programs import PROJECT
from tests.support.service import Service, free_port, serve


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def shell(service: Service, line: str) -> tuple[int, bytes, str]:
    """Run a line of bash in the local folder; return its code, stdout and stderr.

    $F is the program and $AT the server.
    """
    host, port = service.address
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"set -o pipefail; F={shlex.quote(f'{sys.executable} -m ftransfer')}; AT='{host} {port}';"
        f" {line}",
        cwd=service.local,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err.decode()


async def test_folder_travels_as_a_stream_both_ways(service: Service) -> None:
    (service.local / "notes").mkdir()
    for name in ("a", "射频"):
        (service.local / "notes" / name).write_bytes(os.urandom(700_000))
    code, out, err = await shell(service, "tar c notes | $F put $AT - notes.tar")
    assert (code, err) == (0, "") and out.startswith(b"stored notes.tar: 1.4 MB")
    (service.local / "again").mkdir()
    code, out, err = await shell(
        service, "$F get $AT notes.tar - | tar x -C again && diff -r notes again/notes"
    )
    assert (code, out, err) == (0, b"", "")


LEFT = "ftransfer: stdout: the reader closed the pipe before everything was written\n"


@pytest.mark.parametrize(("size", "code", "says"), [(0, 0, ""), (100, 0, ""), (30 << 20, 1, LEFT)])
async def test_content_that_was_not_all_read_is_no_success(
    service: Service, size: int, code: int, says: str
) -> None:
    content = os.urandom(min(size, 100)) * (size // 100 if size > 100 else 1)
    (service.root / "a").write_bytes(content)
    _, out, err = await shell(service, "$F get $AT a - | head -c 10; echo ${PIPESTATUS[0]} >&2")
    assert (out, err) == (content[:10], f"{says}{code}\n")


@pytest.mark.parametrize("flags", ["", "--json"])
@pytest.mark.parametrize(
    "line", ["put -r {} $AT tree", "sync {} $AT put tree tree", "get -r {} $AT tree there"]
)
async def test_tree_is_copied_whole_though_nobody_reads_of_it(
    service: Service, line: str, flags: str
) -> None:
    source = service.root if line.startswith("get") else service.local
    (source / "tree").mkdir()
    for number in range(300):
        (source / "tree" / f"{number}").write_bytes(b"x")
    line = line.format(flags)
    code, _, err = await shell(service, f"$F {line} | true; exit ${{PIPESTATUS[0]}}")
    assert (code, err) == (0, "")
    copied = service.local / "there" if line.startswith("get") else service.root / "tree"
    assert len(list(copied.iterdir())) == 300


@pytest.mark.parametrize(
    "line", ["rm $AT {}", "mkdir -p $AT {}", "printf 'rm %s\\n' {} | $F connect $AT"]
)
async def test_work_goes_on_though_nobody_reads_of_it(service: Service, line: str) -> None:
    names = [f"{number}" for number in range(50)]
    if not line.startswith("mkdir"):
        for name in names:
            (service.root / name).write_bytes(b"x")
    command = line.format(" ".join(names))
    command = command if command.startswith("printf") else f"$F {command}"
    code, _, err = await shell(service, f"{{ {command}; }} | true; exit ${{PIPESTATUS[0]}}")
    assert (code, err) == (0, "")
    assert all((service.root / name).exists() == line.startswith("mkdir") for name in names)


@pytest.mark.parametrize("command", ["dir", "stat", "checksum", "who"])
async def test_what_only_shows_ends_with_its_reader(service: Service, command: str) -> None:
    for number in range(2000):
        (service.root / f"{number}").write_bytes(b"")
    names = "" if command in ("dir", "who") else " ".join(map(str, range(2000)))
    code, _, err = await shell(service, f"$F {command} $AT {names} | true; exit ${{PIPESTATUS[0]}}")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    "line",
    ["get $AT a b", "put $AT b c", "put -r $AT tree", "get -r $AT share", "dir $AT", "rm $AT a"],
)
async def test_closed_streams_change_nothing(service: Service, line: str, closed: str) -> None:
    for path in (
        service.root / "a",
        service.root / "share" / "a",
        service.local / "b",
        service.local / "tree" / "c",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content")
    code, out, err = await shell(service, f"exec $F {line} {closed}")
    assert (code, err) == (0, "") and (">" in closed or out == b"")
    done = {
        "get $AT a b": service.local / "b",
        "put $AT b c": service.root / "c",
        "put -r $AT tree": service.root / "tree" / "c",
        "get -r $AT share": service.local / "share" / "a",
    }
    assert line not in done or done[line].read_bytes() == b"content"
    assert (service.root / "a").exists() != line.startswith("rm")


async def test_content_does_not_go_to_or_come_from_a_closed_stream(service: Service) -> None:
    (service.root / "a").write_bytes(b"content")
    assert await shell(service, "$F get $AT a - >&-") == (
        2,
        b"",
        "ftransfer: stdout is closed; open it, or name a file\n",
    )
    assert await shell(service, "$F put $AT - b <&-") == (
        2,
        b"",
        "ftransfer: stdin is closed; open it, or name a file\n",
    )
    assert not (service.root / "b").exists()


@pytest.mark.parametrize(
    "line", ["get $AT a -", "get $AT a b", "dir $AT", "put -r --json $AT tree", "stat $AT a"]
)
async def test_full_output_is_told_as_that_of_stdout(service: Service, line: str) -> None:
    (service.root / "a").write_bytes(b"content")
    (service.local / "tree").mkdir()
    (service.local / "tree" / "c").write_bytes(b"content")
    code, _, err = await shell(service, f"$F {line} > /dev/full")
    assert (code, err) == (1, "ftransfer: stdout: No space left on device\n")
    assert not line.startswith("put") or (service.root / "tree" / "c").exists()


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>/dev/full"])
async def test_server_comes_up_without_streams(tmp_path: Path, closed: str) -> None:
    (tmp_path / "share").mkdir()
    port = free_port()
    command = (
        f"exec {sys.executable} -m ftransfer serve share --port {port} --anonymous all {closed}"
    )
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    try:
        for _ in range(200):
            with contextlib.suppress(FtransferError):
                async with connect("127.0.0.1", port, retry=NO_RETRY) as client:
                    assert await client.dir() == []
                    break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the server did not come up")
        process.terminate()
        assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_source_that_fails_is_seen_in_the_code_of_the_pipe(service: Service) -> None:
    code, _, err = await shell(service, "$F get $AT nothing - | cat > copy")
    assert code == 1 and err.count("\n") == 1
    assert (service.local / "copy").read_bytes() == b""
