from __future__ import annotations

import json

import pytest

from ftransfer import errors
from ftransfer.cli.output import entries_text, exit_code, receipt_text
from ftransfer.errors import FtransferError
from ftransfer.shell.errors import Interrupted, ScriptFailed, WrongUsage
from ftransfer.storage.base import Entry
from ftransfer.transfer.records import Receipt


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), 1),
        (errors.NameRefused("x"), 1),
        (errors.ReadOnly("x"), 1),
        (errors.Truncated("x"), 1),
        (errors.Busy("x"), 1),
        (errors.CannotListen("x"), 1),
        (WrongUsage("x"), 2),
        (errors.CannotConnect("x"), 3),
        (errors.Closed("x"), 3),
        (errors.TimedOut("x"), 3),
        (errors.RemoteProtocolError("x"), 3),
        (errors.ServerStopping("x"), 3),
        (errors.DigestMismatch("x"), 4),
        (errors.NotAuthorised("x"), 5),
        (errors.NotTrusted("x"), 5),
        (Interrupted("x"), 130),
        (PermissionError("x"), 1),
        (ValueError("x"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_of_each_error(error: Exception, code: int) -> None:
    assert exit_code(error) == code
    assert exit_code(ScriptFailed(1, error)) == code


ENTRIES = [
    Entry("a\x1b\udcff", "file", 3, 5, 0o644),
    Entry("folder", "dir", 0, 5, 0o755),
    Entry("link", "link", 0, 5, 0o777, target="a"),
]


def test_json_of_entries_is_raw_and_ascii() -> None:
    text = entries_text(ENTRIES, as_json=True)
    assert text.isascii()
    assert [json.loads(line) for line in text.splitlines()] == [
        {"name": "a\x1b\udcff", "kind": "file", "size": 3, "mtime_ns": 5, "mode": 0o644},
        {"name": "folder", "kind": "dir", "mtime_ns": 5, "mode": 0o755},
        {"name": "link", "kind": "link", "mtime_ns": 5, "mode": 0o777, "target": "a"},
    ]


def test_text_of_entries_is_escaped_and_aligned() -> None:
    lines = entries_text(ENTRIES, as_json=False).splitlines()
    assert [line[37:] for line in lines] == [r"a\x1b\xff", "folder", "link -> a"]


def test_json_of_a_receipt() -> None:
    receipt = Receipt("a", 1, "d" * 64, 5, path="/tmp/a")
    record = json.loads(receipt_text(receipt, "get", as_json=True))
    assert (
        record["name"] == "a"
        and record["size"] == 1
        and record["digest"] == "d" * 64
        and record["mtime_ns"] == 5
    )
    assert record["durable"] is True and record["path"] == "/tmp/a"


def test_errors_are_of_one_tree() -> None:
    assert issubclass(WrongUsage, FtransferError) and issubclass(ScriptFailed, FtransferError)
