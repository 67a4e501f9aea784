"""Draw a run as PNG and SVG: `python -m bench.charts RESULT.json docs/img`.

Needs matplotlib (the extra `bench`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.numbers import show
from bench.results import Result, Row, Run, load

_OURS, _THEIRS, _YARDSTICK = "#1f6feb", "#9aa4af", "#d9dee3"
_YARDSTICKS = (
    "cp (no network)",
    "bare loop",
    "bare loop, BLAKE3",
    "cp, then sync",
    "ls -l (no network)",
)
# name of the picture -> its panels
PICTURES = {
    "files": ("get-plain-tmpfs", "put-plain-tmpfs", "get-tls-tmpfs", "put-tls-tmpfs"),
    "trees": ("get-small-tree", "put-small-tree", "get-mixed-tree", "put-mixed-tree"),
    "crowd": ("crowd-1", "crowd-10", "crowd-100"),
}
_LINK = ("0", "0.1", "1")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="bench.charts", description="Draw a result of the benchmark."
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    draw(load(options.result), options.folder)


def draw(run: Run, folder: Path) -> list[Path]:
    """Draw all pictures for which the run has cases; return the files."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "ftransfer"  # the same input gives the same file
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, cases in PICTURES.items():
        results = [
            result for case in cases if (result := run.result(case)) is not None and result.rows
        ]
        if results:
            made += _save(_bars(results), folder / name)
    if any(result.name.startswith("link-") and result.rows for result in run.results):
        made += _save(_link(run), folder / "link")
    return made


def _save(figure: Any, path: Path) -> list[Path]:
    import matplotlib.pyplot as plt

    files = [path.with_suffix(f".{kind}") for kind in ("png", "svg")]
    figure.savefig(files[0], dpi=130)
    figure.savefig(files[1], metadata={"Date": None})
    plt.close(figure)
    return files


def _bars(results: Sequence[Result]) -> Any:
    """One panel for each case, the fastest on top."""
    import matplotlib.pyplot as plt

    columns = 2 if len(results) > 1 else 1
    lines = -(-len(results) // columns)
    tallest = max(len(result.rows) for result in results)
    figure, axes = plt.subplots(
        lines, columns, figsize=(5.6 * columns, (0.27 * tallest + 0.9) * lines), squeeze=False
    )
    for axis in axes.flat[len(results) :]:
        axis.axis("off")
    for axis, result in zip(axes.flat, results, strict=False):
        _panel(axis, result)
    figure.tight_layout()
    return figure


def _panel(axis: Any, result: Result) -> None:
    rows = sorted(
        (row for row in result.rows if row.samples), key=lambda row: row.value(result.unit)
    )
    values = [row.value(result.unit) for row in rows]
    errors = [value * row.spread(result.unit) for value, row in zip(values, rows, strict=True)]
    axis.barh(
        [row.label for row in rows],
        values,
        xerr=errors,
        color=[_colour(row) for row in rows],
        ecolor="#57606a",
        height=0.72,
    )
    for place, value in enumerate(values):
        axis.annotate(
            show(value),
            (0, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="#1c2128",
        )
    axis.set_title(f"{result.title}\n{result.unit}, more is better", fontsize=8)
    _tidy(axis)


def _link(run: Run) -> Any:
    """Rate over loss, one panel for each congestion control and each kind of work."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3))
    panels = [(kind, control) for kind in ("file", "tree") for control in ("cubic", "bbr")]
    for axis, (kind, control) in zip(axes, panels, strict=True):
        found = {loss: run.result(f"link-{control}-{loss}-{kind}") for loss in _LINK}
        labels = {row.label: None for result in found.values() if result for row in result.rows}
        for place, label in enumerate(labels):
            bars = [
                (x, row.value(result.unit))
                for x, result in enumerate(found.values())
                if result and (row := result.row(label))
            ]
            offsets = [x + (place - (len(labels) - 1) / 2) * 0.26 for x, _ in bars]
            shade = _OURS if label == "ftransfer" else ("#9aa4af", "#c4ccd4")[place % 2]
            axis.bar(offsets, [value for _, value in bars], 0.24, label=label, color=shade)
        axis.set_xticks(range(len(_LINK)), [f"{loss} %" for loss in _LINK])
        axis.set_title(
            f"{'Mbit/s, one file' if kind == 'file' else 'files/s, small tree'}, {control}, by"
            " loss",
            fontsize=8,
        )
        if labels:
            axis.legend(fontsize=6, frameon=False)
        _tidy(axis)
    figure.tight_layout()
    return figure


def _colour(row: Row) -> str:
    ours = row.label.startswith("ftransfer")
    return _OURS if ours else _YARDSTICK if row.label in _YARDSTICKS else _THEIRS


def _tidy(axis: Any) -> None:
    axis.tick_params(labelsize=7)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


if __name__ == "__main__":
    main()
