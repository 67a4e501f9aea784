"""The table and how it came about, put between the markers of docs/reliability.md."""

from __future__ import annotations

import os
import platform
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fault.matrix.table import Row, Tally, render

BEGIN = "<!-- begin of the table: written by make faults -->"
END = "<!-- end of the table -->"


def account(rows: Sequence[Row], seed: int, seconds: float, *, short: bool) -> str:
    """Return the table with the seed, the counts and the notes for single rows."""
    tallies = [row for row in rows if isinstance(row, Tally)]
    looked_at = sum(row.looked_at for row in tallies)
    form = "short" if short else "long"
    lines = [
        textwrap.fill(
            f"The {form} form with seed {seed}, {time.strftime('%Y-%m-%d', time.gmtime())}:"
            f" {sum(row.attempts for row in tallies)} attempts in {seconds / 60:.0f} minutes, on"
            f" {platform.system()} with {os.cpu_count()} processors and Python"
            f" {platform.python_version()}.",
            100,
        ),
        "",
        render(rows),
        f"After the power cuts {looked_at} acknowledged files were looked for.",
    ]
    return "\n".join(lines)


def write_account(document: Path, text: str) -> None:
    """Replace what stands between the markers.

    Raises:
        ValueError: The document has no markers.
    """
    whole = document.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no markers for the table")
    new = document.with_name(f"{document.name}.new")
    new.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    new.replace(document)
