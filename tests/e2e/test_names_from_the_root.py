"""A leading "/" in a name is the root of the share, in each command of the command line."""

from __future__ import annotations

from pathlib import Path

from tests.support.programs import run_program
from tests.support.service import serve


async def test_each_command_takes_names_from_the_root(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        (service.root / "data").mkdir()
        (service.local / "x.csv").write_bytes(b"1,2")
        host, port = service.address

        async def out_of(*words: str) -> str:
            done = await run_program(words[0], host, port, *words[1:], folder=service.local)
            assert (done.code, done.err) == (0, ""), words
            return done.text

        assert "stored x.csv as data/x.csv" in await out_of("put", "x.csv", "/data/")
        assert (await out_of("dir", "/data")).endswith(" data/x.csv\n")
        assert "received data/x.csv as copy.csv" in await out_of("get", "/data/x.csv", "copy.csv")
        assert "name      data/x.csv" in await out_of("stat", "/data/x.csv")
        assert (await out_of("checksum", "/data/x.csv")).endswith("  data/x.csv\n")
        assert await out_of("mkdir", "/new") == "made new\n"
        assert await out_of("mv", "/data/x.csv", "/new/") == "moved data/x.csv to new/x.csv\n"
        assert "received 1 file" in await out_of("get", "-r", "/new")
        assert await out_of("rm", "-r", "/new") == "removed new: 2 files and folders\n"
