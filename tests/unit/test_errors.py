"""The exceptions and their codes: one table, both ways."""

from __future__ import annotations

import pickle

import pytest

from ftransfer import errors
from ftransfer.errors import (
    CLASS_OF_CODE,
    DigestMismatch,
    FtransferError,
    LocalProtocolError,
    NotFound,
    ProtocolError,
    RequestError,
    ShareError,
    Truncated,
    from_wire,
)
from ftransfer.names import ROOT

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, FtransferError)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_has_a_docstring_and_travels_by_its_code(cls: type[FtransferError]) -> None:
    assert cls.__doc__
    back = from_wire(cls.code, "a: message", "a")
    assert type(back) is CLASS_OF_CODE[cls.code]
    assert issubclass(cls, type(back))
    assert (str(back), back.message, back.name) == ("a: message", "a: message", "a")


def test_codes_are_unique_words() -> None:
    own = [cls.code for cls in CLASSES if "code" in vars(cls)]
    assert len(own) == len(set(own)) == len(CLASS_OF_CODE)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in own)


def test_class_without_code_travels_as_its_parent() -> None:
    assert type(from_wire(LocalProtocolError("x").code, "x", "")) is ProtocolError


def test_unknown_code_is_a_request_error_that_keeps_it() -> None:
    error = from_wire("from_the_future", "a: what", "a")
    assert type(error) is RequestError
    assert (error.code, str(error), error.name) == ("from_the_future", "a: what", "a")
    assert RequestError.code == "request"


def test_fields_are_kept() -> None:
    truncated = Truncated("short", name="a", expected=2, actual=1)
    assert (truncated.name, truncated.expected, truncated.actual) == ("a", 2, 1)
    mismatch = DigestMismatch("bad", name="a", expected="x", actual="y")
    assert (mismatch.name, mismatch.expected, mismatch.actual) == ("a", "x", "y")
    assert NotFound("gone").name == ""


def test_tree_is_caught_by_family() -> None:
    with pytest.raises(ShareError):
        raise NotFound("gone")
    assert str(pickle.loads(pickle.dumps(NotFound("gone", name="a")))) == "gone"


def test_module_docstring_draws_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [cls.__name__ for cls in CLASSES if cls.__name__ not in drawn] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("a/b", "a/b: is gone"), ("a/\x1b[2J", r"a/\x1b[2J: is gone"), (ROOT, "/: is gone")],
)
def test_an_error_about_a_name_says_it_safely_at_its_head(name: object, message: str) -> None:
    error = NotFound.about(name, "is gone")
    assert (type(error), str(error), error.name) == (NotFound, message, str(name))


def test_an_error_about_a_name_keeps_its_fields() -> None:
    truncated = Truncated.about("a", "is short", expected=3, actual=2)
    assert (truncated.expected, truncated.actual) == (3, 2)
    mismatch = DigestMismatch.about("a", "is other", expected="x", actual="y")
    assert (mismatch.expected, mismatch.actual, mismatch.kept) == ("x", "y", 0)
