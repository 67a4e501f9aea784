"""Hidden names over the wire and on the command line: what peers learn, what trees do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.client.address import Address
from ftransfer.client.client import Client, connect
from ftransfer.client.connector import open_session
from ftransfer.client.retry import NO_RETRY, RetryRules
from ftransfer.client.security import Security
from ftransfer.client.trees.hidden_names import fetch_hidden_patterns
from ftransfer.client.trees.options import TreeOptions
from ftransfer.errors import NameTaken, RemoteProtocolError, RequestError
from ftransfer.limits import Limits
from ftransfer.names import ROOT, parse_name
from ftransfer.transfer.hidden_names import SECRETS
from ftransfer.transfer.selection import hidden_names
from tests.support.programs import run_program, start_server
from tests.support.service import RawPeer, Service, fake_server, frame, raw_peer, serve

TOKEN = "a-token-that-nobody-knows"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, hiding=hidden_names(SECRETS)) as service:
        (service.root / "proj" / ".git").mkdir(parents=True)
        for name in ("a", ".env", "proj/b", "proj/.git/config"):
            (service.root / name).write_text(name)
        yield service


async def answers(peer: RawPeer, line: str) -> list[tuple[bytes, bytes]]:
    """Send a line; return the frames up to the answer."""
    await peer.send(f"{line}\n".encode())
    found = [await peer.frame()]
    while found[-1][0] not in (b"R", b"X", b""):
        found.append(await peer.frame())
    return [frame for frame in found if frame[0] != b"V"]


@pytest.mark.parametrize(
    "line",
    [
        'stat ".env"',
        'get ".env"',
        'checksum "proj/.git/config"',
        'dir "proj/.git"',
        'watch "proj/.git"',
        'rm ".env" {}',
    ]
    + [
        'mv ".env" {"to":"x"}',
        'setstat ".env" {"mode":511}',
        'mget "proj/.git" {"recursive":true}',
    ],
)
async def test_what_is_hidden_is_not_found(service: Service, line: str) -> None:
    async with service.peer() as peer:
        [(kind, answer)] = await answers(peer, line)
        assert kind == b"X" and json.loads(answer)["code"] == "not_found"
    assert (service.root / ".env").exists()


@pytest.mark.parametrize(
    "line", ['put ".env" {"size":0}', 'mkdir "x/.git" {"parents":true}', 'mv "a" {"to":".env"}']
)
async def test_what_would_be_hidden_is_refused(service: Service, line: str) -> None:
    async with service.peer() as peer:
        [(kind, answer)] = await answers(peer, line)
        assert (
            kind == b"X"
            and json.loads(answer)["code"] == "forbidden"
            and b"hides such names" in answer
        )


async def test_listings_and_events_do_not_tell_of_it(service: Service) -> None:
    async with service.peer() as peer:
        await answers(peer, 'watch ""')
        told = await answers(peer, 'dir "" {"recursive":true}')
        (service.root / ".env").write_text("changed")
        (service.root / "proj" / ".git" / "new").write_text("new")
        (service.root / "a").rename(service.root / ".env.a")
        (service.root / ".env").rename(service.root / "shown")
        (service.root / "last").write_text("last")
        told += [await peer.frame()]
        while not all(
            name in (text := b"\n".join(payload for _, payload in told))
            for name in (b'"last"', b'"shown"')
        ):
            told.append(await peer.frame())
    assert b".env" not in text and b".git" not in text and b'"proj/b"' in text


async def test_hello_is_short_and_names_nothing_that_is_hidden(service: Service) -> None:
    async with raw_peer(*service.address) as peer:
        kind, hello = await peer.frame()
    assert kind == b"H" and len(hello) < 400 and b".git" not in hello and b"hides" not in hello


async def test_patterns_are_told_once_a_session_is_admitted(tmp_path: Path) -> None:
    admission = Admission(token=TOKEN)
    async with (
        serve(tmp_path, hiding=hidden_names(SECRETS), admission=admission) as service,
        service.peer() as peer,
    ):
        [(kind, answer)] = await answers(peer, "as ann")
        assert kind == b"X" and json.loads(answer)["code"] == "not_authorised"
        for line in (f'login "" {{"secret":"{TOKEN}"}}', "as ann"):
            [(kind, answer)] = await answers(peer, line)
            assert kind == b"R" and json.loads(answer)["hides"] == list(SECRETS)


async def test_a_server_that_hides_nothing_tells_so(tmp_path: Path) -> None:
    async with serve(tmp_path) as service, service.peer() as peer:
        [(_, answer)] = await answers(peer, "as ann")
        assert json.loads(answer)["hides"] == []


async def test_a_tree_with_hidden_names_is_put_but_for_these(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    for name in ("proj/b", "proj/.git/config", "proj/.git/objects/1", "proj/.env"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    async with start_server(tmp_path / "share", "--anonymous", "all", "--hide", "*.log") as server:
        assert "hidden: *.log and secrets" in await server.err_until(" may ")
        address = ("127.0.0.1", server.port)
        done = await run_program("put", "-r", *address, "proj", folder=tmp_path)
        assert done.code == 1
        for name in (".git/config", ".git/objects/1", ".env"):
            assert any(
                f"{name}: this server hides such names" in line for line in done.err.splitlines()
            ), done.err
        got = await run_program("get", "-r", *address, "proj", "back", folder=tmp_path)
        assert got.code == 0
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["b"]
    assert sorted(path.name for path in (tmp_path / "share" / "proj").iterdir()) == ["b"]


@pytest.mark.parametrize("with_dry_run", [False, True])
async def test_a_mirror_removes_nothing_that_the_server_would_not_tell_of(
    tmp_path: Path, with_dry_run: bool
) -> None:
    for name in (
        "share/proj/a",
        "share/proj/.git/config",
        "here/b",
        "here/.git/config",
        "here/old/.env",
        "here/old/c",
        "here/gone/d",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    async with start_server(tmp_path / "share", "--anonymous", "all") as server:
        words = ("sync", "127.0.0.1", server.port, "get", "proj", "here", "--delete")
        if with_dry_run:
            told = await run_program(*words, "--dry-run", folder=tmp_path)
            assert ".git" not in told.text and "gone" in told.text
        await run_program(*words, folder=tmp_path)
    here = tmp_path / "here"
    left = sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file())
    assert left == [".git/config", "a", "old/.env"]


async def mirrored(service: Service, client: Client) -> list[str]:
    """Make the local folder like the share, and return the files that it has then."""
    (service.local / "proj" / ".git").mkdir(parents=True, exist_ok=True)
    for name in ("gone", ".env", "proj/.git/mine"):
        (service.local / name).write_text(name)
    await client.get_tree("/", service.local, options=TreeOptions(delete=True))
    files = (path for path in service.local.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(service.local)) for path in files)


SPARED = [".env", "a", "proj/.git/mine", "proj/b"]


@pytest.mark.parametrize("name", ["", "ann"])
async def test_a_mirror_spares_hidden_names_whatever_the_client_is_called(
    service: Service, name: str
) -> None:
    async with service.client(name=name) as client:
        assert await mirrored(service, client) == SPARED
        await client.introduce("another")
        assert await mirrored(service, client) == SPARED


async def test_a_mirror_spares_hidden_names_after_a_refused_name(service: Service) -> None:
    refused: list[RequestError] = []
    async with (
        service.client(name="ann"),
        service.client(name="ann", on_name_refused=refused.append) as client,
    ):
        assert await mirrored(service, client) == SPARED
    assert [type(error) for error in refused] == [NameTaken]


async def test_a_mirror_spares_hidden_names_on_each_new_connection(service: Service) -> None:
    async with service.client(retry=RetryRules(first_s=0.0)) as client:
        for _ in range(2):
            assert await mirrored(service, client) == SPARED
            for task in service.server.sessions.values():
                task.cancel()
            await service.all_gone()


async def test_a_mirror_of_a_user_spares_hidden_names(tmp_path: Path) -> None:
    security = Security(secret=TOKEN, state=tmp_path / "state")
    async with (
        serve(tmp_path, hiding=hidden_names(SECRETS), admission=Admission(token=TOKEN)) as service,
        service.client(security=security) as client,
    ):
        assert await mirrored(service, client) == [".env", "proj/.git/mine"]


async def test_a_session_that_has_not_said_who_it_is_asks_what_is_hidden(service: Service) -> None:
    session = await open_session(Address(*service.address), Limits())
    assert await fetch_hidden_patterns(session) == SECRETS
    await session.close()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({}, "does not say which names it hides"),
        ({"hides": None}, "does not say which names it hides"),
        ({"hides": ".git"}, "is not of type list"),
        ({"hides": [".git", 7]}, "something else than patterns"),
    ],
)
async def test_nothing_is_removed_where_the_server_does_not_tell_what_it_hides(
    tmp_path: Path, told: dict[str, object], says: str
) -> None:
    (tmp_path / "mine").write_text("mine")
    hello = frame(b"H", b'{"protocol":1,"features":["live"]}')
    replies = 2 * frame(b"R", json.dumps(told).encode())  # to "as", and to "as" again
    listing = frame(b"R", b'{"entries":0}')
    async with (
        fake_server(hello + replies + listing) as address,
        connect(*address, retry=NO_RETRY) as client,
    ):
        with pytest.raises(RemoteProtocolError, match=says):
            await client.get_tree("/", tmp_path, options=TreeOptions(delete=True))
    assert (tmp_path / "mine").read_text() == "mine"


async def test_what_an_introduction_is_refused_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("mine")
    refusal = frame(b"X", b'{"code":"too_fast","message":"wait"}')
    answers = refusal + frame(b"R", b'{"hides":[".env"]}') + frame(b"R", b'{"entries":0}')
    hello = frame(b"H", b'{"protocol":1,"features":["live"]}')
    async with (
        fake_server(hello + answers) as address,
        connect(*address, retry=NO_RETRY) as client,
    ):
        await client.get_tree("/", tmp_path, options=TreeOptions(delete=True))
    assert (tmp_path / ".env").read_text() == "mine"


async def test_patterns_of_a_lying_server_do_no_harm(tmp_path: Path) -> None:
    options = TreeOptions(delete=True)
    for patterns in (("/",), ("a",) * 1001):
        with pytest.raises(RemoteProtocolError, match="patterns? of hidden names"):
            options.sparing(patterns, ROOT)
    spared = options.sparing(("*.key",), parse_name("folder"))
    assert not spared.selects and not spared.wanted("a/b.key", False) and spared.wanted("a", False)
    assert (
        options.sparing((), ROOT) is options
        and TreeOptions().sparing(("a",), ROOT) == TreeOptions()
    )


@pytest.mark.parametrize(
    ("share", "options", "says"),
    [
        ("/", (), "/: this is the whole machine"),
        ("home", (), "home: contains your home folder"),
        (".", (), "contains your home folder"),
        ("state", (), "state: contains the keys and tokens of ftransfer"),
        ("other", ("--token-file", "other/below/token"), "other: contains the --token-file file"),
        ("other", ("--audit", "other/audit"), "other: contains the --audit file"),
        ("other", ("--token-file", "link"), "other: contains the --token-file file"),
    ],
)
async def test_a_folder_with_secrets_of_the_owner_is_not_served(
    tmp_path: Path, share: str, options: tuple[str, ...], says: str
) -> None:
    for name in ("home", "state", "other/below"):
        (tmp_path / name).mkdir(parents=True)
    token = tmp_path / "other" / "below" / "token"
    token.write_text("token")
    token.chmod(0o600)
    (tmp_path / "link").symlink_to(token)
    environment = {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}
    done = await run_program(
        "serve", share, "--port", 0, *options, folder=tmp_path, environment=environment
    )
    assert (
        done.code == 2
        and says in done.err
        and done.err.endswith("; serve another folder, or add --yes-really\n")
    )
    assert done.err.count("\n") == 1 and not list((tmp_path / "state").iterdir())


async def test_it_is_served_if_the_owner_really_means_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("secret")
    environment = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    options = ("--yes-really", "--hide-nothing", "--anonymous", "read")
    async with start_server(tmp_path, *options, environment=environment) as server:
        line = await server.err_until(" may ")
        assert "everybody who can connect may read; nothing is hidden" in line
        done = await run_program("get", "127.0.0.1", server.port, ".env", "got", folder=tmp_path)
        assert done.code == 0 and (tmp_path / "got").read_text() == "secret"
