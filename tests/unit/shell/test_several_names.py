"""Commands of the shell that take several names, or a name with a meaning of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.errors import NotAFile, NotFound
from ftransfer.shell.commands import execute
from ftransfer.shell.errors import SomeFailed, WrongUsage
from ftransfer.shell.formatting import explain
from tests.unit.shell.conftest import FakeShare, Screen


async def test_put_of_several_files(screen: Screen, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    await execute(screen.shell, "put a b")
    await execute(screen.shell, "put a b photos")
    assert {name: screen.share.files[name] for name in ("a", "b", "photos/a", "photos/b")} == {
        "a": b"a",
        "b": b"b",
        "photos/a": b"a",
        "photos/b": b"b",
    }


async def test_file_that_is_not_here_is_named_as_it_was_typed(screen: Screen) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await execute(screen.shell, "put sub/nosuch")
    assert (
        explain(caught.value)
        == "sub/nosuch: No such file or directory; check the path on this machine"
    )


async def test_get_of_several_files(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(SomeFailed, match="1 of 3 names failed"):
        await execute(screen.shell, 'get empty nothing "my holiday list.txt" here')
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "empty",
        "my holiday list.txt",
    ]
    assert screen.notes == ["nothing: no such file or folder; dir lists what is there"]


async def test_get_to_a_dash_shows_the_content(screen: Screen, tmp_path: Path) -> None:
    await execute(screen.shell, 'get "my holiday list.txt" -')
    assert screen.content == b"list" and list(tmp_path.iterdir()) == []
    with pytest.raises(WrongUsage, match="one file"):
        await execute(screen.shell, "get empty photos -")


@pytest.mark.parametrize("verb", ["rm", "mkdir", "checksum", "stat"])
async def test_names_behind_one_that_fails_are_done_as_well(
    share: FakeShare, screen: Screen, verb: str
) -> None:
    share.files |= {"x": b"", "y": b""}
    share.failures = [NotFound("x: no such file or folder", name="x")]
    with pytest.raises(SomeFailed, match="1 of 2 names failed"):
        await execute(screen.shell, f"{verb} x y")
    assert [line.split()[1] for line in share.asked] == ["x", "y"]
    assert screen.notes == ["x: no such file or folder; dir lists what is there"]


async def test_rm_keeps_the_slash_that_only_a_folder_has(screen: Screen) -> None:
    await execute(screen.shell, "rm -r photos/ empty")
    assert screen.share.asked == ["rm photos/ True", "rm empty True"]


async def test_put_and_mv_go_into_a_folder_of_that_name(
    share: FakeShare, screen: Screen, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a")
    share.failures = [
        NotAFile("photos: is a folder, and a file cannot take its place", name="photos")
    ]
    await execute(screen.shell, "put a photos")
    assert share.files["photos/a"] == b"a"
    share.failures = [
        NotAFile("photos: is a folder, and a file cannot take its place", name="photos")
    ]
    await execute(screen.shell, "mv empty photos")
    assert share.asked[-1] == "mv empty to photos/empty False"


@pytest.mark.parametrize(
    "line", ["get --help", "get -h", "rm x --help", "ls -h", "say --help", "dir --help"]
)
async def test_each_command_has_help_about_itself(screen: Screen, line: str) -> None:
    await execute(screen.shell, line)
    [first, *_] = screen.lines
    assert first.startswith(line.split()[0]) and ": " in first
    assert screen.share.asked == []


async def test_name_like_a_request_for_help_can_be_said(screen: Screen) -> None:
    screen.share.files["-h/x"] = b""
    await execute(screen.shell, "ls -- -h")
    await execute(screen.shell, "dir ./-h")
    assert screen.lines[0] == "x"
