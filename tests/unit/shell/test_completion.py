from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.errors import Closed
from ftransfer.shell.commands import BY_WORD, execute
from ftransfer.shell.completion import Offer, RemoteNames, complete
from tests.unit.shell.conftest import Screen


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(screen: Screen, clock: Clock) -> RemoteNames:
    return RemoteNames(screen.shell, clock)


def after(line: str, offer: Offer) -> str:
    """Return the line as it stands after Tab."""
    return line if offer.text is None else line[: len(line) - offer.replaces] + offer.text


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("pw", "pwd "),
        ("PW", "pwd "),
        ("get em", "get empty "),
        ("get 射", "get 射频仿真.pptx "),
        ("get my", 'get "my holiday '),
        ('get "my holiday p', 'get "my holiday photo.jpg" '),
        (r"get my\ holiday\ p", 'get "my holiday photo.jpg" '),
        ("get 'my holiday'\\ p", 'get "my holiday photo.jpg" '),
        ("get ph", "get photos/"),
        ("get photos/2", "get photos/2024/"),
        ("get photos/2024/", 'get "photos/2024/a b.jpg" '),
        ('get "photos/2024/a', 'get "photos/2024/a b.jpg" '),
        ("get photos/e", r"get $'photos/esc\x1b[31m.jpg' "),
        ("get /em", "get /empty "),
        ("get photos/../em", "get photos/../empty "),
        ("cd ", "cd photos/"),
        ("cd my", "cd my"),
        ("ls -l ph", "ls -l photos/"),
        ("get empty lo", "get empty local/"),
        ("put lo", "put local/"),
        ("put local/x", 'put "local/x y" '),
        ("put x ph", "put x photos/"),
        ("lcd l", "lcd local/"),
        ("help pw", "help pwd "),
        ("get ../", "get ../"),
        ("get nothing", "get nothing"),
        ("nocommand x", "nocommand x"),
        ("pwd x", "pwd x"),
        (r"get my\ ", 'get "my holiday '),
        (r"get my\ holiday\ ", r"get my\ holiday\ "),  # there is a choice: the menu has it
        ("tell a", "tell a"),
        ("tell ?e", r'tell "?e\\x1bve" '),
        ("tell ?e x", "tell ?e x"),
        ("put local/ local/x", 'put local/ "local/x y" '),
        ("get empty ph", "get empty photos/"),
    ],
)
async def test_tab(
    screen: Screen, names: RemoteNames, tmp_path: Path, line: str, completed: str
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "x y").touch()
    assert after(line, await complete(screen.shell, names, line)) == completed


async def test_menu_shows_what_there_is_to_choose_from(screen: Screen, names: RemoteNames) -> None:
    offer = await complete(screen.shell, names, "get ")
    assert offer.text is None
    assert [candidate.shown for candidate in offer.candidates] == [
        "empty",
        "my holiday list.txt",
        "my holiday photo.jpg",
        "photos/",
        "射频仿真.pptx",
    ]


async def test_commands_are_offered_on_an_empty_line(screen: Screen, names: RemoteNames) -> None:
    assert [
        candidate.whole for candidate in (await complete(screen.shell, names, "")).candidates
    ] == sorted(BY_WORD)


async def test_hidden_names_only_after_a_dot(screen: Screen, names: RemoteNames) -> None:
    screen.share.files = {".hidden": b"", "seen": b""}
    assert after("get ", await complete(screen.shell, names, "get ")) == "get seen "
    assert after("get .", await complete(screen.shell, names, "get .")) == "get .hidden "


async def test_names_are_completed_from_the_current_folder(
    screen: Screen, names: RemoteNames
) -> None:
    await execute(screen.shell, "cd photos")
    assert after("cd 2", await complete(screen.shell, names, "cd 2")) == "cd 2024/"


async def test_server_is_asked_once_in_a_while(
    screen: Screen, names: RemoteNames, clock: Clock
) -> None:
    for _ in range(3):
        await complete(screen.shell, names, "get e")
    assert screen.share.asked == ["dir "]
    clock.now += 60
    await complete(screen.shell, names, "get e")
    assert screen.share.asked == ["dir ", "dir "]


async def test_command_that_may_have_changed_something_makes_it_ask_again(
    screen: Screen, names: RemoteNames
) -> None:
    await complete(screen.shell, names, "get e")
    names.forget()
    await complete(screen.shell, names, "get e")
    assert len(screen.share.asked) == 2


async def test_lost_connection_offers_nothing_and_says_nothing(
    screen: Screen, names: RemoteNames
) -> None:
    screen.share.failures = [Closed("gone")] * 5
    assert (await complete(screen.shell, names, "get e")).candidates == []
    assert screen.lines == []


async def test_huge_folder_is_cut(screen: Screen, names: RemoteNames) -> None:
    screen.share.files = {f"{number:05}": b"" for number in range(6_000)}
    assert len((await complete(screen.shell, names, "get ")).candidates) == 5_000


async def test_name_like_a_flag_is_offered_so_that_it_can_be_typed(
    screen: Screen, names: RemoteNames, tmp_path: Path
) -> None:
    screen.share.files["-dash.txt"] = b"dash"
    (tmp_path / "-here.txt").touch()
    assert after("get -", await complete(screen.shell, names, "get -")) == "get ./-dash.txt "
    assert after("put -", await complete(screen.shell, names, "put -")) == "put ./-here.txt "
    assert "./-dash.txt" in [
        candidate.whole for candidate in (await complete(screen.shell, names, "get ")).candidates
    ]
    await execute(screen.shell, "get ./-dash.txt")
    assert (tmp_path / "-dash.txt").read_bytes() == b"dash"


async def test_people_are_offered_once_and_oneself_never(
    screen: Screen, names: RemoteNames
) -> None:
    assert [
        candidate.whole for candidate in (await complete(screen.shell, names, "tell ")).candidates
    ] == ["?e\\x1bve"]
