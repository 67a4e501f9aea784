"""Tables, targets and the generated part of the document."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure import Sample
from bench.report import (
    BEGIN,
    END,
    as_markdown,
    as_text,
    markdown_report,
    pictures_beside,
    put_into,
    result_table,
    target_table,
    terminal_report,
)
from bench.results import Result, Row, Run, load
from bench.run import CASES
from bench.targets import TARGETS

MIB = 1 << 20


def row(label: str, *walls: float, work: float = 1e9, peak: int | None = 30 * MIB) -> Row:
    return Row(label, work, [Sample(wall_s, 0.5, 0.25, peak, peak) for wall_s in walls])


@pytest.fixture
def run() -> Run:
    get = Result(
        "get-plain-tmpfs",
        "1 GiB get",
        "GB/s",
        [row("ftransfer", 0.5, 0.4, 0.625), row("nginx + curl", 1.0)],
    )
    get.missing["vsftpd + curl"] = "not installed: vsftpd"
    process = Result(
        "process",
        "a process",
        "ms",
        [row("ftransfer", 0.1), row('python -c "import asyncio, typer, aiofiles"', 0.08)],
    )
    idle = Result(
        "idle-1000",
        "idle",
        "GB/s",
        [row("alone", 1.0), row("beside idle sessions", 1.25)],
        facts={"KiB a session": 12.5},
    )
    return Run({"kernel": "Linux 6"}, [get, process, idle])


def test_table_has_the_median_the_spread_and_the_ratio(run: Run) -> None:
    _, ours, theirs = result_table(run.results[0])
    assert ours == ["ftransfer", "2.00", "22 %", "", "0.50", "0.25", "30", "30"]
    assert theirs[:4] == ["nginx + curl", "1.00", "0 %", "2.00 ×"]


def test_ratio_of_times_is_above_one_when_ours_is_shorter(run: Run) -> None:
    assert result_table(run.results[1])[2][3] == "0.80 ×"


def test_targets_say_whether_they_are_met(run: Run) -> None:
    rows = {text: cells for text, *cells in target_table(run)[1:] if cells[2] != "not measured"}
    assert rows["1 GiB get, plain, tmpfs, against nginx + curl"] == ["≥ 1.2 ×", "2.00 ×", "met"]
    assert rows["beside 1000 idle sessions, against alone"] == ["≥ 0.95 ×", "0.80 ×", "**not met**"]
    assert rows["1000 idle sessions, memory of each"] == ["≤ 40 KiB", "12.5 KiB", "met"]
    assert [cells[1:] for text, cells in rows.items() if text.startswith("whole process")] == [
        ["1.25 ×", "met"]
    ]


def test_every_target_names_a_case_that_there_is() -> None:
    assert {target.case for target in TARGETS} <= {case.name for case in CASES}


def test_names_of_cases_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


def test_a_run_survives_its_file(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "results" / "a.json")
    assert load(tmp_path / "results" / "a.json") == run


def test_a_newer_result_takes_the_place_of_an_older_one(run: Run) -> None:
    run.replace(Result("process", "again", "ms"))
    assert [result.title for result in run.results] == ["1 GiB get", "again", "idle"]


def test_what_is_missing_is_named_with_its_reason(run: Run) -> None:
    assert "vsftpd + curl: not installed: vsftpd" in terminal_report(run)
    assert "- vsftpd + curl: not installed: vsftpd" in markdown_report(run)


def test_document_keeps_all_but_what_is_between_the_markers() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert put_into(document, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="markers"):
        put_into("no markers", "new")


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert as_markdown([["a", "b"], ["x|y", "1"]]).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
    ]


def test_text_table_has_columns_of_one_width() -> None:
    assert as_text([["", "GB/s"], ["longer", "1"]]).splitlines() == ["        GB/s", "longer     1"]


def test_a_run_that_was_cut_is_rated_by_what_it_did() -> None:
    cut = Row("slow", 100.0, [Sample(10.0, 0, 0, None, None, {"work": 40.0}, was_cut=True)])
    assert cut.value("files/s") == 4.0
    assert result_table(Result("x", "x", "files/s", [cut]))[1][1] == "4.00 (cut)"


def test_the_committed_document_has_both_markers() -> None:
    document = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert document.count(BEGIN) == document.count(END) == 1


def test_pictures_that_are_there_are_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "trees.svg").touch()
    pictures = pictures_beside(tmp_path / "performance.md")
    assert pictures == ["img/trees.svg"]
    assert "![Trees of small and of mixed files](img/trees.svg)" in markdown_report(run, pictures)
