"""The users and token files of a running server: which changes are taken up, which are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.auth.files import CredentialFiles
from ftransfer.auth.passwords import hash_password
from ftransfer.auth.users import load_users

HASHED = hash_password("password")
LONG_AGO = 1_600_000_000


def write_users(path: Path, *names: str, at: int = LONG_AGO) -> None:
    path.write_text(
        "".join(
            f'[[user]]\nname = "{name}"\npassword = "{HASHED}"\nrights = "read"\n' for name in names
        )
    )
    path.chmod(0o600)
    os.utime(path, (at, at))


def write_token(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


class Kept:
    """An admission with its files."""

    def __init__(self, folder: Path) -> None:
        self.users, self.token = folder / "users.toml", folder / "token"
        write_users(self.users, "ann")
        write_token(self.token, "old")
        self.admission = Admission(token="old", users=load_users(str(self.users)))
        self.files = CredentialFiles(self.admission, users=str(self.users), token=str(self.token))

    def lets_in(self, name: str, secret: str = "password") -> bool:
        return self.admission.check(name, secret) is not None


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_a_change_is_noticed_at_the_next_login(kept: Kept) -> None:
    assert kept.lets_in("ann") and kept.lets_in("", "old")
    write_users(kept.users, "bob")
    write_token(kept.token, "new")
    assert kept.lets_in("bob") and kept.lets_in("", "new")
    assert not kept.lets_in("ann") and not kept.lets_in("", "old")


def test_a_change_within_the_tick_of_the_clock_is_noticed(kept: Kept) -> None:
    for names in (("bob",), ("eve",), ("ann",)):
        write_users(kept.users, *names)  # as long as before, and with the same time
        assert kept.lets_in(*names)


def test_a_file_that_was_moved_into_place_is_noticed(kept: Kept) -> None:
    other = kept.users.with_name("other")
    write_users(other, "bob")
    other.replace(kept.users)
    assert kept.lets_in("bob")


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.write_text("junk"), lambda path: path.unlink()],
    ids=["junk", "removed"],
)
def test_what_cannot_be_used_is_kept_and_told_once(
    kept: Kept, spoil: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(spoil)
    spoil(kept.users)
    assert kept.lets_in("ann") and kept.lets_in("ann")
    assert [record.message.partition(" because ")[0] for record in caplog.records] == [
        "users: kept,"
    ]
    write_users(kept.users, "bob")
    assert kept.lets_in("bob")


def test_reload_says_of_each_file_what_came_of_it(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write_users(kept.users, "ann", "bob")
    kept.token.chmod(0o644)
    kept.files.reload()
    users, token = (record.message for record in caplog.records)
    assert (
        users == "users: 2 read"
        and token.startswith("token: kept, because")
        and "others may read" in token
    )
    assert kept.lets_in("bob") and kept.lets_in("", "old")


def test_a_token_from_a_pipe_is_not_read_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    admission = Admission(token="old")
    files = CredentialFiles(admission, token=str(tmp_path / "pipe"))
    files.reload()  # would wait for ever for somebody to write
    assert admission.check("", "old") is not None
