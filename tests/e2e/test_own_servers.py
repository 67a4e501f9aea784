"""A server without options: its own user connects without typing, others with its token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import ftransfer
from ftransfer.auth.saved_logins import SavedLogin, SavedLogins
from ftransfer.client.security import Security
from ftransfer.errors import NotTrusted
from tests.support.programs import Done, Running, run_program, start_at_terminal, start_server
from tests.support.service import fake_server, frame, raw_peer

ANOTHER_USER = 54321
_IMPOSTOR = """
import json, os, socket, struct, sys
server, user = socket.create_server(("127.0.0.1", 0)), int(sys.argv[2])
heard = open(sys.argv[1], "ab", buffering=0)
os.setgid(user)
os.setuid(user)
print(server.getsockname()[1], flush=True)
def frame(kind, **values):
    payload = json.dumps(values).encode()
    return struct.pack(">cI", kind, len(payload)) + payload
while True:
    connection, _ = server.accept()
    with connection:
        connection.sendall(frame(b"H", protocol=1, server="x", session=1, auth="required"))
        while data := connection.recv(65536):
            heard.write(data)
            connection.sendall(frame(b"X", code="not_authorised", message="no"))
"""


@contextlib.asynccontextmanager
async def another_users_server(heard: Path) -> AsyncIterator[int]:
    """Run a program of another user that greets as a server and records input; yield its port."""
    words = (sys.executable, "-c", _IMPOSTOR, heard, ANOTHER_USER)
    process = await asyncio.create_subprocess_exec(*map(str, words), stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.communicate()


@dataclass
class Machine:
    """A share with one file, and two users: `ann`, who serves it, and `eve`."""

    folder: Path

    def state(self, user: str) -> Path:
        return self.folder / user / "ftransfer"

    def serve(
        self, *options: str | int, share: str = "share"
    ) -> contextlib.AbstractAsyncContextManager[Running]:
        return start_server(
            self.folder / share, *options, environment={"XDG_STATE_HOME": str(self.folder / "ann")}
        )

    async def run(
        self, user: str, *arguments: str | int, stdin: bytes = b"", token: str = ""
    ) -> Done:
        """Run a command as a user, who has the token in the environment if there is one."""
        environment = {
            "XDG_STATE_HOME": str(self.folder / user),
            **({"FTRANSFER_TOKEN": token} if token else {}),
        }
        return await run_program(
            *arguments, folder=self.folder, stdin=stdin, environment=environment
        )

    def token(self) -> str:
        (path,) = (self.state("ann") / "tokens").iterdir()
        return path.read_text().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("share", "share2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(name.encode())
    return Machine(tmp_path)


@pytest.mark.parametrize(
    "options", [(), ("--tls", "on"), ("--host", "::1"), ("--host", "0.0.0.0"), ("--no-sandbox",)]
)
async def test_own_user_has_nothing_to_type(machine: Machine, options: tuple[str, ...]) -> None:
    async with machine.serve(*options) as server:
        host = "::1" if "::1" in options else "127.0.0.1"
        got = await machine.run("ann", "get", host, server.port, "a", "got")
        assert got.code == 0, got.err
        assert (await machine.run("ann", "put", host, server.port, "got", "b")).code == 0
        shell = await machine.run("ann", "connect", host, server.port, stdin=b"dir\n")
        assert shell.code == 0 and shell.text.split()[-1] == "b"


async def test_python_finds_the_token_too(machine: Machine) -> None:
    async with machine.serve() as server:
        async with ftransfer.connect(
            "127.0.0.1", server.port, security=Security(state=machine.state("ann"))
        ) as client:
            assert [entry.name for entry in await client.dir()] == ["a"]


async def test_others_get_nothing_without_the_token(machine: Machine) -> None:
    async with machine.serve() as server:
        for verb in ("get", "rm"):
            refused = await machine.run("eve", verb, "127.0.0.1", server.port, "a")
            assert (refused.code, refused.out) == (5, b"") and refused.err.count("\n") == 1
            assert (
                "wants a login" in refused.err
                and "if another user runs it, ask for its token" in refused.err
            )
        assert (
            await machine.run("eve", "dir", "127.0.0.1", server.port, token=machine.token())
        ).code == 0
        assert (await machine.run("eve", "dir", "127.0.0.1", server.port, token="guess")).code == 5


async def test_what_a_web_page_can_send_changes_nothing(machine: Machine) -> None:
    lines = (
        b'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nrm a\nmkdir "b"\nput "c" {"size":0}\n'
        + frame(b"E", b'{"size":0}')
    )
    async with machine.serve() as server, raw_peer("127.0.0.1", server.port) as peer:
        with contextlib.suppress(ConnectionError):
            await peer.send(lines)
        while await peer.frame() != (b"", b""):
            pass
    assert [
        path.name for path in (machine.folder / "share").iterdir() if not path.name.startswith(".")
    ] == ["a"]


async def test_share_is_opened_to_all_if_it_is_said(machine: Machine) -> None:
    async with machine.serve("--anonymous", "all") as server:
        assert "all" in await server.err_until("no login needed")
        assert (await machine.run("eve", "rm", "127.0.0.1", server.port, "a")).code == 0
    assert not (machine.state("ann") / "tokens").exists()


async def test_token_is_the_same_after_a_restart_until_another_is_asked_for(
    machine: Machine,
) -> None:
    async with machine.serve() as server:
        token, port = machine.token(), server.port
        server.process.kill()
        await server.end()
    async with machine.serve("--port", port) as server:
        assert machine.token() == token
        assert (await machine.run("eve", "dir", "127.0.0.1", port, token=token)).code == 0
        assert (await machine.run("ann", "dir", "127.0.0.1", port)).code == 0
        server.process.terminate()
        await server.end()
    async with machine.serve("--port", port, "--new-token"):
        assert machine.token() != token
        assert (await machine.run("eve", "dir", "127.0.0.1", port, token=token)).code == 5
        assert (await machine.run("ann", "dir", "127.0.0.1", port)).code == 0


async def test_server_on_a_network_shows_the_same_token_at_each_start(machine: Machine) -> None:
    shown = []
    for _ in range(2):
        async with machine.serve("--host", "0.0.0.0") as server:
            variables, words = await server.line_to_hand_on()
            shown.append((variables, words[3:]))
            assert words[0] == "login" and variables["FTRANSFER_TOKEN"] == machine.token()
            assert machine.token() not in " ".join(words)
    assert shown[0] == shown[1]


async def test_several_servers_each_have_their_own_token(machine: Machine) -> None:
    async with machine.serve() as one, machine.serve(share="share2") as two:
        for server, content in ((one, b"share"), (two, b"share2")):
            got = await machine.run("ann", "get", "127.0.0.1", server.port, "a", "-")
            assert (got.code, got.out) == (0, content)
        assert len(list((machine.state("ann") / "tokens").iterdir())) == 2


@pytest.mark.parametrize("signal", ["terminate", "kill"])
async def test_ended_server_leaves_no_record_that_counts(machine: Machine, signal: str) -> None:
    async with machine.serve() as server:
        port = server.port
        getattr(server.process, signal)()
        await server.end()
    left = [path.read_bytes() for path in (machine.state("ann") / "running").iterdir()]
    assert signal == "kill" or not any(left)
    token = machine.folder / "token"
    token.write_text("another")
    token.chmod(0o600)
    async with machine.serve("--port", port, "--token-file", str(token)) as server:
        refused = await machine.run("ann", "dir", "127.0.0.1", port)
        assert refused.code == 5 and "wants a login" in refused.err
        server.process.terminate()
        await server.end()
        assert "login failed" not in server.err  # nothing was tried


async def test_own_server_may_change_between_tls_and_plain_and_nobody_else_may(
    machine: Machine,
) -> None:
    async with machine.serve("--tls", "on") as server:
        port = server.port
        assert (await machine.run("ann", "dir", "127.0.0.1", port)).code == 0
        server.process.kill()
        await server.end()
    hello = frame(
        b"H",
        json.dumps({"protocol": 1, "server": "fake", "session": 1, "auth": "required"}).encode(),
    )
    async with fake_server(hello, port=port) as (host, _):
        refused = await machine.run("ann", "dir", host, port, token="our-secret")
        assert refused.code == 5 and "known by its key" in refused.err
    for options in ((), ("--tls", "on")):
        async with machine.serve("--port", port, *options) as server:
            for words in ((), ("--plain",)) if not options else ((),):
                assert (await machine.run("ann", "dir", "127.0.0.1", port, *words)).code == 0
            server.process.terminate()
            await server.end()


@pytest.mark.root
@pytest.mark.parametrize("way", ["variable", "file", "prompt", "saved"])
async def test_no_secret_is_said_in_plain_to_a_process_of_another_user(
    machine: Machine, way: str
) -> None:
    async with another_users_server(machine.folder / "heard") as port:
        options: tuple[str, ...] = ()
        if way == "file":
            (machine.folder / "token").write_text("our-secret")
            (machine.folder / "token").chmod(0o600)
            options = ("--token-file", "token")
        elif way == "saved":
            saved = SavedLogins(machine.state("ann") / "logins")
            saved.keep(SavedLogin(f"127.0.0.1:{port}", "plain", "", "our-secret"))
        words: tuple[str | int, ...] = ("dir", "127.0.0.1", port, *options)
        if way == "prompt":
            environment = {"XDG_STATE_HOME": str(machine.folder / "ann")}
            async with start_at_terminal(
                *words, folder=machine.folder, environment=environment
            ) as terminal:
                await terminal.see("a process of another user")
                assert await terminal.end() == 5
        else:
            done = await machine.run("ann", *words, token="our-secret" if way == "variable" else "")
            assert done.code == 5 and done.err.count("\n") == 1
            assert f"127.0.0.1:{port} is a process of another user ({ANOTHER_USER})" in done.err
        assert b"our-secret" not in (machine.folder / "heard").read_bytes()
        assert (await machine.run("ann", *words, "--plain", token="our-secret")).code == 5
        assert b"our-secret" in (machine.folder / "heard").read_bytes()  # the user's own decision


@pytest.mark.root
async def test_python_is_told_why_nothing_was_said(machine: Machine) -> None:
    async with another_users_server(machine.folder / "heard") as port:
        security = Security(secret="our-secret", state=machine.state("ann"))
        with pytest.raises(NotTrusted, match="another user"):
            async with ftransfer.connect("127.0.0.1", port, security=security):
                pass
        assert b"our-secret" not in (machine.folder / "heard").read_bytes()


async def test_secret_is_said_to_a_process_of_our_own(machine: Machine) -> None:
    hello = frame(
        b"H",
        json.dumps({"protocol": 1, "server": "fake", "session": 1, "auth": "required"}).encode(),
    )
    refusal = frame(b"X", b'{"code":"not_authorised","message":"no"}')
    async with fake_server(hello, refusal) as (host, port):
        refused = await machine.run("ann", "dir", host, port, token="our-secret")
        assert refused.code == 5 and "does not accept this login" in refused.err
