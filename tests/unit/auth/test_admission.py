"""Who is let in, and as whom."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from ftransfer.auth import admission as module
from ftransfer.auth.admission import OPEN, Admission, make_token
from ftransfer.auth.passwords import decoy_like, hash_password, is_hash, matches
from ftransfer.auth.permissions import ANYONE, Grant, parse_rights
from ftransfer.auth.users import User
from ftransfer.names import ROOT

HASHED = hash_password("pw")
GRANTS = (Grant(ROOT, parse_rights("read")),)
USERS = {"ann": User("ann", HASHED, GRANTS)}


@pytest.mark.parametrize(
    ("admission", "requires_login", "has_token", "has_users"),
    [
        (OPEN, False, False, False),
        (Admission(token="t"), True, True, False),
        (Admission(users=USERS), True, False, True),
        (Admission(users={}), True, False, False),  # nobody is let in, rather than everybody
        (Admission(token="t", anonymous=ANYONE), False, True, False),
        (Admission(token="t", users=USERS, anonymous=ANYONE), False, True, True),
    ],
)
def test_who_has_to_log_in_and_how(
    admission: Admission, requires_login: bool, has_token: bool, has_users: bool
) -> None:
    assert admission.requires_login is requires_login
    assert (admission.has_token, admission.has_users) == (has_token, has_users)


def test_token() -> None:
    gate = Admission(token="töken")
    found = gate.check("", "töken")
    assert found is not None and found.principal is gate.renew(found) is ANYONE
    assert gate.check("", "token") is gate.check("", "") is gate.check("ann", "töken") is None
    assert gate.check("", "t\udcff") is None


def test_no_token_is_not_an_empty_one() -> None:
    assert Admission(users=USERS).check("", "") is None
    assert OPEN.check("", "") is None


def test_user() -> None:
    gate = Admission(users=USERS)
    login = gate.check("ann", "pw")
    found = login and login.principal
    assert found is not None and (found.name, found.grants, found.is_anonymous) == (
        "ann",
        GRANTS,
        False,
    )
    assert gate.check("ann", "PW") is gate.check("bob", "pw") is None


@pytest.mark.parametrize("secret", ["\ud800", "pw\udc80", "\udcff" * 9])
def test_secret_that_is_no_text_is_a_wrong_one(secret: str) -> None:
    gate = Admission(token="right", users=USERS)
    for name in ("", "ann", "nobody", "\ud800"):
        assert gate.check(name, secret) is None


def test_a_login_holds_until_its_user_token_or_password_is_another() -> None:
    gate = Admission(token="one", users=USERS)
    ann, holder = gate.check("ann", "pw"), gate.check("", "one")
    assert ann is not None and holder is not None

    assert gate.replace_users({**USERS, "bob": User("bob", HASHED, GRANTS)})
    assert gate.renew(ann) is ann.principal and gate.renew(holder) is ANYONE

    wider = User("ann", HASHED, (Grant(ROOT, parse_rights("all")),))
    assert gate.replace_users({"ann": wider})
    renewed = gate.renew(ann)
    assert renewed is not None and renewed.grants == wider.grants
    assert not gate.replace_users({"ann": wider})  # nothing new

    # The same password, set again
    gate.replace_users({"ann": User("ann", hash_password("pw"), GRANTS)})
    assert gate.renew(ann) is None
    gate.replace_users({})
    assert gate.renew(ann) is None

    gate.replace_token("two")
    assert gate.renew(holder) is None
    gate.replace_token("")
    assert gate.renew(holder) is None and gate.check("", "") is None


def test_whoever_keeps_sessions_is_told_of_each_change() -> None:
    gate = Admission(token="one", users=USERS)
    told: list[None] = []
    gate.changed = lambda: told.append(None)
    gate.replace_users(USERS)
    gate.replace_token("one")
    assert told == []
    gate.replace_users({})
    gate.replace_token("two")
    assert len(told) == 2


def test_a_wrong_login_costs_the_same_whoever_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(password: str, hashed: str) -> bool:
        asked.append(hashed)
        return matches(password, hashed)

    monkeypatch.setattr(module, "matches", counted)
    cheap = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("pw")
    users = {"ann": HASHED, "bob": cheap, "eve": hash_password("other")}
    gate = Admission(users={name: User(name, hashed, GRANTS) for name, hashed in users.items()})
    costs = []
    for name in ("nobody", *users):
        asked.clear()
        assert gate.check(name, "wrong") is None
        assert [hashed for hashed in asked if hashed in users.values()] == [
            users[name] for _ in asked[:1] if name in users
        ]
        # The parameters: equal ones take equal time
        costs.append(sorted(hashed.split("$")[3] for hashed in asked))
    assert costs == [sorted({HASHED.split("$")[3], cheap.split("$")[3]})] * 4


def test_tokens_differ_and_need_no_quotes() -> None:
    one, other = make_token(), make_token()
    assert one != other and len(one) == 43
    assert one.replace("-", "").replace("_", "").isalnum()


def test_hashes() -> None:
    assert is_hash(HASHED) and is_hash(decoy_like(HASHED))
    assert not any(map(is_hash, ("", "pw", "$argon2id$", "$2b$12$" + "a" * 53)))
    assert not matches("pw", "no hash") and not matches("pw", decoy_like(HASHED))
