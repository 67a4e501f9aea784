"""The users file: its syntax, where a mistake is, and changes that keep the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftransfer.auth.admission import Admission
from ftransfer.auth.passwords import hash_password
from ftransfer.auth.permissions import Allowance, Grant, parse_rights
from ftransfer.auth.users import load_users, parse_users
from ftransfer.errors import BadFile
from ftransfer.names import ROOT, parse_path

HASHED = hash_password("pw")
GOOD = f"""# our users
[[user]]
name = "ann"
password = "{HASHED}"
rights = "read"

[[user]]
name = "bob"
password = '{HASHED}'
[user.rights]
"/" = "read"
"/inbox" = ["write", "delete"]
"""


def test_users_and_their_rights() -> None:
    users = parse_users(GOOD, "f")
    assert list(users) == ["ann", "bob"]
    assert users["ann"].grants == (Grant(ROOT, parse_rights("read")),)
    assert users["bob"].grants == (
        Grant(ROOT, parse_rights("read")),
        Grant(parse_path("inbox"), parse_rights("write delete")),
    )


def test_users_and_how_much_they_may_have() -> None:
    own = GOOD.replace(
        'rights = "read"\n',
        'rights = "read"\nquota = "10G"\nquota_files = 5000\nmax_file = 4096\nrate = "1M/s"\n',
    )
    users = parse_users(own, "f")
    assert users["ann"].allowance == Allowance(10 << 30, 4096, 1 << 20, 5000)
    assert users["bob"].allowance == Allowance()
    admission = Admission(users=users)
    login = admission.check("ann", "pw")
    ann = login and login.principal
    assert ann is not None and ann.allowance == Allowance(10 << 30, 4096, 1 << 20, 5000)


def test_an_empty_file_has_no_users() -> None:
    assert parse_users("", "f") == {}


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "says"),
    [
        ("# our users", "# our users\nadmin = 1", 2, 1, "admin is not known"),
        ('[[user]]\nname = "ann"', '[user]\nname = "ann"', 7, 3, "cannot"),
        ('name = "ann"', "name = ann", 3, 8, "invalid value"),
        ('name = "ann"', 'name = "ann', 3, 12, "illegal character"),
        (
            'name = "ann"',
            'nom = "ann"',
            3,
            1,
            "nom is not known; the keys of a user are name, password, rights",
        ),
        ('name = "ann"\n', "", 2, 1, "this user has no name"),
        ('name = "ann"', 'name = ""', 3, 1, "a name is a text that is not empty"),
        ('name = "ann"', 'name = "a\\nb"', 3, 1, "a name is printable"),
        ('name = "ann"', "name = 5", 3, 1, "a name is a text"),
        ('name = "bob"', 'name = "ann"', 8, 1, "there is another user ann above"),
        (f'password = "{HASHED}"', 'password = "secret"', 4, 1, "the password is not a hash"),
        ('rights = "read"', 'rights = "read, fly"', 5, 17, "'fly' is no right"),
        ('rights = "read"', "rights = 7", 5, 1, "rights are words"),
        ('rights = "read"', '  rights = ""', 5, 3, "no rights are named"),
        (
            '"/inbox" = ["write", "delete"]',
            '"/inbox" = ["write", "fly"]',
            12,
            23,
            "'fly' is no right",
        ),
        ('"/inbox" =', '"/in/../box" =', 12, 1, "in/../box"),
        ('"/inbox" =', '"/" =', 12, 1, "cannot overwrite"),
        ('"/inbox" =', '"" =', 12, 1, "has rights already"),
        (
            'rights = "read"',
            'rights = "read"\n quota = "10X"',
            6,
            2,
            "quota: '10X' is no size; write for example 500M, 10G",
        ),
        (
            'rights = "read"',
            'rights = "read"\nmax_file = true',
            6,
            1,
            "max_file must be a text in quotes or a number",
        ),
        ('rights = "read"', 'rights = "read"\nmax_file = -1', 6, 1, "max_file: '-1' is no size"),
        (
            'rights = "read"',
            'rights = "read"\nrate = 0',
            6,
            1,
            "rate: a rate of 0 would let nothing through",
        ),
        (
            'rights = "read"',
            'rights = "read"\nrate = ["1M"]',
            6,
            1,
            "rate must be a text in quotes or a number",
        ),
        ('rights = "read"', 'rights = "read"\nmax-file = "1M"', 6, 1, "max-file is not known"),
        (
            'rights = "read"',
            'rights = "read"\nquota = "1M"\nmax_file = "2M"',
            7,
            1,
            "max_file 2M is more than quota 1M allows",
        ),
    ],
)
def test_mistake_is_told_with_line_and_column(
    old: str, new: str, line: int, column: int, says: str
) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(BadFile) as caught:
        parse_users(GOOD.replace(old, new), "f.toml")
    text = str(caught.value)
    assert text.startswith(f"f.toml: line {line}, column ") and says.lower() in text.lower(), text
    if "cannot" not in says:
        assert text.startswith(f"f.toml: line {line}, column {column}: "), text
    assert "\n" not in text and HASHED not in text


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="there is no such file; ftransfer user add"):
        load_users(str(tmp_path / "none"))


@given(st.text(alphabet=st.sampled_from("[]user{}=\"'\\n\n ,.#ab/0"), max_size=80))
def test_any_text_is_users_or_a_mistake_with_a_place(text: str) -> None:
    try:
        parse_users(text, "f")
    except BadFile as error:
        assert str(error).startswith("f: line ") and "\n" not in str(error)
