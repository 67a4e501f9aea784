"""What the matrix counts: one Tally for each case, and the table that they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

COLUMNS = (
    "case",
    "attempts",
    "noticed, or failed cleanly",
    "completed on repetition",
    "wrong files",
    "lost acknowledgements",
)
_MAX_COMPLAINTS = 20


@dataclass(slots=True)
class Tally:
    """One case: how often it was tried, and what became of it.

    `noticed`: the command ended in an error of ours, or was seen to be cut and went on by itself.
    `completed`: given again it completed, and everything was as it should be. `looked_at`:
    acknowledged files that were looked for after a power cut. `complaints` say how to find what is
    wrong: the first few, in words.
    """

    case: str
    attempts: int = 0
    noticed: int = 0
    completed: int = 0
    wrong: int = 0
    lost: int = 0
    looked_at: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, text: str) -> None:
        if len(self.complaints) < _MAX_COMPLAINTS:
            self.complaints.append(f"{self.case}: {text}")

    def add(self, other: Tally) -> None:
        """Count in what another worker has found for the same case."""
        self.attempts += other.attempts
        self.noticed += other.noticed
        self.completed += other.completed
        self.wrong += other.wrong
        self.lost += other.lost
        self.looked_at += other.looked_at
        for text in other.complaints:
            self.complain(text.removeprefix(f"{self.case}: "))

    @property
    def is_good(self) -> bool:
        """Return whether nothing is wrong or lost, and every repeated command completed."""
        return not (self.wrong or self.lost or self.complaints) and self.completed == self.attempts


@dataclass(slots=True)
class Skipped:
    """A case that cannot be tried here, and why."""

    case: str
    why: str


Row = Tally | Skipped


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each case, in the order in which the cases come first."""
    found: dict[str, Row] = {}
    for row in rows:
        there = found.setdefault(row.case, row)
        if there is not row and isinstance(there, Tally) and isinstance(row, Tally):
            there.add(row)
    return list(found.values())


def render(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * (len(COLUMNS) - 1)}"]
    for row in rows:
        if isinstance(row, Skipped):
            lines.append(f"| {row.case} | skipped: {row.why} |{' |' * (len(COLUMNS) - 2)}")
            continue
        counts = (row.attempts, row.noticed, row.completed, row.wrong, row.lost)
        lines.append(f"| {row.case} | {' | '.join(map(str, counts))} |")
    tallies = [row for row in rows if isinstance(row, Tally)]
    totals = [
        sum(getattr(row, key) for row in tallies)
        for key in ("attempts", "noticed", "completed", "wrong", "lost")
    ]
    lines.append(f"| **all** | {' | '.join(f'**{total}**' for total in totals)} |")
    return "\n".join(lines) + "\n"
