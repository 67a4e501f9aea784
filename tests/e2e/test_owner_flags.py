"""What the owner of a share allows and bounds, by the flags of `serve`, as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import Done, run_program, start_server


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
    assert again.code == 1 and "something has that name already" in again.err
    assert (listing.code, listing.out) == (0, b"")
    assert got.code == 1 and "report.txt: no such file or folder" in got.err


@pytest.mark.parametrize("flags", [("--read-only", "--drop-box")])
async def test_contradicting_flags_are_wrong_usage_naming_both(tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = await run_program("serve", ".", *flags, folder=tmp_path)
    assert done.code == 2
    assert all(flag in done.err for flag in flags) and done.err.count("\n") == 1
