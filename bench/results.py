"""What a run has found, and its form as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Sample
from bench.numbers import median, spread, value_of


@dataclass(slots=True)
class Row:
    """One contestant of one case; the dropped round is not among its samples."""

    label: str
    work: float
    samples: list[Sample] = field(default_factory=list)

    def value(self, unit: str) -> float:
        return median(
            [value_of(unit, self._work_of(sample), sample.wall_s) for sample in self.samples]
        )

    def spread(self, unit: str) -> float:
        return spread(
            [value_of(unit, self._work_of(sample), sample.wall_s) for sample in self.samples]
        )

    def _work_of(self, sample: Sample) -> float:
        # A run that was cut has done as much as was counted, not all.
        return float(sample.told["work"]) if sample.was_cut and "work" in sample.told else self.work

    @property
    def was_cut(self) -> bool:
        return any(sample.was_cut for sample in self.samples)

    def seconds(self, side: str) -> float:
        return median([getattr(sample, f"{side}_cpu_s") for sample in self.samples])

    def peak(self, side: str) -> int | None:
        peaks = [
            peak
            for sample in self.samples
            if (peak := getattr(sample, f"{side}_peak_bytes")) is not None
        ]
        return max(peaks) if peaks else None


@dataclass(slots=True)
class Result:
    """One case."""

    name: str
    title: str
    unit: str
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # label -> why it is not among the rows
    facts: dict[str, float] = field(default_factory=dict)  # what was measured besides
    seconds: float = 0.0  # how long the case took

    def row(self, label: str) -> Row | None:
        return next((row for row in self.rows if row.label == label), None)


@dataclass(slots=True)
class Run:
    """Everything that one call of the benchmark has measured, and where."""

    machine: dict[str, str]
    results: list[Result] = field(default_factory=list)

    def result(self, name: str) -> Result | None:
        return next((result for result in self.results if result.name == name), None)

    def replace(self, result: Result) -> None:
        """Put a result in, in the place of an older one of the same case."""
        names = [old.name for old in self.results]
        if result.name in names:
            self.results[names.index(result.name)] = result
        else:
            self.results.append(result)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Run:
    """Read what `save` has written.

    Raises:
        OSError, ValueError, TypeError, KeyError: It is not such a file.
    """
    found: dict[str, Any] = json.loads(path.read_text())
    return Run(found["machine"], [_result(item) for item in found["results"]])


def _result(item: dict[str, Any]) -> Result:
    rows = [
        Row(row["label"], row["work"], [Sample(**sample) for sample in row["samples"]])
        for row in item["rows"]
    ]
    return Result(**{**item, "rows": rows})
