"""The commands that look after files, as processes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from tests.support.programs import Done, run_program
from tests.support.service import Service, free_port, serve

OLD_NS = 1_600_000_000_123_456_789


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def run(service: Service, command: str, *arguments: str) -> Done:
    return await run_program(command, *service.address, *arguments, folder=service.local)


async def test_from_mkdir_to_rm(service: Service) -> None:
    made = await run(service, "mkdir", "-p", "lab/2024", "other")
    assert (made.code, made.text, made.err) == (0, "made lab/2024\nmade other\n", "")
    (service.root / "lab" / "射频").write_bytes(b"x" * 2000)
    moved = await run(service, "mv", "lab/射频", "lab/2024/")
    assert (moved.code, moved.text, moved.err) == (0, "moved lab/射频 to lab/2024/射频\n", "")
    removed = await run(service, "rm", "-r", "lab", "other")
    assert (removed.code, removed.text, removed.err) == (
        0,
        "removed lab: 3 files and folders\nremoved other\n",
        "",
    )
    assert list(service.root.iterdir()) == []


async def test_stat(service: Service) -> None:
    path = service.root / "a b"
    path.write_bytes(b"x" * 2000)
    path.chmod(0o640)
    os.utime(path, ns=(OLD_NS, OLD_NS))
    as_text = await run(service, "stat", "a b")
    lines = dict(line.split(maxsplit=1) for line in as_text.text.splitlines())
    assert (lines["name"], lines["size"], lines["mode"]) == ("a b", "2000 (2.0 kB)", "0640")
    as_json = await run(service, "stat", "--json", "a b", ".")
    file, folder = map(json.loads, as_json.text.splitlines())
    identity = file.pop("identity")
    assert file == {"name": "a b", "kind": "file", "size": 2000, "mtime_ns": OLD_NS, "mode": 0o640}
    assert identity in as_text.text
    assert folder["kind"] == "dir"


async def test_checksum_prints_as_b3sum_does(service: Service) -> None:
    for name in ("a", "b c", "line\nfeed"):
        (service.root / name).write_bytes(b"x")
    digest = digest_of(b"x")
    done = await run(service, "checksum", "a", "b c", "line\nfeed")
    assert (done.code, done.err) == (0, "")
    assert done.text == f"{digest}  a\n{digest}  b c\n\\{digest}  line\\nfeed\n"
    as_json = await run(service, "checksum", "--json", "a")
    assert json.loads(as_json.out) == {"name": "a", "size": 1, "digest": digest}


async def test_refusals_are_one_line_each_and_the_rest_is_done(service: Service) -> None:
    (service.root / "full").mkdir()
    for name in ("a", "b", "full/c"):
        (service.root / name).touch()
    done = await run(service, "rm", "a", "nothing", "full", "b")
    assert (done.code, done.text) == (1, "removed a\nremoved b\n")
    assert done.err.splitlines()[:2] == [
        "ftransfer: nothing: no such file or folder; dir lists what is there",
        "ftransfer: full: the folder is not empty; rm -r removes it with its content",
    ]
    alone = await run(service, "mv", "full", "full/inner")
    assert (alone.code, alone.text) == (1, "") and alone.err.count("\n") == 1


async def test_mv_replaces_only_by_force(service: Service) -> None:
    (service.root / "a").write_bytes(b"new")
    (service.root / "b").write_bytes(b"old")
    done = await run(service, "mv", "a", "b")
    assert (done.code, done.out) == (1, b"") and "already exists" in done.err
    assert (await run(service, "mv", "-f", "a", "b")).code == 0
    assert (service.root / "b").read_bytes() == b"new"


async def test_partials(service: Service) -> None:
    nothing = await run(service, "partials")
    assert (nothing.code, nothing.out, nothing.err) == (0, b"", "no interrupted uploads\n")
    async with service.peer() as peer:
        await peer.send(b'put "big.iso" {"size": 5000, "source": "s", "wait": true}\n')
        assert (await peer.frame())[0] == b"M"
        await peer.send(
            b"D\0\0\x04\0"
            + bytes(1024)
            + b"D\0\0\0\1e"
            + b'X\0\0\0\x1f{"code":"aborted","message":""}'
        )
        assert await peer.error() == "aborted"
    listed = await run(service, "partials")
    assert listed.text.split()[:3] == ["1024", "of", "5000"] and listed.text.endswith(" big.iso\n")
    assert listed.err == "1 interrupted upload, 1.0 kB\n"
    as_json = json.loads((await run(service, "partials", "--json")).out)
    assert (as_json["name"], as_json["kept"], as_json["size"]) == ("big.iso", 1024, 5000)
    spared = await run(service, "partials", "--clear", "--older", "7d")
    assert (spared.out, spared.err) == (b"", "no interrupted uploads removed\n")
    cleared = await run(service, "partials", "--clear", "big.iso")
    assert cleared.err == "1 interrupted upload removed, 1.0 kB freed\n"


async def test_without_a_server(tmp_path: Path) -> None:
    done = await run_program("rm", "127.0.0.1", free_port(), "a", "b", folder=tmp_path)
    assert (done.code, done.out) == (3, b"") and done.err.count("\n") == 1
