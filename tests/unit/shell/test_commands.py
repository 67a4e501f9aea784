from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from ftransfer.errors import (
    CannotConnect,
    Closed,
    FtransferError,
    NameRefused,
    NotFound,
    ServerStopping,
)
from ftransfer.names import SafeName
from ftransfer.shell.commands import BY_WORD, execute
from ftransfer.shell.context import resolve
from ftransfer.shell.errors import SomeFailed, WrongUsage
from tests.unit.shell.conftest import FakeShare, Screen

# The share.


async def test_dir_lists_kind_size_time_name(screen: Screen) -> None:
    await execute(screen.shell, "dir")
    assert [(line.split()[0], line.split()[1]) for line in screen.lines] == [
        ("file", "0"),
        ("file", "4"),
        ("file", "4"),
        ("dir", "-"),
        ("file", "6"),
    ]
    assert screen.lines[-1].endswith(" 射频仿真.pptx")


async def test_ls_gives_one_name_a_line_where_there_is_no_terminal(screen: Screen) -> None:
    await execute(screen.shell, "ls")
    assert screen.lines == [
        "empty",
        "my holiday list.txt",
        "my holiday photo.jpg",
        "photos/",
        "射频仿真.pptx",
    ]


async def test_ls_sets_columns_at_a_terminal(share: FakeShare, tmp_path: Path) -> None:
    screen = Screen(share, tmp_path, width=50)
    await execute(screen.shell, "ls")
    assert screen.lines == [
        "empty                 photos/",
        "my holiday list.txt   射频仿真.pptx",
        "my holiday photo.jpg",
    ]


async def test_ls_l_is_dir(screen: Screen) -> None:
    await execute(screen.shell, "ls -l photos")
    assert screen.lines[0].split() == ["dir", "-", *screen.lines[0].split()[2:4], "2024"]


async def test_names_are_shown_relative_and_escaped(screen: Screen) -> None:
    await execute(screen.shell, "ls photos")
    assert screen.lines == ["2024/", r"esc\x1b[31m.jpg"]


async def test_cd_changes_where_names_start(screen: Screen) -> None:
    for line in ("cd photos", "cd 2024", "pwd", 'get "a b.jpg"', "ls ..", "cd", "pwd"):
        await execute(screen.shell, line)
    assert "get photos/2024/a b.jpg" in screen.share.asked[2]
    assert screen.share.asked[3] == "dir photos"
    assert screen.lines[0] == "/photos/2024" and screen.lines[-1] == "/"


async def test_cd_to_what_is_not_there_stays(screen: Screen) -> None:
    with pytest.raises(NotFound):
        await execute(screen.shell, "cd nowhere")
    assert screen.shell.folder.is_root


async def test_cd_into_a_huge_folder_reads_only_its_beginning(
    share: FakeShare, screen: Screen
) -> None:
    share.files |= {f"huge/{number}": b"" for number in range(25_000)}
    share.batch_size = 5_000
    await execute(screen.shell, "cd huge")
    assert share.is_closed  # left before its end
    await execute(screen.shell, "pwd")
    await execute(screen.shell, "get ../empty")
    assert screen.notes == []


async def test_get_goes_to_the_local_folder(screen: Screen, tmp_path: Path) -> None:
    await execute(screen.shell, "get 射频仿真.pptx")
    assert (tmp_path / "射频仿真.pptx").read_bytes() == b"slides"
    assert screen.lines == ["received 射频仿真.pptx: 6 B in 0.25 s, verified"]


async def test_get_of_a_folder_goes_below_a_folder_that_is_there(
    screen: Screen, tmp_path: Path
) -> None:
    await execute(screen.shell, "get -r photos")
    await execute(screen.shell, "get -r photos/2024 other")
    assert screen.share.asked[-2:] == [
        f"get -r photos {tmp_path}/photos",
        f"get -r photos/2024 {tmp_path}/other",
    ]
    assert screen.lines[-1] == "received 2 files, 10 B in 0.00 s"


async def test_put_of_a_folder_tells_what_failed_and_fails(screen: Screen, tmp_path: Path) -> None:
    with pytest.raises(SomeFailed):
        await execute(screen.shell, "put -r somewhere photos/")
    assert screen.share.asked[-1] == f"put -r {tmp_path}/somewhere photos/somewhere"
    assert screen.lines[0].startswith("x: is gone") and screen.lines[1].endswith(
        "1 FAILED in 0.00 s"
    )


async def test_get_to_another_name(screen: Screen, tmp_path: Path) -> None:
    await execute(screen.shell, "get empty 'a new name'")
    assert (tmp_path / "a new name").read_bytes() == b""
    assert screen.lines == ["received empty as a new name: 0 B in 0.25 s, verified"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("put 天线15.doc", "天线15.doc"),
        ("put 天线15.doc other.doc", "other.doc"),
        ("put 天线15.doc photos/", "photos/天线15.doc"),
        ("put 天线15.doc /", "天线15.doc"),
        ("put 天线15.doc photos/2024/..", "photos/天线15.doc"),
        ("put ./天线15.doc", "天线15.doc"),
    ],
)
async def test_put_names_what_it_sends(
    screen: Screen, tmp_path: Path, line: str, name: str
) -> None:
    (tmp_path / "天线15.doc").write_bytes(b"doc")
    await execute(screen.shell, line)
    assert screen.share.files[name] == b"doc"


async def test_put_goes_to_the_current_folder_of_the_share(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    await execute(screen.shell, "cd photos")
    await execute(screen.shell, "put a")
    assert screen.share.files["photos/a"] == b"a"
    assert screen.lines == ["stored a as photos/a: 1 B in 0.25 s, verified"]


@pytest.mark.parametrize(
    ("folder", "typed", "name"),
    [
        ("", "a/b", "a/b"),
        ("x/y", "a", "x/y/a"),
        ("x/y", "..", "x"),
        ("x/y", "../..", ""),
        ("x/y", "/a", "a"),
        ("x/y", "./a//b/", "x/y/a/b"),
        ("x", "", "x"),
        ("x", "/", ""),
        ("", "...", "..."),
    ],
)
def test_typed_names_are_followed(folder: str, typed: str, name: str) -> None:
    assert str(resolve(SafeName(tuple(folder.split("/")) if folder else ()), typed)) == name


@pytest.mark.parametrize("typed", ["..", "a/../..", "/..", "a\0b", ".ftransfer/x"])
def test_typed_names_that_lead_nowhere(typed: str) -> None:
    with pytest.raises(NameRefused):
        resolve(SafeName(()), typed)


# This machine.


async def test_local_commands(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x y").write_bytes(b"123")
    for line in ("lls", "lcd inner", "lpwd", "lls -l", "lcd ..", "lpwd"):
        await execute(screen.shell, line)
    assert screen.lines[:2] == ["inner/", str(tmp_path / "inner")]
    assert screen.lines[2].split()[1] == "3" and screen.lines[2].endswith(" x y")
    assert screen.lines[3] == str(tmp_path)


@pytest.mark.parametrize("line", ["lcd nowhere", "lls nowhere"])
async def test_local_folder_that_is_not_there(screen: Screen, line: str) -> None:
    with pytest.raises(FileNotFoundError):
        await execute(screen.shell, line)


# The shell itself.


@pytest.mark.parametrize("word", ["close", "exit", "quit", "bye", "EXIT"])
async def test_words_that_leave(screen: Screen, word: str) -> None:
    await execute(screen.shell, word)
    assert not screen.shell.is_open


async def test_help_shows_every_command(screen: Screen) -> None:
    await execute(screen.shell, "help")
    assert {line.split()[0] for line in screen.lines[:-1]} == {
        command.words[0] for command in BY_WORD.values()
    }
    assert all(len(line) < 80 for line in screen.lines)


async def test_help_of_one_command(screen: Screen) -> None:
    await execute(screen.shell, "help quit")
    assert screen.lines == ["close: leave the shell (also: exit, quit, bye, Ctrl-D)"]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("dri", "unknown command dri; did you mean dir\\?"),
        ("gte x", "did you mean get\\?"),
        ("xyzzy", "unknown command xyzzy; help lists"),
        ("!ls", "unknown command !ls"),
        ("\x1b[2J", r"unknown command \\x1b\[2J"),
        ("get", r"get: missing NAME; usage: get \[-r\] NAME... \[DEST\]"),
        ("mv a", "mv: missing NEW; usage: mv"),
        ("get my holiday photo.jpg", "quote names that contain spaces"),
        ("pwd x", "usage: pwd"),
        ("ls -z", "no flag -z; usage: ls"),
        ("get --resume x", "get has no flag --resume; usage: get"),
        ("rm -rf x", "rm has no flag -f in -rf; usage: rm"),
        ("help nothing", "unknown command nothing"),
        ('get "a', "missing closing quote"),
    ],
)
async def test_what_makes_no_sense(screen: Screen, line: str, match: str) -> None:
    with pytest.raises(WrongUsage, match=match):
        await execute(screen.shell, line)
    assert screen.share.asked == []


async def test_dash_dash_ends_the_flags(screen: Screen) -> None:
    screen.share.files["-l/x"] = b""
    await execute(screen.shell, "ls -- -l")
    assert screen.lines == ["x"]


@pytest.mark.parametrize("line", ["", "   ", "# a note", "  #rm empty"])
async def test_empty_line_does_nothing(screen: Screen, line: str) -> None:
    await execute(screen.shell, line)
    assert screen.lines == [] and screen.share.asked == []


# The connection.


async def test_lost_connection_is_made_again_and_said(screen: Screen) -> None:
    screen.share.lose()
    await execute(screen.shell, "ls photos")
    assert screen.notes == ["connection lost; reconnected"]
    assert screen.lines == ["2024/", r"esc\x1b[31m.jpg"]


@pytest.mark.parametrize(
    "failures",
    [[Closed("gone")], [ServerStopping("the server is stopping"), Closed("gone")]],
    ids=["closed", "stopping"],
)
async def test_loss_that_a_listing_discovers_is_mended(
    screen: Screen, failures: list[FtransferError]
) -> None:
    screen.share.failures = failures
    await execute(screen.shell, "ls photos")
    assert screen.notes == ["connection lost; reconnected"]
    assert screen.lines == ["2024/", r"esc\x1b[31m.jpg"]


async def test_listing_that_fails_on_a_new_connection_too_fails(screen: Screen) -> None:
    screen.share.failures = [Closed("gone"), Closed("gone again")]
    with pytest.raises(Closed, match="gone again"):
        await execute(screen.shell, "ls")


async def test_server_that_cannot_be_reached_again(screen: Screen) -> None:
    async def refuse() -> None:
        raise CannotConnect("refused")

    screen.share.lose()
    screen.share.open = refuse  # type: ignore[method-assign]  # a server that is gone
    with pytest.raises(CannotConnect):
        await execute(screen.shell, "get empty")


# Looking after files.


async def test_commands_that_look_after_files_follow_the_current_folder(screen: Screen) -> None:
    for line in (
        "cd photos/2024",
        'stat "a b.jpg"',
        'checksum "a b.jpg"',
        "mkdir -p new ../other",
        'mv "a b.jpg" ../c.jpg',
        'mv -f "a b.jpg" ..',
        "rm x -r /y",
    ):
        await execute(screen.shell, line)
    assert screen.share.asked[1:] == [
        "stat photos/2024/a b.jpg",
        "checksum photos/2024/a b.jpg",
        "mkdir photos/2024/new True",
        "mkdir photos/other True",
        "mv photos/2024/a b.jpg to photos/c.jpg False",
        "mv photos/2024/a b.jpg to photos/a b.jpg True",
        "rm photos/2024/x True",
        "rm y True",
    ]


async def test_what_looking_after_files_says(screen: Screen) -> None:
    for line in (
        "stat photos",
        'checksum "my holiday list.txt"',
        "mkdir new",
        "mv empty photos/",
        "rm empty",
        "rm -r photos",
    ):
        await execute(screen.shell, line)
    assert screen.lines[:2] == ["name      photos", "kind      dir"]
    assert screen.lines[-5:] == [
        f"{digest_of(b'list')}  my holiday list.txt",
        "made new",
        "moved empty to photos/empty",
        "removed empty",
        "removed photos: 3 files and folders",
    ]


async def test_digest_of_a_name_that_has_to_be_escaped_says_so(screen: Screen) -> None:
    await execute(screen.shell, "checksum 'photos/esc\x1b[31m.jpg'")
    assert screen.lines == [rf"\{digest_of(b'b')}  photos/esc\x1b[31m.jpg"]


@pytest.mark.parametrize(
    "line", ["rm", "mkdir", "mv a", "mv a b c", "checksum", "rm -x a", "mkdir -r a"]
)
async def test_looking_after_files_with_wrong_arguments(screen: Screen, line: str) -> None:
    with pytest.raises(WrongUsage, match="usage: "):
        await execute(screen.shell, line)
    assert screen.share.asked == []
