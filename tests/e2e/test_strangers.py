"""Real programs on the wrong port: each shows its user what the port is, and changes nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from ftransfer.auth.admission import Admission
from tests.support.certificates import own_tls
from tests.support.service import Service, raw_peer, serve

SENTENCE = "this is an ftransfer server"
_SSH = [
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
]
PLAIN = {
    "curl": ["curl", "-sS", "http://127.0.0.1:PORT/small"],
    "curl that writes": ["curl", "-sS", "-T", "/etc/hostname", "http://127.0.0.1:PORT/small"],
    "curl with a method of ours": ["curl", "-sS", "-X", "rm", "http://127.0.0.1:PORT/small"],
    "wget": ["wget", "-q", "-O-", "--content-on-error", "http://127.0.0.1:PORT/"],
    "ssh": ["ssh", *_SSH, "-p", "PORT", "nobody@127.0.0.1", "true"],
    "sftp": ["sftp", *_SSH, "-P", "PORT", "nobody@127.0.0.1"],
    "rsync": ["rsync", "rsync://127.0.0.1:PORT/"],
    "redis-cli": ["redis-cli", "-p", "PORT", "ping"],
    "chromium": [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "http://127.0.0.1:PORT/",
    ],
}
POST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\nContent-Length:"
    b" 40\r\n\r\n"
)
BODY = b"rm small\nmkdir planted\nput small\nD\x00\x00\x00\x01x\n"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        (service.root / "small").write_bytes(b"small")
        yield service
        await service.all_gone()
        assert sorted(
            path.name for path in service.root.iterdir() if not path.name.startswith(".")
        ) == ["small"]
        assert (service.root / "small").read_bytes() == b"small"
        assert len(service.server.service.limiter.penalties) == 0  # no offence


async def run(words: Sequence[str], service: Service, folder: Path) -> str:
    """Run a program with the server's port, and return its output; skip if it is not installed."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    command = [word.replace("PORT", str(service.address[1])) for word in words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd=folder
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return (out + err).decode("utf-8", "replace")


async def shows_the_sentence(words: Sequence[str], service: Service, folder: Path) -> bool:
    """Return whether a program shows it within some tries.

    On a busy machine its first words may arrive after the hello.
    """
    for _ in range(5):
        if SENTENCE in await run(words, service, folder):
            return True
    return False


@pytest.mark.parametrize("words", PLAIN.values(), ids=PLAIN)
async def test_program_of_another_protocol_shows_where_it_is(
    service: Service, tmp_path: Path, words: Sequence[str]
) -> None:
    assert await shows_the_sentence(words, service, tmp_path)


async def test_curl_without_a_certificate_of_ours_says_that_there_is_no_tls(
    service: Service, tmp_path: Path
) -> None:
    said = await run(["curl", "-sSk", "https://127.0.0.1:PORT/"], service, tmp_path)
    assert "unexpected message" in said or "wrong version" in said  # the latter if hello was faster


@pytest.mark.parametrize("client", ["curl", "chromium"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_on_a_port_that_speaks_tls(tmp_path: Path, scheme: str, client: str) -> None:
    tls = own_tls(tmp_path)
    url = f"{scheme}://127.0.0.1:PORT/"
    words = {
        "curl": ["curl", "-sSk", url],
        "chromium": [*PLAIN["chromium"][:-1], "--ignore-certificate-errors", url],
    }[client]
    async with serve(tmp_path, tls=tls, admission=Admission(token="right")) as service:
        assert SENTENCE in await run(words, service, tmp_path)


PAGE = """<script>
const body = new Blob([%r]);
const tries = [];
const request = {method: 'POST', mode: 'no-cors', body};
for (let i = 0; i < 20; i++)
  tries.push(fetch('http://127.0.0.1:PORT/' + i, request).catch(() => 0));
Promise.all(tries).then(() => { document.title = 'tried';
  document.body.textContent = 'all tried'; });
</script><body></body>"""


async def test_web_page_changes_nothing(service: Service, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text((PAGE % BODY.decode()).replace("PORT", str(service.address[1])))
    words = [*PLAIN["chromium"][:-1], "--virtual-time-budget=20000", f"file://{page}"]
    assert "all tried" in await run(words, service, tmp_path)
    assert service.server.service.session_count > 0


@pytest.mark.parametrize("hello_first", [False, True], ids=["at once", "after hello"])
@pytest.mark.parametrize("direct", [True, False], ids=["sockets", "streams"])
async def test_body_of_a_request_is_never_carried_out(
    tmp_path: Path, direct: bool, hello_first: bool
) -> None:
    async with serve(tmp_path, direct=direct) as service:
        (service.root / "small").write_bytes(b"small")
        async with raw_peer(*service.address) as peer:
            if hello_first:
                assert (await peer.frame())[0] == b"H"
            await peer.send(POST + BODY)
            said = await peer.reader.read()
            assert said.startswith(b"HTTP/1.1 400 ") and SENTENCE.encode() in said
        await service.all_gone()
        assert [path.name for path in service.root.iterdir() if not path.name.startswith(".")] == [
            "small"
        ]


async def test_who_says_nothing_first_is_greeted(service: Service) -> None:
    async with raw_peer(*service.address) as peer:
        assert (await peer.frame())[0] == b"H"
        await peer.send(b"help\n")
        assert (await peer.frame())[0] == b"R"


async def test_who_speaks_ahead_is_greeted_at_once_and_answered(service: Service) -> None:
    async with raw_peer(*service.address) as peer:
        await peer.send(b"stat small\n")
        assert [(await peer.frame())[0] for _ in range(2)] == [b"H", b"R"]


async def test_connection_that_says_nothing_and_goes_is_no_offence(service: Service) -> None:
    for _ in range(30):
        async with raw_peer(*service.address):
            pass
    await service.all_gone()
