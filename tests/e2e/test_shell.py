"""The shell as a process: a script from a pipe, and a user at a terminal."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.programs import Terminal, run_program, start_at_terminal, start_server
from tests.support.service import Service, serve
from tests.support.stalling import PIECE, stalling_server

CTRL_C = "\x03"
CTRL_D = "\x04"
TAB = "\t"
ENTER = "\r"
PROMPT = "127.0.0.1:/>"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


async def run_script(
    service: Service, script: str | bytes, *, port: int | None = None
) -> tuple[int, list[str], str]:
    done = await run_program(
        "connect",
        "127.0.0.1",
        port or service.address[1],
        folder=service.local,
        stdin=script if isinstance(script, bytes) else script.encode(),
    )
    return done.code, done.text.splitlines(), done.err


# Scripts.


async def test_conversation_of_the_tutorial(tmp_path: Path) -> None:
    share, local = tmp_path / "share", tmp_path / "local"
    share.mkdir()
    local.mkdir()
    slides, paper = os.urandom(70_000), os.urandom(1_000)
    (share / "射频仿真.pptx").write_bytes(slides)
    (local / "天线15.doc").write_bytes(paper)
    async with start_server(share) as server:
        script = "dir\nget 射频仿真.pptx\nput 天线15.doc\ndir\nclose\n"
        done = await run_program(
            "connect", "127.0.0.1", server.port, folder=local, stdin=script.encode()
        )
        assert (done.code, done.err) == (0, "")
        lines = done.text.splitlines()
        assert [line.split()[-1] for line in lines[:1]] == ["射频仿真.pptx"]
        assert lines[1].startswith("received 射频仿真.pptx: 70.0 kB") and lines[2].startswith(
            "stored 天线15.doc: 1.0 kB"
        )
        assert [line.split()[-1] for line in lines[3:]] == ["天线15.doc", "射频仿真.pptx"]
        assert (local / "射频仿真.pptx").read_bytes() == slides
        assert (share / "天线15.doc").read_bytes() == paper
        # The server goes on listening.
        assert (await run_program("dir", "127.0.0.1", server.port, folder=local)).code == 0


async def test_script_stops_at_the_first_failure_with_its_code(service: Service) -> None:
    code, lines, err = await run_script(service, "# a script\npwd\nget nope\npwd\n")
    assert (code, lines) == (1, ["/"])
    assert err == "ftransfer: line 3: nope: no such file or folder; dir lists what is there\n"


async def test_script_with_an_unknown_command_is_wrong_usage(service: Service) -> None:
    code, lines, err = await run_script(service, "pwd\nfetch it")
    assert (code, lines) == (2, ["/"])
    assert err == "ftransfer: line 2: unknown command fetch; help lists the commands\n"


async def test_script_for_a_server_that_is_not_there(service: Service) -> None:
    code, lines, err = await run_script(service, "dir\n", port=1)
    assert (code, lines) == (3, []) and "refuses connections" in err


async def test_script_that_does_nothing(service: Service) -> None:
    assert await run_script(service, b"") == (0, [], "")


# At a terminal.


@pytest.fixture
def at_terminal(service: Service) -> AbstractAsyncContextManager[Terminal]:
    return start_at_terminal(
        "connect",
        *service.address,
        folder=service.local,
        environment={"XDG_STATE_HOME": str(service.local / "state")},
    )


async def test_user_types_and_sees(
    service: Service, at_terminal: AbstractAsyncContextManager[Terminal]
) -> None:
    (service.root / "photos").mkdir()
    async with at_terminal as terminal:
        await terminal.see("help lists the commands, Ctrl-D leaves")
        await terminal.see(PROMPT)
        terminal.press("ls" + ENTER)
        await terminal.see("photos/")
        await terminal.see(PROMPT)
        terminal.press("cd photos" + ENTER)
        await terminal.see("127.0.0.1:/photos>")
        terminal.press("get nope" + ENTER)
        await terminal.see("photos/nope: no such file or folder")
        await terminal.see("127.0.0.1:/photos>")
        terminal.press("exit" + ENTER)
        assert await terminal.end() == 0


async def test_tab_completes_names_and_sets_quotes(
    service: Service, at_terminal: AbstractAsyncContextManager[Terminal]
) -> None:
    (service.root / "my holiday photo.jpg").write_bytes(b"jpeg")
    (service.root / "射频仿真.pptx").write_bytes(b"slides")
    async with at_terminal as terminal:
        await terminal.see(PROMPT)
        terminal.press("get my" + TAB)
        await terminal.see('"my holiday photo.jpg"')
        terminal.press(ENTER)
        await terminal.see("received my holiday photo.jpg: 4 B")
        await terminal.see(PROMPT)
        terminal.press("get 射" + TAB)
        await terminal.see("频仿真.pptx")
        terminal.press(ENTER)
        await terminal.see("received 射频仿真.pptx: 6 B")
    assert (service.local / "my holiday photo.jpg").read_bytes() == b"jpeg"


async def test_ctrl_c_clears_the_line_and_ctrl_d_leaves(
    at_terminal: AbstractAsyncContextManager[Terminal],
) -> None:
    async with at_terminal as terminal:
        await terminal.see(PROMPT)
        terminal.press("get no")
        await terminal.see("get no")
        terminal.press(CTRL_C)
        await terminal.see(PROMPT)
        terminal.press("pwd" + ENTER)
        await terminal.see("\r\n/\r\n")
        await terminal.see(PROMPT)
        terminal.press(CTRL_D)
        assert await terminal.end() == 0


async def test_ctrl_c_stops_the_transfer_and_not_the_shell(tmp_path: Path) -> None:
    async with (
        stalling_server() as server,
        start_at_terminal(
            "connect",
            *server.address,
            folder=tmp_path,
            environment={"XDG_STATE_HOME": str(tmp_path)},
        ) as terminal,
    ):
        await terminal.see(PROMPT)
        terminal.press("get half" + ENTER)
        await terminal.see("500 kB of 100 MB")  # the progress bar
        terminal.press(CTRL_C)
        await terminal.see("stopped at 500 kB; repeat the get to resume")
        await terminal.see(PROMPT)
        terminal.press("get half" + ENTER)
        await terminal.see("1.00 MB of 100 MB")
        terminal.press(CTRL_C)
        await terminal.see("stopped at 1.0 MB; repeat the get to resume")
        await terminal.see(PROMPT)
        assert server.offsets == [0, PIECE]
        terminal.press("ls" + ENTER)
        await terminal.see("half")
        await terminal.see(PROMPT)
        terminal.press(CTRL_D)
        assert await terminal.end() == 0
    assert "the connection was lost" not in terminal.screen
    assert not (tmp_path / "half").exists()


async def test_history_is_kept_for_nobody_else(
    service: Service, at_terminal: AbstractAsyncContextManager[Terminal]
) -> None:
    async with at_terminal as terminal:
        await terminal.see(PROMPT)
        terminal.press("pwd" + ENTER)
        await terminal.see("\r\n/\r\n")
        await terminal.see(PROMPT)
        terminal.press("\x1b[A")
        await terminal.see("pwd")
    history = service.local / "state" / "ftransfer" / "history"
    assert "+pwd\n" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


async def test_lost_connection_is_made_again(tmp_path: Path) -> None:
    share, local = tmp_path / "share", tmp_path / "local"
    share.mkdir()
    local.mkdir()
    state = {"XDG_STATE_HOME": str(local)}
    async with start_server(share, environment=state) as server:
        port = server.port
        async with start_at_terminal(
            "connect", "127.0.0.1", port, folder=local, environment=state
        ) as terminal:
            await terminal.see(PROMPT)
            server.process.terminate()
            assert await server.end() == 0
            (share / "later").touch()
            terminal.press("ls" + ENTER)
            await terminal.see("refuses connections")
            await terminal.see(PROMPT)
            async with start_server(share, "--port", port, environment=state):
                terminal.press("ls" + ENTER)
                await terminal.see("connection lost; reconnected")
                await terminal.see("later")
