"""Who is let in, and as whom."""

from __future__ import annotations

import pytest

from ftransfer.auth import admission as module
from ftransfer.auth.admission import MAY_LOG_IN, MUST_LOG_IN, NO_LOGIN, OPEN, Admission, make_token
from ftransfer.auth.passwords import decoy_like, hash_password, is_hash, matches
from ftransfer.auth.users import User
from ftransfer.names import ROOT
from ftransfer.rights import ANYONE, Grant, parse_rights

HASHED = hash_password("pw")
GRANTS = (Grant(ROOT, parse_rights("read")),)
USERS = {"ann": User("ann", HASHED, GRANTS)}


def test_what_hello_says() -> None:
    assert OPEN.wants == NO_LOGIN
    assert Admission(token="t").wants == MUST_LOG_IN
    assert Admission(users=USERS).wants == MUST_LOG_IN
    assert Admission(users={}).wants == MUST_LOG_IN  # nobody is let in, rather than everybody
    assert Admission(token="t", anonymous=ANYONE).wants == MAY_LOG_IN
    assert Admission(users=USERS, anonymous=ANYONE).wants == MAY_LOG_IN


def test_token() -> None:
    gate = Admission(token="töken")
    assert gate.check("", "töken") == ANYONE
    assert gate.check("", "token") is gate.check("", "") is gate.check("ann", "töken") is None
    assert gate.check("", "t\udcff") is None


def test_no_token_is_not_an_empty_one() -> None:
    assert Admission(users=USERS).check("", "") is None
    assert OPEN.check("", "") is None


def test_user() -> None:
    gate = Admission(users=USERS)
    found = gate.check("ann", "pw")
    assert found is not None and (found.name, found.grants, found.is_anonymous) == ("ann", GRANTS, False)
    assert gate.check("ann", "PW") is gate.check("bob", "pw") is None


def test_an_unknown_name_costs_the_same_check_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(password: str, hashed: str) -> bool:
        asked.append(hashed)
        return matches(password, hashed)

    monkeypatch.setattr(module, "matches", counted)
    gate = Admission(users=USERS)
    gate.check("bob", "pw")
    gate.check("ann", "wrong")
    unknown, known = asked
    assert known == HASHED and unknown != HASHED
    assert unknown.split("$")[:4] == known.split("$")[:4]  # the same parameters: the same time


def test_tokens_differ_and_need_no_quotes() -> None:
    one, other = make_token(), make_token()
    assert one != other and len(one) == 43
    assert one.replace("-", "").replace("_", "").isalnum()


def test_hashes() -> None:
    assert is_hash(HASHED) and is_hash(decoy_like(HASHED))
    assert not any(map(is_hash, ("", "pw", "$argon2id$", "$2b$12$" + "a" * 53)))
    assert not matches("pw", "no hash") and not matches("pw", decoy_like(HASHED))
