from __future__ import annotations

import errno

import pytest

from ftransfer.client.trees.report import TreeReport
from ftransfer.errors import CannotConnect, NotFound, ReadOnly, StoreFailed
from ftransfer.shell.formatting import (
    entry_line,
    explain,
    human_seconds,
    moment,
    printable,
    receipt_line,
    tree_line,
)
from ftransfer.storage.base import Entry
from ftransfer.transfer.records import Receipt

MTIME_NS = 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.004, "0.00 s"),
        (0.99, "0.99 s"),
        (3.44, "3.4 s"),
        (59.96, "1 min 00 s"),
        (3725.0, "1 h 02 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize("mtime_ns", [0, MTIME_NS, -1, 2**63 - 1, 10**30, -(10**30)])
def test_moment_has_a_fixed_width(mtime_ns: int) -> None:
    assert len(moment(mtime_ns)) >= 16


def test_time_that_no_calendar_has() -> None:
    assert moment(10**40) == "????-??-?? ??:??"


def test_listing_line_has_fixed_columns() -> None:
    file = entry_line(Entry("photos/a.jpg", "file", 1234, MTIME_NS, 0o644))
    folder = entry_line(Entry("photos", "dir", 0, MTIME_NS, 0o755))
    assert file.index("photos") == folder.index("photos")
    assert file.split()[:2] == ["file", "1234"] and folder.split()[:2] == ["dir", "-"]


def test_names_in_listings_are_escaped() -> None:
    line = entry_line(Entry("x\x1b[2J\n", "file", 1, MTIME_NS, 0o644))
    assert line.endswith(r"x\x1b[2J\n") and line.isprintable()


def receipt(**values: object) -> Receipt:
    given = {"name": "a.txt", "size": 2_000_000, "digest": "d", "mtime_ns": MTIME_NS, **values}
    return Receipt(**given)  # type: ignore[arg-type]  # one type for all values


@pytest.mark.parametrize(
    ("done", "verb", "path", "text"),
    [
        (receipt(seconds=0.1), "get", "a.txt", "received a.txt: 2.0 MB in 0.10 s, verified"),
        (receipt(seconds=0.1), "get", "./a.txt", "received a.txt: 2.0 MB in 0.10 s, verified"),
        (
            receipt(seconds=2.0),
            "get",
            "/tmp/b",
            "received a.txt as /tmp/b: 2.0 MB in 2.0 s, 1.0 MB/s, verified",
        ),
        (receipt(seconds=0.1), "put", "b", "stored b as a.txt: 2.0 MB in 0.10 s, verified"),
        (receipt(seconds=0.1), "put", "", "stored a.txt: 2.0 MB in 0.10 s, verified"),
        (
            receipt(seconds=1.0, kept=1_500_000),
            "put",
            "a.txt",
            (
                "stored a.txt: 2.0 MB in 1.0 s, 500 kB/s, 1.5 MB resumed from an earlier attempt,"
                " verified"
            ),
        ),
        (
            receipt(restarted=True),
            "put",
            "a.txt",
            (
                "stored a.txt: 2.0 MB in 0.00 s, restarted, because the partial file of an earlier"
                " attempt did not match, verified"
            ),
        ),
        (
            receipt(durable=False),
            "put",
            "a.txt",
            "stored a.txt: 2.0 MB in 0.00 s, verified (not synced)",
        ),
    ],
)
def test_receipts(done: Receipt, verb: str, path: str, text: str) -> None:
    assert receipt_line(done, verb, path) == text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NotFound("a b: no such file", name="a b"), "a b: no such file; dir lists what is there"),
        (NotFound("no such file", name="a b"), "a b: no such file; dir lists what is there"),
        (ReadOnly("x: this share is read-only", name="x"), "x: this share is read-only"),
        (
            CannotConnect("h:1 does not answer"),
            "h:1 does not answer; check host and port, and that ftransfer serve is running",
        ),
        (CannotConnect("h:1 refuses; is it that port?"), "h:1 refuses; is it that port?"),
        (StoreFailed("evil\x1b[2J\nsecond line"), r"evil\x1b[2J second line"),
        (StoreFailed(""), "StoreFailed"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x\x1b"),
            r"/x\x1b: Permission denied",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (
            KeyError("x"),
            "KeyError: 'x'; this is a bug; set FTRANSFER_DEBUG=1 for details",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_is_one_line(error: Exception, line: str) -> None:
    assert explain(error) == line


def test_very_long_name_is_cut() -> None:
    assert len(explain(NotFound("no such file", name="x" * 4000))) < 300


def test_printable_keeps_what_is_escaped_already() -> None:
    assert printable(r"a\x1bb") == r"a\x1bb"
    assert printable("a\x1bb\u202e") == r"a\x1bb\u202e"


def test_tree_of_which_nothing_differs_says_so() -> None:
    assert tree_line(TreeReport(unchanged=12), "get") == "nothing to receive: 12 names up to date"
    assert tree_line(TreeReport(unchanged=12, removed=1), "put").startswith(
        "stored 0 files, 0 B, 1 removed, 12 unchanged"
    )
