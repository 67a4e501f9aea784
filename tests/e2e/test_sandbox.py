"""serve --sandbox, as a process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ftransfer.auth.passwords import hash_password
from ftransfer.auth.users_file import add_user
from ftransfer.cli.sandbox_option import enter_sandbox
from ftransfer.shell.errors import WrongUsage
from ftransfer.system.sandbox import CannotLock, landlock_abi
from tests.support.programs import run_program, start_server

HASHED = hash_password("password")

needs_landlock = pytest.mark.skipif(
    landlock_abi() < 2, reason="this kernel has no landlock that can be used"
)


def no_new_privileges(pid: int) -> str:
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("NoNewPrivs:")
    ]
    return line.split()[1]


@needs_landlock
async def test_server_enters_its_sandbox_and_serves_as_before(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "file").write_bytes(b"content" * 100_000)
    async with start_server(tmp_path / "share", "--sandbox") as server:
        assert no_new_privileges(server.process.pid) == "1"
        await server.err_until("sandboxed: files outside the share can no longer be opened")
        for arguments in (
            ("put", "file"),
            ("get", "file", "back"),
            ("mkdir", "a/b", "--parents"),
            ("mv", "file", "a/b/moved"),
            ("stat", "a/b/moved"),
            ("dir",),
            ("rm", "a", "--recursive"),
        ):
            verb, *rest = arguments
            done = await run_program(verb, "127.0.0.1", server.port, *rest, folder=tmp_path)
            assert done.code == 0, (arguments, done.err)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    assert [path.name for path in (tmp_path / "share").iterdir() if path.name != ".ftransfer"] == []


async def test_server_runs_without_a_sandbox_if_told_so(tmp_path: Path) -> None:
    async with start_server(tmp_path, "--no-sandbox") as server:
        assert no_new_privileges(server.process.pid) == "0"


def test_sandbox_that_cannot_be_had_is_an_error_only_if_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> int:
        raise CannotLock("this system has no landlock")

    monkeypatch.setattr("ftransfer.cli.sandbox_option.lock_in", refuse)
    assert enter_sandbox(None, ".") == "not sandboxed: this system has no landlock"
    assert enter_sandbox(False, ".") == "not sandboxed: --no-sandbox"
    with pytest.raises(WrongUsage, match="this system has no landlock"):
        enter_sandbox(True, ".")


@needs_landlock
async def test_files_that_were_replaced_are_read_again_inside_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "conf").mkdir()
    users = tmp_path / "conf" / "users.toml"
    add_user(str(users), "ann", {"password": HASHED, "rights": "read"})
    async with start_server(
        tmp_path / "share", "--sandbox", "--tls", "on", "--users", str(users)
    ) as server:
        # A new file in the place of the old one
        add_user(str(users), "bob", {"password": HASHED, "rights": "read"})
        server.process.send_signal(signal.SIGHUP)
        line = await server.err_until("users: (2 read|kept)")
    assert "2 read" in line
