"""Encryption and logins as users meet them: the programs, with a state folder of their own."""

from __future__ import annotations

import contextlib
import json
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ftransfer.auth.passwords import hash_password
from ftransfer.auth.users import load_users
from ftransfer.auth.users_file import add_user
from ftransfer.tls.fingerprint import fingerprint_of
from ftransfer.tls.identity import make_identity
from tests.support.programs import Done, Running, run_program, start_at_terminal, start_server
from tests.support.service import raw_peer

HASHED = hash_password("password")
OTHER = fingerprint_of(b"another certificate")


@dataclass
class Place:
    """A share with one file, and users whose state nobody else touches."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "home" / "ftransfer"

    @property
    def environment(self) -> dict[str, str]:
        return {"XDG_STATE_HOME": str(self.folder / "home")}

    async def run(self, *arguments: str | int | Path, stdin: bytes = b"", **variables: str) -> Done:
        return await run_program(
            *arguments,
            folder=self.folder,
            stdin=stdin,
            environment={**self.environment, **variables},
        )

    def serve(self, *options: str | int) -> contextlib.AbstractAsyncContextManager[Running]:
        return start_server(self.folder / "share", *options, environment=self.environment)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "a").write_bytes(b"content")
    return Place(tmp_path)


async def test_printed_line_works_with_tls(place: Place) -> None:
    async with place.serve("--tls", "on", "--anonymous", "all") as server:
        variables, words = await server.line_to_hand_on()
        assert variables == {} and words[-2] == "--fingerprint"
        assert stat.S_IMODE((place.state / "server.pem").stat().st_mode) == 0o600
        done = await place.run(*words, stdin=b"get a\n")
        assert (done.code, (place.folder / "a").read_bytes()) == (0, b"content")
        assert (
            await place.run("dir", *words[1:3])
        ).code == 0  # up by itself, and the key is known by now
        wrong = await place.run("dir", *words[1:3], "--fingerprint", OTHER)
        assert (
            wrong.code == 5
            and wrong.out == b""
            and "shows the key" in wrong.err
            and wrong.err.count("\n") == 1
        )


async def test_token_file_and_its_line(place: Place) -> None:
    token = place.folder / "token"
    token.write_text("t0ken\n")
    token.chmod(0o600)
    async with place.serve("--token-file", str(token)) as server:
        variables, words = await server.line_to_hand_on()
        assert variables == {} and words[-2:] == ["--token-file", str(token)]
        assert (await place.run(*words, stdin=b"dir\n")).code == 0
        address = words[1:3]
        assert (await place.run("dir", *address, FTRANSFER_TOKEN="t0ken")).code == 0
        for refused in (
            await place.run("dir", *address),
            await place.run("get", *address, "a", FTRANSFER_TOKEN="wrong"),
        ):
            assert refused.code == 5 and refused.out == b"" and refused.err.count("\n") == 1
        token.chmod(0o644)
        readable = await place.run("dir", *address, "--token-file", str(token))
        assert (
            readable.code == 2
            and f"{token}: others may read this secret; chmod 600" in readable.err
        )
        server.process.terminate()
        await server.end()
        assert "t0ken" not in server.err


async def test_login_and_logout(place: Place) -> None:
    token = place.folder / "token"
    token.write_text("t0ken")
    token.chmod(0o600)
    async with place.serve("--token-file", str(token), "--tls", "on") as server:
        _, words = await server.line_to_hand_on()
        address = words[1:3]
        assert (await place.run("login", *address)).code == 5
        kept = await place.run("login", *words[1:])
        assert kept.code == 0 and "logged in" in kept.err and kept.out == b""
        assert (await place.run("dir", *address)).code == 0
        assert (await place.run("logout", *address)).code == 0
        assert (await place.run("dir", *address)).code == 5
        piped = await place.run("login", *address, stdin=b"t0ken\n")
        assert piped.code == 0 and (await place.run("dir", *address)).code == 0
        assert (await place.run("logout", *address)).code == 0
        again = await place.run("logout", *address)
        assert again.code == 5 and "no saved login" in again.err


async def add_ann_and_bob(place: Place) -> None:
    for name, rights in (("ann", "read"), ("bob", "all")):
        words = ("user", "add", "users.toml", name, "--rights", rights)
        done = await place.run(*words, stdin=b"password-" + name.encode() + b"\n")
        assert (done.code, done.out) == (0, b"")


async def test_users_of_a_file_are_listed(place: Place) -> None:
    await add_ann_and_bob(place)
    assert (await place.run("user", "list", "users.toml")).text == "ann  / read\nbob  / all\n"
    listed = (await place.run("user", "list", "--json", "users.toml")).text.splitlines()
    assert json.loads(listed[0]) == {"name": "ann", "rights": {"/": "read"}}
    with (place.folder / "users.toml").open("a") as file:
        file.write('quota = "10G"\n')
    assert (await place.run("user", "list", "users.toml")).text.endswith("bob  / all  quota 10G\n")
    listed = (await place.run("user", "list", "--json", "users.toml")).text.splitlines()
    assert json.loads(listed[1]) == {"name": "bob", "rights": {"/": "all"}, "quota": 10 << 30}


async def test_users_from_a_file(place: Place) -> None:
    await add_ann_and_bob(place)

    async def code(user: str, password: str, verb: str, *names: str) -> int:
        words = (verb, *address, *names, "--user", user)
        return (await place.run(*words, FTRANSFER_TOKEN=password)).code

    async with place.serve("--users", str(place.folder / "users.toml")) as server:
        _, words = await server.line_to_hand_on()
        assert words[-2:] == ["--user", "NAME"]
        address = words[1:3]
        assert await code("ann", "password-ann", "get", "a", "got") == 0
        assert await code("ann", "password-ann", "put", "got", "b") == 1
        assert not (place.folder / "share" / "b").exists()
        assert await code("bob", "password-bob", "put", "got", "b") == 0
        changed = await place.run("user", "passwd", "users.toml", "ann", stdin=b"new password\n")
        assert changed.code == 0
        server.process.send_signal(signal.SIGHUP)
        await server.err_until("users: 2 read")
        assert await code("ann", "password-ann", "dir") == 5
        assert await code("ann", "new password", "dir") == 0
        (place.folder / "users.toml").write_text("[[user]]\nnam = 1\n")
        server.process.send_signal(signal.SIGHUP)
        line = await server.err_until("users: kept, because")
        assert "line 2, column 1: nam is not known" in line
        assert await code("ann", "new password", "dir") == 0


async def test_a_removed_user_is_noticed_without_a_signal(place: Place) -> None:
    path = place.folder / "users.toml"
    for name in ("ann", "bob"):
        add_user(str(path), name, {"password": HASHED, "rights": "read"})
    async with (
        place.serve("--users", str(path)) as server,
        raw_peer("127.0.0.1", server.port) as ann,
    ):
        assert (await ann.frame())[0] == b"H"
        await ann.send(b'login "ann" {"secret":"password"}\n')
        while (await ann.frame())[0] != b"R":
            pass
        path.write_text(f'[[user]]\nname = "bob"\npassword = "{HASHED}"\nrights = "all"\n')
        assert "users: 1 read" in await server.err_until("users: ")
        assert await ann.error() == "not_authorised"


async def test_anonymous_may_read_alone(place: Place) -> None:
    async with place.serve("--anonymous", "read") as server:
        address = ("127.0.0.1", server.port)
        assert (await place.run("get", *address, "a", "got")).code == 0
        assert (await place.run("put", *address, "got", "b")).code == 1


async def test_certificate_is_renewed_on_sighup(place: Place) -> None:
    pem = place.folder / "cert.pem"
    pem.write_text(make_identity())
    async with place.serve("--cert", str(pem), "--anonymous", "read") as server:
        _, words = await server.line_to_hand_on()
        assert (await place.run("dir", *words[1:])).code == 0
        pem.write_text(make_identity())
        server.process.send_signal(signal.SIGHUP)
        await server.err_until("certificate: reloaded")
        changed = await place.run("dir", *words[1:3], "--tls")
        assert changed.code == 5 and "shows another key than before" in changed.err
        pem.write_text("junk")
        server.process.send_signal(signal.SIGHUP)
        assert "there is no certificate in it" in await server.err_until(
            "certificate: not changed:"
        )


async def test_secret_is_asked_for_at_a_terminal(place: Place) -> None:
    token = place.folder / "token"
    token.write_text("t0ken")
    token.chmod(0o600)
    async with place.serve("--token-file", str(token)) as server:
        arguments = ("dir", "127.0.0.1", server.port)
        async with start_at_terminal(
            *arguments, folder=place.folder, environment=place.environment
        ) as terminal:
            await terminal.see(f"token at 127.0.0.1:{server.port}: ")
            terminal.press("t0ken\n")
            await terminal.see(" a\r")
            assert await terminal.end() == 0
            assert "t0ken" not in terminal.screen


async def test_user_and_password_are_asked_for_at_a_terminal(place: Place) -> None:
    assert (
        await place.run(
            "user", "add", "users.toml", "ann", "--rights", "read", stdin=b"correct horse\n"
        )
    ).code == 0
    async with place.serve("--users", str(place.folder / "users.toml")) as server:
        address = f"127.0.0.1:{server.port}"
        # The second one uses what the first one has kept
        for verb, sees in (
            ("login", "logged in"),
            ("dir", " a\r"),
        ):
            words = (verb, "127.0.0.1", server.port)
            async with start_at_terminal(
                *words, folder=place.folder, environment=place.environment
            ) as terminal:
                if verb == "login":
                    await terminal.see(f"user at {address}: ")
                    terminal.press("ann\n")
                    await terminal.see(f"password for ann at {address}: ")
                    terminal.press("correct horse\n")
                await terminal.see(sees)
                assert await terminal.end() == 0
                assert "correct horse" not in terminal.screen and "no secret" not in terminal.screen
        piped = await place.run(
            "dir", "127.0.0.1", server.port, XDG_STATE_HOME=str(place.folder / "other")
        )
        assert piped.code == 5 and "give --user NAME and the secret" in piped.err


async def test_user_that_is_given_is_not_asked_for(place: Place) -> None:
    assert (
        await place.run(
            "user", "add", "users.toml", "ann", "--rights", "read", stdin=b"correct horse\n"
        )
    ).code == 0
    async with place.serve("--users", str(place.folder / "users.toml")) as server:
        words = ("dir", "127.0.0.1", server.port, "--user", "ann")
        async with start_at_terminal(
            *words, folder=place.folder, environment=place.environment
        ) as terminal:
            assert "user at" not in await terminal.see(
                f"password for ann at 127.0.0.1:{server.port}: "
            )
            terminal.press("correct horse\n")
            assert await terminal.end() == 0


async def test_login_that_is_out_of_date_can_be_kept_anew(place: Place) -> None:
    token = place.folder / "token"
    token.write_text("old")
    token.chmod(0o600)
    async with place.serve("--token-file", str(token)) as server:
        address = ("127.0.0.1", server.port)
        assert (await place.run("login", *address, stdin=b"old\n")).code == 0
        token.write_text("new")
        server.process.send_signal(signal.SIGHUP)
        await server.err_until("token: read")
        refused = await place.run("dir", *address)
        assert (
            refused.code == 5
            and f"ftransfer login 127.0.0.1 {server.port} keeps another" in refused.err
        )
        async with start_at_terminal(
            "login", *address, folder=place.folder, environment=place.environment
        ) as terminal:
            await terminal.see(f"token at 127.0.0.1:{server.port}: ")
            terminal.press("new\n")
            assert await terminal.end() == 0
        assert (await place.run("dir", *address)).code == 0


async def test_plain_on_a_tls_port_and_tls_on_a_plain_one(place: Place) -> None:
    async with place.serve("--tls", "on") as server:
        plain = await place.run("dir", "127.0.0.1", server.port, "--plain")
        assert (
            plain.code == 5
            and f"127.0.0.1:{server.port} is known by its key, and is not spoken to in plain"
            in plain.err
        )
        other = await place.run(
            "dir", "127.0.0.1", server.port, "--plain", XDG_STATE_HOME=str(place.folder / "other")
        )
        assert (
            other.code == 5
            and f"127.0.0.1:{server.port} speaks TLS only; leave out --plain" in other.err
        )
    async with place.serve() as server:
        tls = await place.run("dir", "127.0.0.1", server.port, "--tls")
        assert tls.code == 5 and "does not answer in TLS; have it started with --tls on" in tls.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("dir h 1 --plain --tls", "--plain and --tls cannot be used together"),
        (f"get h 1 a --plain --fingerprint {OTHER}", "--plain and --fingerprint cannot"),
        ("put h 1 a --plain --ca system", "--plain and --ca cannot"),
        ("connect h 1 --plain --cert x", "--plain and --cert cannot"),
        (f"dir h 1 --ca x --fingerprint {OTHER}", "choose one"),
        ("dir h 1 --key x", "--key needs --cert"),
        ("dir h 1 --fingerprint oops", "--fingerprint oops: a fingerprint is SHA256:"),
        ("serve share --tls maybe", "'--tls': 'maybe' is not auto, on or off"),
        ("serve share --tls off --cert x", "--tls off and --cert cannot"),
        ("serve share --tls off --client-ca x", "--tls off and --client-ca cannot"),
        ("serve share --key x", "--key needs --cert"),
        ("serve share --anonymous fly", "'--anonymous': 'fly' is no right"),
        ("serve share --host 0.0.0.0 --tls off", "--tls off would send logins unencrypted"),
        ("serve share --cert none.pem", "none.pem: it cannot be read"),
        ("serve share --users none.toml", "none.toml: there is no such file; ftransfer user add"),
        ("serve share --token-file none", "none: the secret cannot be read"),
        ("user add u.toml ann --rights fly", "--rights: 'fly' is no right"),
        ("user passwd u.toml ann", "there is no user ann"),
        ("user set u.toml ann --quota 1G", "there is no user ann"),
        ("user set u.toml ann", "nothing to change; use --rights"),
        ("user set u.toml ann --quota much", "--quota: 'much' is no size"),
        ("user set u.toml ann --rights read --rights all", "--rights: / is given twice"),
        ("user rm u.toml ann", "there is no user ann"),
        ("user list u.toml", "there is no such file"),
    ],
)
async def test_what_makes_no_sense_is_one_line_and_code_2(
    place: Place, line: str, says: str
) -> None:
    done = await place.run(*line.split(), stdin=b"password\n")
    assert (done.code, done.out) == (2, b""), done.err
    assert says in done.err and done.err.count("\n") == 1


async def test_users_are_changed_and_removed(place: Place) -> None:
    path = place.folder / "users.toml"
    add = (
        "user",
        "add",
        path,
        "ann",
        "--rights",
        "read",
        "--rights",
        "/inbox=drop-box",
        "--quota",
        "1G",
    )
    done = await place.run(*add, stdin=b"long enough\n")
    assert (
        done.code == 0
        and "ann may read in the whole share and write in /inbox; running servers notice"
        in done.err
    )
    assert (
        await place.run(
            "user", "set", path, "ann", "--rights", "all", "--quota", "none", "--rate", "1M"
        )
    ).code == 0
    assert (await place.run("user", "list", path)).text == "ann  / all  rate 1M\n"
    assert (await place.run("user", "rm", path, "ann")).code == 0
    assert load_users(str(path)) == {}


@pytest.mark.parametrize("words", [("add", "users.toml", "bob"), ("passwd", "users.toml", "ann")])
async def test_password_that_is_too_short(place: Place, words: tuple[str, ...]) -> None:
    add_user(str(place.folder / "users.toml"), "ann", {"password": HASHED, "rights": "read"})
    before = (place.folder / "users.toml").read_text()
    done = await place.run("user", *words, stdin=b"seven77\n")
    assert done.code == 2 and "the password is too short; use at least 8 characters" in done.err
    assert (place.folder / "users.toml").read_text() == before


@pytest.mark.parametrize("option", ["--users", "--key"])
async def test_secrets_that_others_may_change_are_refused(place: Place, option: str) -> None:
    path = place.folder / "secret"
    if option == "--key":
        path.write_text(make_identity())
        options: tuple[str | Path, ...] = ("--cert", path, "--key", path)
    else:
        add_user(str(path), "ann", {"password": HASHED, "rights": "read"})
        options = ("--users", path)
    path.chmod(0o606)
    done = await place.run("serve", "share", "--port", 0, *options)
    assert done.code == 2 and f"{path}: others may change it; chmod go-w" in done.err
    path.chmod(0o604)
    async with place.serve(*map(str, options)) as server:
        assert f"{path}: everybody on this machine may read" in await server.err_until("warning: ")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the limit")
async def test_no_core_is_dumped(place: Place) -> None:
    async with place.serve() as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
        assert next(
            line.split()[4:6] for line in limits if line.startswith("Max core file size")
        ) == ["0", "0"]


async def test_users_file_with_a_mistake(place: Place) -> None:
    (place.folder / "users.toml").write_text(
        '[[user]]\nname = "ann"\npassword = "secret"\nrights = "read"\n'
    )
    done = await place.run("serve", "share", "--users", "users.toml")
    assert done.code == 2 and done.err.startswith(
        "ftransfer: users.toml: line 3, column 1: the password is not a hash"
    )
    assert "secret" not in done.err.replace("the password", "")


async def test_password_of_a_user_is_typed_twice_at_a_terminal(place: Place) -> None:
    arguments = ("user", "add", "users.toml", "ann")
    async with start_at_terminal(
        *arguments, folder=place.folder, environment=place.environment
    ) as terminal:
        await terminal.see("password: ")
        terminal.press("password\n")
        await terminal.see("repeat password: ")
        terminal.press("password\n")
        assert await terminal.end() == 0
    assert list(load_users(str(place.folder / "users.toml"))) == ["ann"]
