"""A secret goes only to a server that is vouched for, never to one in its place."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import ftransfer
from ftransfer.auth.admission import Admission
from ftransfer.auth.permissions import ANYONE
from ftransfer.client.security import Security
from ftransfer.errors import NotTrusted, UnknownServer
from tests.support.certificates import own_tls
from tests.support.programs import Done, run_program, start_at_terminal
from tests.support.service import Service, frame, free_port, serve

TOKEN = "our-secret"
GREETING = frame(
    b"H", json.dumps({"protocol": 1, "server": "x", "session": 1, "auth": "required"}).encode()
)
REFUSAL = frame(b"X", b'{"code":"not_authorised","message":"no"}')


@contextlib.asynccontextmanager
async def impostor(port: int, greeting: bytes = GREETING) -> AsyncIterator[list[bytes]]:
    """A program that greets in plain and writes down what it hears."""
    heard: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # it runs in one
        with contextlib.suppress(ConnectionError):
            writer.write(greeting)
            while data := await reader.read(65536):
                heard.append(data)
                writer.write(REFUSAL)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        yield heard
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A server that speaks TLS and wants a token."""
    async with serve(tmp_path, tls=own_tls(tmp_path), admission=Admission(token=TOKEN)) as service:
        (service.root / "a").write_bytes(b"a")
        yield service


def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ftransfer"


async def run(tmp_path: Path, *words: str | int, token: str = TOKEN) -> Done:
    environment = {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        **({"FTRANSFER_TOKEN": token} if token else {}),
    }
    return await run_program(*words, folder=tmp_path, environment=environment)


async def fingerprint_of_server(tmp_path: Path, service: Service) -> str:
    """Return the fingerprint that a refused connection shows."""
    with pytest.raises(UnknownServer) as refused:
        async with service.client(
            security=Security(tls="on", secret="x", state=tmp_path / "nowhere")
        ):
            pass
    return refused.value.fingerprint


@pytest.mark.parametrize("token", [TOKEN, ""])
@pytest.mark.parametrize("options", [(), ("--tls",)])
async def test_first_visit_fails_with_the_fingerprint_to_pass(
    service: Service, tmp_path: Path, options: tuple[str, ...], token: str
) -> None:
    for _ in range(2):  # the first one must not make the second one trusted
        refused = await run(tmp_path, "dir", *service.address, *options, token=token)
        assert (refused.code, refused.out, refused.err.count("\n")) == (5, b"", 1), refused.err
        assert "nobody has vouched" in refused.err and "--plain" not in refused.err
    fingerprint = refused.err.split("--fingerprint ")[1].strip()
    assert all(
        native.session.failed_logins == 0 and not native.session.is_admitted
        for native in service.server.sessions
    )
    assert (await run(tmp_path, "dir", *service.address, "--fingerprint", fingerprint)).code == 0
    assert (await run(tmp_path, "dir", *service.address)).code == 0  # from now on it is known


async def test_python_is_given_the_fingerprint(service: Service, tmp_path: Path) -> None:
    security = Security(tls="on", secret=TOKEN, state=state(tmp_path))
    with pytest.raises(UnknownServer) as refused:
        async with service.client(security=security):
            pass
    assert refused.value.address == "{}:{}".format(*service.address)
    async with service.client(
        security=security._replace(fingerprint=refused.value.fingerprint)
    ) as client:
        assert [entry.name for entry in await client.dir()] == ["a"]


async def test_visit_without_a_secret_does_not_vouch_for_a_key(tmp_path: Path) -> None:
    async with serve(
        tmp_path, tls=own_tls(tmp_path), admission=Admission(token=TOKEN, anonymous=ANYONE)
    ) as service:
        first = await run(tmp_path, "dir", *service.address, "--tls", token="")
        assert first.code == 0 and "first connection" in first.err
        assert (await run(tmp_path, "dir", *service.address, "--tls")).code == 5
        assert (await run(tmp_path, "dir", *service.address, "--tls", token="")).code == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("", 5), ("n", 5)])
async def test_at_a_terminal_the_key_is_asked_for_and_then_the_token(
    service: Service, tmp_path: Path, answer: str, code: int
) -> None:
    words = ("dir", *service.address)
    fingerprint = await fingerprint_of_server(tmp_path, service)
    async with start_at_terminal(
        *words, folder=tmp_path, environment={"XDG_STATE_HOME": str(tmp_path / "state")}
    ) as terminal:
        await terminal.see("its key has the fingerprint")
        await terminal.see("[y/N] ")
        terminal.press(f"{answer}\n")
        if code == 0:
            await terminal.see("token at {}:{}: ".format(*service.address))
            terminal.press(f"{TOKEN}\n")
        assert await terminal.end() == code
        assert fingerprint in terminal.screen.replace("\r\n", "")
    assert (await run(tmp_path, *words)).code == code  # what was said is remembered


@pytest.mark.parametrize("options", [(), ("--tls",), ("--plain",)])
@pytest.mark.parametrize("confirmed", [True, False])
async def test_impostor_in_plain_gets_nothing(
    tmp_path: Path, options: tuple[str, ...], *, confirmed: bool
) -> None:
    port = free_port()
    admission = Admission(token=TOKEN, anonymous=ANYONE)
    async with serve(tmp_path, tls=own_tls(tmp_path), admission=admission, port=port) as service:
        fingerprint = await fingerprint_of_server(tmp_path, service)
        way = ("--fingerprint", fingerprint) if confirmed else ("--tls",)
        assert (
            await run(tmp_path, "dir", "127.0.0.1", port, *way, token=TOKEN if confirmed else "")
        ).code == 0
    async with impostor(port) as heard:
        refused = await run(tmp_path, "dir", "127.0.0.1", port, *options)
        assert (refused.code, refused.out, refused.err.count("\n")) == (5, b"", 1), refused.err
        assert (
            "known by its key" in refused.err
            and "use --plain" not in refused.err
            and "add --plain" not in refused.err
        )
        assert TOKEN.encode() not in b"".join(heard) and b"dir" not in b"".join(heard)
        security = Security(secret=TOKEN, state=state(tmp_path))
        with pytest.raises(NotTrusted):
            async with ftransfer.connect("127.0.0.1", port, security=security):
                pass
        assert TOKEN.encode() not in b"".join(heard)


async def test_whoever_gives_a_fingerprint_is_not_told_to_speak_plain(tmp_path: Path) -> None:
    port = free_port()
    async with impostor(port):
        refused = await run(
            tmp_path, "dir", "127.0.0.1", port, "--fingerprint", f"SHA256:{'A' * 43}"
        )
        assert refused.code == 5 and "--plain" not in refused.err


async def test_known_hosts_that_cannot_be_read_are_no_reason_to_speak_plain(tmp_path: Path) -> None:
    state(tmp_path).mkdir(parents=True)
    (state(tmp_path) / "known_hosts").write_text("what is this\n")
    port = free_port()
    async with impostor(port) as heard:
        refused = await run(tmp_path, "dir", "127.0.0.1", port)
        assert refused.code == 5 and "line 1 is not HOST:PORT FINGERPRINT" in refused.err
        assert heard == []
