"""The audit file: one record a line whatever the name, rotation, and a disk that is full."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.service.audit import Audit


@pytest.fixture(name="audit")
def open_audit(tmp_path: Path) -> Iterator[Audit]:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 1_700_000_000.25)
    yield audit
    audit.close()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_record_is_one_json_object_with_its_time(audit: Audit, tmp_path: Path) -> None:
    audit.record("get", user="ann", session=7, name="a b.txt", bytes=5, digest=None)
    assert audit.flush(5)
    assert records(tmp_path / "audit.log") == [
        {
            "time": "2023-11-14T22:13:20.250Z",
            "event": "get",
            "user": "ann",
            "session": 7,
            "name": "a b.txt",
            "bytes": 5,
        }
    ]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    [
        'x"}\n{"event":"login","user":"root"}',
        "a\r\nb",
        "\u2028\u2029\x85",
        "\udcff\udc80",
        "\0\x1b[2J",
        "射频",
    ],
)
def test_name_cannot_forge_a_line(audit: Audit, tmp_path: Path, name: str) -> None:
    audit.record("put", name=name)
    audit.close()
    raw = (tmp_path / "audit.log").read_bytes()
    assert raw.isascii() and len(raw.splitlines()) == 1 and len(raw.decode().splitlines()) == 1
    assert json.loads(raw)["name"] == name


def test_rotated_file_is_left_and_a_new_one_begun(audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit.record("one")
    assert audit.flush(5)
    path.rename(tmp_path / "audit.1")
    audit.record("two")
    audit.reopen()
    audit.record("three")
    assert audit.flush(5)
    assert [record["event"] for record in records(tmp_path / "audit.1")] == ["one", "two"]
    assert [record["event"] for record in records(path)] == ["three"]


def test_file_is_added_to_and_never_emptied(tmp_path: Path) -> None:
    for event in ("one", "two"):
        audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
        audit.record(event)
        audit.close()
        audit.close()
    assert [record["event"] for record in records(tmp_path / "audit.log")] == ["one", "two"]


def test_full_disk_is_logged_once_and_the_loss_is_counted(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    link = tmp_path / "audit.log"
    link.symlink_to("/dev/full")
    audit = Audit.open(str(link), lambda: 0.0)
    try:
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                audit.record("put")
                assert audit.flush(5)
        assert len(caplog.records) == 1 and "No space left" in caplog.text
        link.unlink()
        audit.reopen()
        audit.record("get")
        assert audit.flush(5)
        assert records(link) == [
            {"event": "lost", "records": 3},
            {"time": "1970-01-01T00:00:00.000Z", "event": "get"},
        ]
    finally:
        audit.close()


def test_file_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Audit.open(str(tmp_path / "none" / "audit.log"), lambda: 0.0)


def test_reopening_where_nothing_can_be_made_goes_on_with_the_old_file(
    audit: Audit, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    os.rename(tmp_path / "audit.log", moved)
    (tmp_path / "audit.log").mkdir()
    audit.reopen()
    audit.record("get")
    assert audit.flush(5)
    assert [record["event"] for record in records(moved)] == ["get"]
