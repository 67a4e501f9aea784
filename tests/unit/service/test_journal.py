"""What a peer can have written is bounded, and what was left out is counted."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from ftransfer.service import journal as module
from ftransfer.service.audit import Audit
from ftransfer.service.journal import Journal, Journals, LineBound


class Counted(LineBound):
    """Keeps how many lines were left out, each time that it is said."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.said = asyncio.Event()

    def say_more(self, count: int) -> None:
        self.counts.append(count)
        self.said.set()


@pytest.fixture(autouse=True)
def _short_window(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "_WINDOW_S", 0.05)
    caplog.set_level(logging.INFO)


async def test_ten_lines_go_through_and_the_rest_is_counted_when_the_window_ends() -> None:
    bound = Counted()
    assert [bound.admits() for _ in range(25)] == [True] * 10 + [False] * 15
    await bound.said.wait()
    assert bound.counts == [15]
    assert bound.admits()


async def test_what_is_left_out_is_said_at_the_end_at_the_latest() -> None:
    bound = Counted()
    for _ in range(12):
        bound.admits()
    bound.flush()
    bound.flush()
    assert bound.counts == [2]


async def test_log_of_a_session_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal("a:1 #7", None)
    written = [journal.note("line %d", number) for number in range(500)]
    journal.flush()
    assert written == [True] * 10 + [False] * 490
    assert [record.getMessage() for record in caplog.records][-2:] == [
        "line 9",
        "a:1 #7: 490 more lines",
    ]


async def test_refusals_are_counted_in_the_record_and_what_was_done_stands_there_each_time(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit"
    audit = Audit.open(str(path), lambda: 0.0)
    journal = Journal("a:1 #7", audit)
    for number in range(50):
        journal.record("put", name=str(number), result="ok")
        journal.record("line", result="unknown_verb")
    journal.flush()
    audit.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(record["event"] == "put" for record in records) == 50
    assert sum(record["event"] == "line" for record in records) == 10
    (more,) = [record for record in records if record["event"] == "more"]
    assert more["records"] == 40 and more["about"] == "a:1 #7"


async def test_sources_are_bounded_each_for_itself_and_in_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journals = Journals(None)
    for number in range(20):
        journals.of("a").note("came %d", number)
    assert journals.of("b").note("came")
    for number in range(2000):
        journals.of(str(number))
    assert "a: 10 more lines" in caplog.text  # said when it had to be forgotten
    assert len(journals) <= 1024


async def test_sources_that_have_gone_are_forgotten() -> None:
    journals = Journals(None)
    for number in range(500):
        journals.of(str(number)).note("came")
    for number in range(20):
        journals.of("a").note("came %d", number)
    async with asyncio.timeout(10):
        while len(journals):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
    assert journals.of("a").note("came")
    journals.stop()
