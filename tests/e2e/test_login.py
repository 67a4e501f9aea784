"""Logins over a real connection: nothing before, the user's rights after, the secret kept."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.auth.admission import Admission, Login
from ftransfer.auth.passwords import hash_password
from ftransfer.auth.permissions import Grant, Principal, parse_rights
from ftransfer.auth.saved_logins import SavedLogin
from ftransfer.auth.users import User, parse_users
from ftransfer.client.address import Address
from ftransfer.client.client import connect
from ftransfer.client.connector import open_session
from ftransfer.client.login import save_login, saved_logins
from ftransfer.client.security import Security
from ftransfer.errors import (
    Forbidden,
    LoginNeeded,
    NotAuthorised,
    NotFound,
    NotTrusted,
    QuotaFull,
    UnknownServer,
)
from ftransfer.limits import Limits
from ftransfer.names import ROOT
from ftransfer.tls.contexts import ServerTls
from ftransfer.tls.fingerprint import fingerprint_of
from tests.support.certificates import Authority, own_tls
from tests.support.service import RawPeer, Service, fake_server, frame, serve

TOKEN = "a-token-that-nobody-knows"
PASSWORD = "correct horse"
HASHED = hash_password(PASSWORD)
ANN = User("ann", HASHED, (Grant(ROOT, parse_rights("read,watch")),))
READERS = Principal("", (Grant(ROOT, parse_rights("read")),), is_anonymous=True)


def way(tmp_path: Path, **options: Any) -> Security:
    return Security(**{"state": tmp_path / "state", **options})


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A server that takes a token, and ann's password."""
    async with serve(tmp_path, admission=Admission(token=TOKEN, users={"ann": ANN})) as service:
        (service.root / "a").write_bytes(b"a")
        yield service


async def test_token_opens(service: Service, tmp_path: Path) -> None:
    async with service.client(security=way(tmp_path, secret=TOKEN)) as client:
        assert client.hello.auth == "required"
        assert [entry.name for entry in await client.dir()] == ["a"]


async def test_user_has_the_rights_of_the_file(service: Service, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"b")
    async with service.client(security=way(tmp_path, user="ann", secret=PASSWORD)) as client:
        await client.get("a", tmp_path / "got")
        with pytest.raises(Forbidden):
            await client.put(tmp_path / "b")


async def test_without_a_secret_the_user_is_told_what_to_do(
    service: Service, tmp_path: Path
) -> None:
    with pytest.raises(
        LoginNeeded, match=r"wants a login; give the secret in FTRANSFER_TOKEN or with --token-file"
    ):
        async with service.client(security=way(tmp_path)):
            pass


@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ("", "wrong"),
        ("", PASSWORD),
        ("ann", "wrong"),
        ("ann", TOKEN),
        ("bob", PASSWORD),
        ("ann", ""),
    ],
)
async def test_wrong_name_and_wrong_secret_get_the_same_answer(
    service: Service, user: str, secret: str
) -> None:
    async with service.peer() as peer:
        await peer.send(f"login {json.dumps(user)} {json.dumps({'secret': secret})}\n".encode())
        kind, answer = await peer.json()
        assert kind == b"X"
        assert answer == {"code": "not_authorised", "message": "the name or the secret is wrong"}


GIVES = (
    'dir|get a|stat a|checksum a|rm "a" {}|mkdir b|who|say hello|listen|partials|watch|unwatch|as'
    ' "eve"'.split("|")
)


@pytest.mark.parametrize("line", GIVES)
async def test_nothing_is_given_before_the_login(service: Service, line: str) -> None:
    async with service.peer() as peer:
        await peer.send(f"{line}\n".encode())
        assert await peer.error() == "not_authorised"
        await peer.send(b"help\n")
        assert (await peer.frame())[0] == b"R"  # the session goes on
    assert (service.root / "a").exists() and not (service.root / "b").exists()


@pytest.mark.parametrize("line", ['put "b" {"size":1}', "mput", "mget"])
async def test_frames_before_the_login_end_the_session(service: Service, line: str) -> None:
    async with service.peer() as peer:
        await peer.send(f"{line}\n".encode() + frame(b"D", b"b"))
        assert await peer.error() == "not_authorised"
        assert await peer.is_at_end()
    assert not (service.root / "b").exists()


async def test_third_failure_ends_the_session(service: Service) -> None:
    async with service.peer() as peer:
        for _ in range(3):
            await peer.send(b'login "" {"secret":"guess"}\n')
            assert await peer.error() == "not_authorised"
        assert await peer.is_at_end()


async def test_login_that_does_not_come_in_time_ends_the_session(tmp_path: Path) -> None:
    async with (
        serve(tmp_path, admission=Admission(token=TOKEN), limits=Limits(login_s=0.1)) as service,
        service.peer() as peer,
    ):
        assert await peer.error() == "timed_out"
        assert await peer.is_at_end()


async def test_login_that_makes_no_sense(service: Service) -> None:
    async with service.peer() as peer:
        for line in (
            b"login",
            b"login " + TOKEN.encode(),
            b'login "ann" {"secret":5}',
            b'login "ann" {"secret"',
        ):
            await peer.send(line + b"\n")
            assert await peer.error() == "bad_argument"


async def test_no_secret_and_no_failed_guess_in_the_log(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with service.client(security=way(tmp_path, secret=TOKEN)) as client:
        await client.dir()
    with pytest.raises(NotAuthorised):
        async with service.client(security=way(tmp_path, user="ann", secret=PASSWORD + "!")):
            pass
    async with service.peer() as peer:
        for line in (
            f'login "{TOKEN}"',
            f"login {TOKEN}",
            f'login "ann" {{"secret":"{TOKEN}"',
            f'logn "" {{"secret":"{TOKEN}"}}',
        ):
            await peer.send(line.encode() + b"\n")
            await peer.error()
    assert "login failed: ann" in caplog.text and "logged in: token" in caplog.text
    assert TOKEN not in caplog.text and PASSWORD not in caplog.text
    assert TOKEN not in repr(way(tmp_path, secret=TOKEN))


async def test_anonymous_readers_and_a_login_for_more(tmp_path: Path) -> None:
    async with serve(tmp_path, admission=Admission(token=TOKEN, anonymous=READERS)) as service:
        (tmp_path / "b").write_bytes(b"b")
        async with service.client(security=way(tmp_path)) as client:
            assert client.hello.auth == "optional"
            assert await client.dir() == []
            with pytest.raises(Forbidden):
                await client.put(tmp_path / "b")
        async with service.client(security=way(tmp_path, secret=TOKEN)) as client:
            await client.put(tmp_path / "b")
        with pytest.raises(NotAuthorised):
            async with service.client(security=way(tmp_path, secret="wrong")):
                pass


async def test_server_without_logins_is_not_told_the_secret(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        async with service.client(security=way(tmp_path, secret=TOKEN)) as client:
            assert client.hello.auth == "none"
        with pytest.raises(NotAuthorised, match="knows no users"):
            async with service.client(security=way(tmp_path, user="ann", secret=PASSWORD)):
                pass


async def test_users_can_be_replaced_while_the_server_runs(tmp_path: Path) -> None:
    admission = Admission(users={"ann": ANN})
    async with serve(tmp_path, admission=admission) as service:
        admission.replace_users({"bob": User("bob", HASHED, ANN.grants)})
        async with service.client(security=way(tmp_path, user="bob", secret=PASSWORD)) as client:
            assert await client.dir() == []
        with pytest.raises(NotAuthorised):
            async with service.client(security=way(tmp_path, user="ann", secret=PASSWORD)):
                pass


async def said(peer: RawPeer, line: str) -> str:
    """Send a line; return the code of the error, "ok", or "" at the end."""
    await peer.send(f"{line}\n".encode())
    while (kind := (answer := await peer.json())[0]) not in (b"R", b"X", b""):
        pass
    return {b"R": "ok", b"": ""}.get(kind) or str(answer[1]["code"])


def as_ann(password: str = PASSWORD) -> str:
    return f'login "ann" {json.dumps({"secret": password})}'


@pytest.mark.parametrize(
    "users",
    [{}, {"ann": User("ann", hash_password(PASSWORD), ANN.grants)}],
    ids=["gone", "new password"],
)
@pytest.mark.parametrize("before", ["stat a", "listen", 'watch ""'])
async def test_sessions_of_a_user_who_is_gone_end_at_once(
    tmp_path: Path, users: dict[str, User], before: str
) -> None:
    admission = Admission(token=TOKEN, users={"ann": ANN})
    async with (
        serve(tmp_path, admission=admission) as service,
        service.peer() as ann,
        service.peer() as holder,
    ):
        (service.root / "a").write_bytes(b"a")
        assert [await said(ann, line) for line in (as_ann(), before)] == ["ok", "ok"]
        assert await said(holder, f'login "" {json.dumps({"secret": TOKEN})}') == "ok"
        admission.replace_users(users)
        assert await ann.error() == "not_authorised"
        assert await ann.is_at_end()
        assert await said(holder, "stat a") == "ok"


async def test_sessions_of_a_token_that_is_another_end_at_once(tmp_path: Path) -> None:
    admission = Admission(token=TOKEN, users={"ann": ANN})
    async with (
        serve(tmp_path, admission=admission) as service,
        service.peer() as ann,
        service.peer() as holder,
    ):
        assert (
            await said(ann, as_ann())
            == await said(holder, f'login "" {json.dumps({"secret": TOKEN})}')
            == "ok"
        )
        admission.replace_token("another")
        assert await holder.error() == "not_authorised"
        assert await holder.is_at_end()
        assert await said(ann, "dir") == "ok"


async def test_a_transfer_of_a_user_who_is_gone_is_cut(tmp_path: Path) -> None:
    admission = Admission(users={"ann": User("ann", HASHED, (Grant(ROOT, parse_rights("all")),))})
    async with serve(tmp_path, admission=admission) as service, service.peer() as ann:
        assert await said(ann, as_ann()) == "ok"
        await ann.send(b'put "b" {"size":2,"source":"s","wait":true}\n')
        while (await ann.frame())[0] != b"M":
            pass
        await ann.send(frame(b"D", b"b"))
        admission.replace_users({})
        while await ann.frame() != (b"", b""):
            pass
        assert not (service.root / "b").exists()
        await service.all_gone()


async def test_changed_rights_hold_for_sessions_that_run(tmp_path: Path) -> None:
    admission = Admission(users={"ann": ANN})
    async with serve(tmp_path, admission=admission) as service, service.peer() as ann:
        assert [await said(ann, line) for line in (as_ann(), "mkdir b")] == ["ok", "forbidden"]
        admission.replace_users(
            {"ann": User("ann", HASHED, (Grant(ROOT, parse_rights("change")),))}
        )
        assert await said(ann, "mkdir b") == "ok"
        admission.replace_users(
            {"ann": User("ann", HASHED, (Grant(ROOT, parse_rights("drop-box")),))}
        )
        assert await said(ann, "stat b") == "not_found"


async def test_who_puts_into_a_drop_box_is_not_shown_to_the_others_by_name_of_file(
    tmp_path: Path,
) -> None:
    async with (
        serve(tmp_path, drop_box=True) as service,
        service.peer() as one,
        service.peer() as other,
    ):
        await one.send(b'put "evidence" {"size":2,"source":"s","wait":true}\n')
        while (await one.frame())[0] != b"M":
            pass
        await one.send(frame(b"D", b"b"))
        for line in ("who", "partials", 'partials "" {"clear":true}'):
            await other.send(f"{line}\n".encode())
            while (answer := await other.frame())[0] != b"R":
                assert answer[0] in b"VL" and b"evidence" not in answer[1]


async def test_a_login_that_is_checked_while_its_user_goes_is_refused(tmp_path: Path) -> None:
    admission = Admission(users={"ann": ANN})
    async with serve(tmp_path, admission=admission) as service, service.peer() as ann:
        checked = admission.check

        def slow(name: str, secret: str) -> Login | None:
            login = checked(name, secret)
            admission.replace_users({})
            return login

        admission.check = slow  # type: ignore[method-assign]  # as if the owner were quick
        assert await said(ann, as_ann()) == "not_authorised"
        assert await said(ann, "dir") == "not_authorised"


# The saved login.


async def save(address: tuple[str, int], security: Security) -> None:
    session = await open_session(Address(*address), Limits(), security=security)
    save_login(session, security)
    await session.close()


async def test_saved_login_is_used(service: Service, tmp_path: Path) -> None:
    await save(service.address, way(tmp_path, user="ann", secret=PASSWORD))
    assert (tmp_path / "state" / "logins").stat().st_mode & 0o777 == 0o600
    async with service.client(security=way(tmp_path)) as client:
        with pytest.raises(NotFound):
            await client.get("none", tmp_path)
    with pytest.raises(LoginNeeded):  # not for another user
        async with service.client(security=way(tmp_path, user="bob")):
            pass
    assert saved_logins(way(tmp_path)).forget("{}:{}".format(*service.address))
    with pytest.raises(LoginNeeded):
        async with service.client(security=way(tmp_path)):
            pass


async def test_saved_login_is_for_the_server_with_that_key_alone(tmp_path: Path) -> None:
    tls = own_tls(tmp_path)
    async with serve(tmp_path, tls=tls, admission=Admission(token=TOKEN)) as service:
        address = "{}:{}".format(*service.address)
        for proof in ("plain", "authority", f"authority {'0' * 64}", fingerprint_of(b"another")):
            saved_logins(way(tmp_path)).keep(SavedLogin(address, proof, "", TOKEN))
            with pytest.raises(UnknownServer):
                async with service.client(security=way(tmp_path, tls="on")):
                    pass
        await save(service.address, way(tmp_path, secret=TOKEN, fingerprint=tls.fingerprint))
        async with service.client(security=way(tmp_path, tls="on")):
            pass


async def test_saved_login_is_for_the_authority_that_vouched_for_the_server(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    both, copy = tmp_path / "both.pem", tmp_path / "copy.pem"
    both.write_text(Path(one.file).read_text() + Path(other.file).read_text())
    copy.write_bytes(Path(one.file).read_bytes())
    async with serve(
        tmp_path, tls=ServerTls(one.issue("server")), admission=Admission(token=TOKEN)
    ) as service:
        await save(service.address, way(tmp_path, secret=TOKEN, ca=one.file))
        for ca in (one.file, str(copy)):
            async with service.client(security=way(tmp_path, ca=ca)):
                pass
        with pytest.raises(LoginNeeded):
            async with service.client(security=way(tmp_path, ca=str(both))):
                pass


async def test_saved_login_is_found_by_every_spelling_of_the_address(
    service: Service, tmp_path: Path
) -> None:
    host, port = service.address
    await save((f"::ffff:{host}", port), way(tmp_path, secret=TOKEN))
    async with service.client(security=way(tmp_path)):
        pass
    assert saved_logins(way(tmp_path)).forget(f"[::FFFF:{host}]:{port}")


async def test_damaged_file_of_saved_logins(service: Service, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "logins").write_text("junk\n")
    with pytest.raises(NotAuthorised, match=r"logins: line 1 is not a saved login; remove it"):
        async with service.client(security=way(tmp_path)):
            pass


async def test_secret_is_sent_to_nobody_who_shows_another_key(tmp_path: Path) -> None:
    tls = own_tls(tmp_path)
    async with serve(tmp_path, tls=tls, admission=Admission(token=TOKEN)) as service:
        security = way(
            tmp_path, tls="on", secret=TOKEN, fingerprint=fingerprint_of(b"the real one")
        )
        with pytest.raises(NotTrusted):
            async with service.client(security=security):
                pass
        assert all(
            native.session.failed_logins == 0 and not native.session.is_admitted
            for native in service.server.sessions
        )


async def test_secret_is_not_sent_in_plain_to_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftransfer.transport.base import PeerTransport

    monkeypatch.setattr(PeerTransport, "is_local", False)  # the one thing that loopback cannot show
    async with fake_server(frame(b"H", b'{"protocol":1,"auth":"required"}')) as address:
        with pytest.raises(
            NotTrusted, match="a secret is not sent in plain over a network; leave out --plain"
        ):
            async with connect(*address, security=way(tmp_path, tls="off", secret=TOKEN)):
                pass


async def test_to_another_machine_the_client_speaks_tls_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftransfer.transport.base import PeerTransport

    monkeypatch.setattr(PeerTransport, "is_local", False)
    async with serve(tmp_path) as service:
        with pytest.raises(NotTrusted, match="does not answer in TLS"):
            async with service.client(security=way(tmp_path)):
                pass
        async with service.client(security=way(tmp_path, tls="off")) as client:
            assert await client.dir() == []


async def test_each_user_has_the_bounds_of_the_file(tmp_path: Path) -> None:
    rights = 'rights = { "/%s" = "all" }'
    users = parse_users(
        f"""[[user]]
name = "ann"
password = "{HASHED}"
{rights % "ann"}
quota = "10K"
max_file = "6K"

[[user]]
name = "bob"
password = "{HASHED}"
{rights % "bob"}
quota = "20K"
""",
        "users.toml",
    )
    (tmp_path / "large").write_bytes(bytes(7_000))
    (tmp_path / "small").write_bytes(bytes(4_000))
    async with (
        serve(tmp_path, admission=Admission(users=users)) as service,
        service.client(security=way(tmp_path, user="ann", secret=PASSWORD)) as ann,
        service.client(security=way(tmp_path, user="bob", secret=PASSWORD)) as bob,
    ):
        (service.root / "ann").mkdir()
        (service.root / "bob").mkdir()
        with pytest.raises(QuotaFull, match="6K"):
            await ann.put(tmp_path / "large", "ann/large")
        for number in range(2):
            await ann.put(tmp_path / "small", f"ann/{number}")
        with pytest.raises(QuotaFull):
            await ann.put(tmp_path / "small", "ann/2")
        for number in range(5):  # whatever ann has used up
            await bob.put(tmp_path / "small", f"bob/{number}")
        with pytest.raises(QuotaFull):
            await bob.put(tmp_path / "small", "bob/5")
        await ann.remove("ann/0")
        await ann.put(tmp_path / "small", "ann/2")
