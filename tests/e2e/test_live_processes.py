"""The live layer as its users meet it: real servers and clients, as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.programs import (
    Running,
    run_program,
    start_at_terminal,
    start_program,
    start_server,
)

ENTER = "\r"


@pytest.fixture
def share(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


async def hear(client: Running, wanted: str) -> str:
    """Read lines from stdout until one ends with the wanted text."""
    async with asyncio.timeout(30):
        while line := await client.out_line():
            if line.rstrip("\n").endswith(wanted):
                return line
    raise AssertionError(f"{wanted!r} did not come")


def type_line(client: Running, line: str) -> None:
    assert client.process.stdin is not None
    client.process.stdin.write(f"{line}\n".encode())


async def names_in_who(server: Running, folder: Path) -> list[str]:
    done = await run_program("who", "127.0.0.1", server.port, "--json", folder=folder)
    return [record["name"] for record in map(json.loads, done.text.splitlines())]


async def test_three_people_and_one_that_is_killed(tmp_path: Path, share: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(start_server(share, "--welcome", "hello there"))
        clients: list[Running] = []
        for number, name in enumerate(("ann", "bob", "cleo"), 1):
            client = await stack.enter_async_context(
                start_program("chat", "127.0.0.1", server.port, "--as", name, folder=tmp_path)
            )
            assert await client.err_until("session") == f"you are session #{number}; hello there\n"
            for other in clients:
                await hear(other, f"* ?{name} joined")  # by that name at once
            clients.append(client)
        ann, bob, cleo = clients
        type_line(ann, "hello")
        await hear(bob, "?ann: hello")
        await hear(cleo, "?ann: hello")
        assert await hear(ann, "received by 2") == "message 1, received by 2\n"
        bob.process.send_signal(signal.SIGKILL)
        # Announced are 30 s, for a machine that vanishes; a process is noticed at once
        async with asyncio.timeout(20):
            while "bob" in await names_in_who(server, tmp_path):
                pass
        await hear(ann, "* ?bob left")
        type_line(cleo, "only us now")
        await hear(ann, "?cleo: only us now")
        assert await hear(cleo, "received by 1") == "message 1, received by 1\n"
        type_line(cleo, "/quit")
        assert await cleo.end() == 0


def name_of_user() -> str:
    import getpass
    import platform

    return f"{getpass.getuser()}@{platform.node()}"


async def test_a_chat_goes_on_without_a_name_that_is_taken(tmp_path: Path, share: Path) -> None:
    async with (
        start_server(share) as server,
        start_program("chat", "127.0.0.1", server.port, "--as", "ann", folder=tmp_path) as ann,
    ):
        await ann.err_until("session")
        async with start_program(
            "chat", "127.0.0.1", server.port, "--as", "ann", folder=tmp_path
        ) as other:
            assert "the name ann is taken" in await other.err_until("choose another")
            await hear(ann, f"* ?{name_of_user()} joined")


async def test_say_and_tell_from_scripts(tmp_path: Path, share: Path) -> None:
    async with (
        start_server(share) as server,
        start_program("chat", "127.0.0.1", server.port, "--as", "ann", folder=tmp_path) as ann,
    ):
        assert await ann.err_until("session") == "you are session #1; welcome to share\n"
        type_line(ann, "/who")
        await hear(ann, "you, listening")
        done = await run_program(
            "say", "127.0.0.1", server.port, "done", "--as", "lab", folder=tmp_path
        )
        assert (done.code, done.text) == (0, "message 1, received by 1\n")
        await hear(ann, "?lab: done")
        done = await run_program(
            "tell", "127.0.0.1", server.port, "ann", "psst", "--json", folder=tmp_path
        )
        assert (done.code, json.loads(done.out)) == (0, {"number": 1, "received": 1})
        await hear(ann, "(to you): psst")
        for arguments, said in [
            (("tell", "127.0.0.1", server.port, "dan", "hello"), "nobody here is called dan"),
            (("say", "127.0.0.1", server.port, "hello", "--as", "ann"), "the name ann is taken"),
            (("say", "127.0.0.1", server.port, "a\nb"), "one line, without control"),
            (("say", "127.0.0.1", server.port, "x" * 5000), "the limit is 4096"),
        ]:
            done = await run_program(*arguments, folder=tmp_path)
            assert done.code == 1 and said in done.err and done.err.count("\n") == 1


async def test_who_as_text(tmp_path: Path, share: Path) -> None:
    async with start_server(share) as server:
        done = await run_program("who", "127.0.0.1", server.port, folder=tmp_path)
        assert (
            done.code == 0
            and done.text.startswith(f"#1  ?{name_of_user()}  127.0.0.1:")
            and done.text.endswith("you\n")
        )


async def test_watch_prints_a_record_for_each_change(tmp_path: Path, share: Path) -> None:
    async with (
        start_server(share) as server,
        start_program("watch", "127.0.0.1", server.port, "--json", folder=tmp_path) as watch,
    ):
        await watch.err_until("watching / as session #1")
        (share / "by hand").write_bytes(b"hello")
        record = json.loads(await watch.out_line())
        assert (record["event"], record["name"], record["size"]) == (
            "created",
            "by hand",
            5,
        ) and "by" not in record
        (tmp_path / "sent").write_bytes(b"hello")
        await run_program("put", "127.0.0.1", server.port, "sent", folder=tmp_path)
        record = json.loads(await watch.out_line())
        assert (record["event"], record["name"], record["by"]["name"]) == (
            "created",
            "sent",
            name_of_user(),
        )
        watch.process.send_signal(signal.SIGINT)
        assert await watch.end() == 130


async def test_watch_get_catches_up_and_follows_and_runs_a_command(
    tmp_path: Path, share: Path
) -> None:
    (share / "in").mkdir()
    (share / "in" / "old.txt").write_bytes(b"old")
    script = tmp_path / "note.sh"
    script.write_text(
        '#!/bin/sh\nprintf "%s|%s|%s\\n" "$FTRANSFER_EVENT" "$FTRANSFER_NAME" "$FTRANSFER_PATH"\n'
    )
    script.chmod(0o755)
    command = ("watch", "127.0.0.1", "--get", "copy", "--delete", "--exec", str(script), "--json")
    async with start_server(share) as server:
        async with start_program(
            *command[:2], server.port, "in", *command[2:], folder=tmp_path
        ) as watch:
            await hear(watch, "created|in/old.txt|copy/old.txt")
            (share / "in" / "a b $(touch x).txt").write_bytes(b"new")
            await hear(watch, "created|in/a b $(touch x).txt|copy/a b $(touch x).txt")
            (share / "in" / "old.txt").rename(share / "in" / "moved.txt")
            await hear(watch, "moved|in/moved.txt|copy/moved.txt")
            watch.process.send_signal(signal.SIGINT)
            assert await watch.end() == 130
        (share / "in" / "moved.txt").unlink()
        (share / "in" / "meanwhile.txt").write_bytes(b"m")
        async with start_program(
            *command[:2], server.port, "in", *command[2:], folder=tmp_path
        ) as watch:
            await hear(watch, "created|in/meanwhile.txt|copy/meanwhile.txt")
            shutil.rmtree(share / "in")
            await hear(watch, "removed|in|copy")
    assert not (tmp_path / "copy").exists() and not (tmp_path / "x").exists()


async def test_a_copy_by_hand_during_a_large_transfer_is_fetched(
    tmp_path: Path, share: Path
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 28)
    async with start_server(share) as server:
        async with start_program(
            "watch", "127.0.0.1", server.port, "--get", "copy", folder=tmp_path
        ) as watch:
            await watch.err_until("up to date")
            async with start_program(
                "put", "127.0.0.1", server.port, "large", "sub/large", folder=tmp_path
            ):
                shutil.copy(__file__, share / "by hand.py")
                await hear(watch, f"created  by hand.py, {human(os.path.getsize(__file__))}")
    assert (tmp_path / "copy" / "by hand.py").read_bytes() == Path(__file__).read_bytes()


def human(size: int) -> str:
    from ftransfer.units import format_size

    return format_size(size)


async def test_bad_usage_of_watch(tmp_path: Path, share: Path) -> None:
    async with start_server(share) as server:
        for arguments, code, said in [
            (("nowhere",), 1, "nowhere"),
            (("../up",), 1, "cannot have . or .."),
            (("--exec", "no-such-program"), 2, "program no-such-program not found"),
            (("--exec", "'open"), 2, "missing closing quote"),
            (("--delete",), 2, "--get"),
        ]:
            done = await run_program("watch", "127.0.0.1", server.port, *arguments, folder=tmp_path)
            assert (done.code, done.err.count("\n")) == (code, 1) and said in done.err


async def test_what_others_say_stands_above_the_line_that_is_typed(
    tmp_path: Path, share: Path
) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    async with start_server(share, environment=state) as server:
        arguments = ("connect", "127.0.0.1", server.port, "--as", "ann")
        async with start_at_terminal(*arguments, folder=tmp_path, environment=state) as ann:
            await ann.see("you are session #1")
            await ann.see("127.0.0.1:/>")
            ann.press("watch" + ENTER)
            await ann.see("watching /")
            await ann.see("127.0.0.1:/>")
            ann.press("say hal")
            await ann.see("say hal")
            done = await run_program(
                "say",
                "127.0.0.1",
                server.port,
                "dinner?",
                "--as",
                "bob",
                folder=tmp_path,
                environment=state,
            )
            assert done.text == "message 1, received by 1\n"
            await ann.see("?bob: dinner?")
            await ann.see("127.0.0.1:/> say hal")  # drawn again, whole
            (share / "new.txt").write_bytes(b"x")
            await ann.see("created  new.txt, 1 B")
            ann.press("f an hour" + ENTER)
            await ann.see("message 1, nobody else is listening")
            ann.press("close" + ENTER)
            assert await ann.end() == 0


@pytest.mark.parametrize("direction", ["get", "put"])
async def test_sync_watch_keeps_two_folders_in_step(
    tmp_path: Path, share: Path, direction: str
) -> None:
    (tmp_path / "here").mkdir()
    source, dest = (share, tmp_path / "here") if direction == "get" else (tmp_path / "here", share)
    names = (".", "here") if direction == "get" else ("here", ".")
    (source / "first").write_bytes(b"1")
    async with start_server(share) as server:
        sync = (
            "sync",
            "127.0.0.1",
            server.port,
            direction,
            *names,
            "--watch",
            "--delete",
            "--json",
        )
        async with start_program(*sync, folder=tmp_path) as keeping:
            await total(keeping)
            assert (dest / "first").read_bytes() == b"1"
            (source / "sub").mkdir()
            (source / "sub" / "second").write_bytes(b"2")
            while not (dest / "sub" / "second").exists():
                await total(keeping)
            (source / "first").unlink()
            while (dest / "first").exists():
                await total(keeping)
            keeping.process.send_signal(signal.SIGINT)
            assert await keeping.end() == 130
    assert (dest / "sub" / "second").read_bytes() == b"2"


async def total(keeping: Running) -> None:
    """Read until one round is done."""
    async with asyncio.timeout(30):
        while json.loads(await keeping.out_line())["did"] != "total":
            pass
