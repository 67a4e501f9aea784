"""The benchmark at a tiny size: it measures, verifies, and saves its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import load
from bench.run import find_places, main

MEMORY = Path("/dev/shm")


@pytest.mark.skipif(
    "tmpfs" not in find_places(MEMORY, MEMORY), reason="there is no tmpfs at /dev/shm"
)
def test_a_tiny_run_measures_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    words = [
        "--only",
        "put-plain-tmpfs",
        "--peers",
        "ftransfer",
        "bare loop*",
        "--scale",
        "0.001",
        "--rounds",
        "1",
    ]
    assert main([*words, "--result", str(result)]) == 0
    (found,) = load(result).results
    assert [row.label for row in found.rows] == ["ftransfer", "bare loop", "bare loop, BLAKE3"]
    assert found.missing == {} and all(
        len(row.samples) == 1 and row.value("GB/s") > 0 for row in found.rows
    )
    shown = capsys.readouterr().out
    assert "1 GiB put, plain, tmpfs" in shown and "bare loop, BLAKE3" in shown


def test_an_unknown_case_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no-such-case"]) == 2
    assert "--list" in capsys.readouterr().err
