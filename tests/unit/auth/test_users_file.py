"""Edits of the users file: exactly what was asked for, and nothing that a person wrote is lost."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from ftransfer.auth.passwords import hash_password, matches
from ftransfer.auth.permissions import Allowance, format_rights
from ftransfer.auth.users import load_users
from ftransfer.auth.users_file import add_user, remove_user, set_values
from ftransfer.errors import BadFile
from tests.unit.auth.test_users import GOOD, HASHED


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A users file that its owner has written by hand."""
    path = tmp_path / "users.toml"
    path.write_text(GOOD)
    path.chmod(0o600)
    return path


def test_add_makes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    add_user(str(path), 'o"ne', {"password": HASHED, "rights": "read"})
    add_user(str(path), "two\\", {"password": HASHED, "rights": "all"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(load_users(str(path))) == ['o"ne', "two\\"]


def test_add_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text(GOOD.rstrip())
    path.chmod(0o640)
    add_user(str(path), "eve", {"password": HASHED, "rights": "read,write"})
    assert path.read_text().startswith(GOOD.rstrip())
    assert list(load_users(str(path))) == ["ann", "bob", "eve"]
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ann", "there is a user ann already"),
        ("", "not empty"),
        (" x", "printable"),
        ("a\nb", "printable"),
    ],
)
def test_add_refuses(path: Path, name: str, says: str) -> None:
    with pytest.raises(BadFile, match=says):
        add_user(str(path), name, {"password": HASHED, "rights": "read"})
    assert path.read_text() == GOOD


def test_set_password_keeps_what_the_user_may_have(path: Path) -> None:
    path.write_text(GOOD.replace('rights = "read"\n', 'rights = "read"\nquota = "10G"\n'))
    set_values(str(path), "ann", {"password": hash_password("new")})
    assert load_users(str(path))["ann"].allowance == Allowance(quota_bytes=10 << 30)


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_set_password_changes_that_line_alone(path: Path, name: str) -> None:
    new = hash_password("new")
    set_values(str(path), name, {"password": new})
    assert matches("new", load_users(str(path))[name].password)
    before, after = GOOD.splitlines(), path.read_text().splitlines()
    assert [
        number for number, (old, now) in enumerate(zip(before, after, strict=True)) if old != now
    ] == [3 if name == "ann" else 8]


def test_set_password_of_nobody(path: Path) -> None:
    with pytest.raises(BadFile, match="there is no user eve"):
        set_values(str(path), "eve", {"password": HASHED})


def test_set_password_that_only_a_person_can_change(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    text = f'user = [{{name = "ann", password = "{HASHED}", rights = "read"}}]\n'
    assert tomllib.loads(text)
    path.write_text(text)
    with pytest.raises(BadFile, match="cannot be replaced; put it on a line of its own"):
        set_values(str(path), "ann", {"password": hash_password("new")})
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["ann", "bob"])
def test_amounts_are_set_changed_and_taken_away(path: Path, name: str) -> None:
    for values, allowance in (
        ({"quota": "10G", "rate": "1M"}, Allowance(10 << 30, None, 1 << 20)),
        ({"quota": "20G", "max_file": "1G"}, Allowance(20 << 30, 1 << 30, 1 << 20)),
        ({"max_file": None, "rate": None}, Allowance(20 << 30)),
        ({"quota": None}, Allowance()),
    ):
        before = load_users(str(path))
        assert set_values(str(path), name, values).allowance == allowance
        after = load_users(str(path))
        assert after.pop(name).allowance == allowance and before.pop(name) and before == after
    assert path.read_text() == GOOD


def test_rights_are_set_as_a_word_or_by_folder_and_a_comment_stays(path: Path) -> None:
    path.write_text(GOOD.replace('rights = "read"', 'rights = "read"  # until May'))
    user = set_values(str(path), "ann", {"rights": {"/": "read", "/in box": "change"}})
    assert [(str(grant.prefix), format_rights(grant.rights)) for grant in user.grants] == [
        ("", "read"),
        ("in box", "read,write,overwrite,delete"),
    ]
    assert "  # until May\n" in path.read_text()
    set_values(str(path), "ann", {"rights": "read"})
    assert path.read_text() == GOOD.replace('rights = "read"', 'rights = "read"  # until May')


def test_a_contradiction_is_not_written(path: Path) -> None:
    with pytest.raises(BadFile, match="max_file 2G is more than quota 1G allows"):
        set_values(str(path), "ann", {"quota": "1G", "max_file": "2G"})
    assert path.read_text() == GOOD


def test_rights_in_a_table_are_for_a_person_to_change(path: Path) -> None:
    with pytest.raises(BadFile, match="the rights of bob cannot be replaced"):
        set_values(str(path), "bob", {"rights": "all"})
    assert path.read_text() == GOOD


def test_remove_leaves_the_others_and_what_is_written_about_them(path: Path) -> None:
    path.write_text(
        GOOD.replace('\n[[user]]\nname = "bob"', '\n# bob is away\n[[user]]\nname = "bob"')
    )
    remove_user(str(path), "ann")
    text = path.read_text()
    assert (
        list(load_users(str(path))) == ["bob"]
        and text.startswith("# our users\n# bob is away\n[[user]]")
        and "ann" not in text
    )
    remove_user(str(path), "bob")
    assert load_users(str(path)) == {}
    with pytest.raises(BadFile, match="there is no user bob"):
        remove_user(str(path), "bob")


def test_a_link_stays_and_the_file_keeps_mode_and_group(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.toml"
    link.parent.mkdir()
    link.symlink_to("../users.toml")
    path.chmod(0o640)
    other = next((group for group in (*os.getgroups(), 12345) if group != os.getegid()), None)
    if os.geteuid() == 0 and other is not None:
        os.chown(path, 12345, other)
    before = path.stat()
    add_user(str(link), "eve", {"password": HASHED, "rights": "read"})
    set_values(str(link), "eve", {"rights": "all"})
    remove_user(str(link), "ann")
    after = path.stat()
    assert link.is_symlink() and list(load_users(str(path))) == ["bob", "eve"]
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
