"""The short form of the fault matrix, part by part, and whether the matrix notices faults.

`make faults` runs the long form.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from tests.fault.matrix.cancels import Cancelled
from tests.fault.matrix.content import ABSENT, Ledger
from tests.fault.matrix.document import BEGIN, END, write_account
from tests.fault.matrix.table import Row, Skipped, Tally, merged, render
from tests.fault.matrix.wire import parse_client, parse_server
from tests.support.service import frame

_PARTS = (
    "kills: server",
    "kills: client",
    "cuts",
    "stalls",
    "slow",
    "flips",
    "calls",
    "commands",
    "sessions",
)
_ROOT = Path(__file__).parents[2]


def run_part(part: str) -> str:
    """Run one part from a seed of its own; return its table. A failure quotes what is wrong."""
    command = [
        sys.executable,
        "-m",
        "tests.fault.matrix",
        "--short",
        "--workers",
        "2",
        "--only",
        part,
    ]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(100)  # processes of their own, which a busy machine starts slowly
@pytest.mark.parametrize("part", _PARTS)
def test_part(part: str) -> None:
    assert "| 0 | 0 |" in run_part(part)


@pytest.mark.root
@pytest.mark.timeout(100)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut(kind: str) -> None:
    table = run_part(f"power: {kind}")
    if "skipped: " in table:
        pytest.skip(table.split("skipped: ")[1].split(" |")[0])
    assert f"| power cut on {kind} | 1 |" in table


# The matrix itself.


def ledger(folder: Path) -> Ledger:
    """A file `a` that is to become new, and one `b` that stays."""
    made = Ledger(folder)
    made.put("a", b"old")
    made.put("sub/b", b"stays")
    made.expect("a", digest_of(b"new"))
    return made


def test_old_and_new_content_are_right_until_the_new_is_acknowledged(tmp_path: Path) -> None:
    made = ledger(tmp_path)
    assert (made.faults().wrong, made.faults().lost) == ([], [])
    assert made.faults([("a", digest_of(b"new"))]).lost == ["a was acknowledged"]
    assert made.unfinished() == ["a is not right in the end"]
    (tmp_path / "a").write_bytes(b"new")
    assert (
        made.faults([("a", digest_of(b"new"))]).lost,
        made.faults().wrong,
        made.unfinished(),
    ) == ([], [], [])


@pytest.mark.parametrize("data", [b"ne", b"newold", b""])
def test_any_other_content_is_wrong(tmp_path: Path, data: bytes) -> None:
    made = ledger(tmp_path)
    (tmp_path / "a").write_bytes(data)
    assert len(made.faults().wrong) == 1


def test_file_that_goes_is_wrong_unless_it_was_to_go(tmp_path: Path) -> None:
    made = ledger(tmp_path)
    (tmp_path / "sub/b").unlink()
    assert made.faults().wrong == ["sub/b holds nothing"]
    made.expect("sub/b", ABSENT)
    assert made.faults().wrong == []


def test_name_that_goes_while_it_is_looked_at_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nowhere")  # listed, and not to be opened
    assert Ledger(tmp_path).found() == {}


@pytest.mark.parametrize("content", [b"new", b"made up"])
def test_any_content_under_a_name_that_nobody_meant_is_wrong(
    tmp_path: Path, content: bytes
) -> None:
    made = ledger(tmp_path)
    (tmp_path / "c").write_bytes(content)
    assert len(made.faults().wrong) == 1


def test_what_is_left_in_a_hidden_place_is_seen(tmp_path: Path) -> None:
    made = ledger(tmp_path)
    (tmp_path / "sub/.ftransfer/temp").mkdir(parents=True)
    assert [what for what in made.unfinished() if "left behind" in what] == [
        "sub/.ftransfer was left behind",
        "sub/.ftransfer/temp was left behind",
    ]


def test_rows_of_one_case_are_added_up_and_rendered() -> None:
    rows: list[Row] = [
        Tally("a", 2, 1, 2),
        Skipped("b", "no disk"),
        Tally("a", 3, 1, 2, complaints=["a: odd"]),
    ]
    (first, second) = merged(rows)
    assert isinstance(first, Tally) and not first.is_good
    assert (first.attempts, first.completed, first.complaints) == (5, 4, ["a: odd"])
    table = render([first, second])
    assert "| a | 5 | 2 | 4 | 0 | 0 |" in table and "skipped: no disk" in table


def test_table_is_put_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_account(document, "new")
    assert document.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_boundaries_and_content_of_a_conversation() -> None:
    down = parse_server(frame(b"H", b"{}") + frame(b"D", b"abc"))
    assert (down.ends, down.content) == ((5, 7, 12, 15), (range(12, 15),))
    assert down.control == list(range(12))
    up = parse_client(b"dir\nput x\n" + frame(b"D", b"ab") + frame(b"E", b"{}") + b"close\n")
    assert (up.ends, up.content) == ((4, 10, 15, 17, 22, 24, 30), (range(15, 17),))


async def test_cancelled_cancels_at_the_await_that_was_named() -> None:
    passed = []

    async def work() -> None:
        for number in range(3):
            await asyncio.sleep(0)
            passed.append(number)

    async def run() -> None:
        await Cancelled(work(), 2)

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    assert task.cancelled() and passed == [0]
