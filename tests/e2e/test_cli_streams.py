"""put from a pipe and get into one, as people write it in a shell."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.programs import PROJECT
from tests.support.service import Service, serve


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def shell(service: Service, line: str) -> tuple[int, bytes, str]:
    """Run a line of bash in the local folder, in which $F is the program and $AT the server; give its code, stdout and stderr."""
    host, port = service.address
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"set -o pipefail; F={shlex.quote(f'{sys.executable} -m ftransfer')}; AT='{host} {port}'; {line}",
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
    code, out, err = await shell(service, "$F get $AT notes.tar - | tar x -C again && diff -r notes again/notes")
    assert (code, out, err) == (0, b"", "")


@pytest.mark.parametrize("size", [0, 100, 30 << 20])
async def test_reader_that_goes_away_is_a_clean_end(service: Service, size: int) -> None:
    content = os.urandom(min(size, 100)) * (size // 100 if size > 100 else 1)
    (service.root / "a").write_bytes(content)
    code, out, err = await shell(service, "$F get $AT a - | head -c 10; echo ${PIPESTATUS[0]} >&2")
    assert (code, out, err) == (0, content[:10], "0\n")


async def test_source_that_fails_is_seen_in_the_code_of_the_pipe(service: Service) -> None:
    code, _, err = await shell(service, "$F get $AT nothing - | cat > copy")
    assert code == 1 and err.count("\n") == 1
    assert (service.local / "copy").read_bytes() == b""
