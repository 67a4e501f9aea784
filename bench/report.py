"""Shows a run: a table on the terminal, and the generated part of docs/performance.md.

python -m bench.report RESULT.json [--docs docs/performance.md]
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.numbers import show, show_bytes, times_better
from bench.peers.all import PEERS, SYNCED_PEERS
from bench.results import Result, Row, Run, load
from bench.targets import OURS, TARGETS

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# The pictures that bench.charts draws, in their order.
_CAPTIONS = {
    "files": "One file of 1 GiB, either way, plain and encrypted",
    "trees": "Trees of small and of mixed files",
    "crowd": "Many clients at once",
    "link": "Over a long link, with loss",
}
Table = list[list[str]]


def result_table(result: Result) -> Table:
    """Return the table of one case, its header first; the first column is text."""
    head = [
        "",
        result.unit,
        "±",
        "ftransfer is",
        "client CPU s",
        "server CPU s",
        "client MiB",
        "server MiB",
    ]
    ours = result.row(OURS)
    return [head, *(_cells(result, row, ours) for row in result.rows if row.samples)]


def _cells(result: Result, row: Row, ours: Row | None) -> list[str]:
    unit = result.unit
    ratio = ""
    if ours is not None and row is not ours and ours.samples:
        ratio = f"{times_better(unit, ours.value(unit), row.value(unit)):.2f} ×"
    value = show(row.value(unit)) + (" (cut)" if row.was_cut else "")
    cpu = [f"{row.seconds(side):.2f}" for side in ("client", "server")]
    return [
        row.label,
        value,
        f"{row.spread(unit) * 100:.0f} %",
        ratio,
        *cpu,
        *(show_bytes(row.peak(side)) for side in ("client", "server")),
    ]


def target_table(run: Run) -> Table:
    rows = [["target", "wanted", "measured", ""]]
    for target in TARGETS:
        value = target.reached(run)
        sign = "≤" if target.at_most else "≥"
        verdict = (
            "not measured" if value is None else "met" if target.is_met(value) else "**not met**"
        )
        measured = "" if value is None else f"{show(value)} {target.unit}"
        rows.append([target.text, f"{sign} {target.bound:g} {target.unit}", measured, verdict])
    return rows


def peer_table() -> Table:
    head = ["", "verifies content", "encrypts", "syncs to disk", "appears under its name"]
    peers = [*PEERS, *SYNCED_PEERS]
    return [
        head,
        *(
            [
                peer.name,
                peer.about.verifies,
                peer.about.encrypts,
                peer.about.syncs,
                peer.about.publishes,
            ]
            for peer in peers
        ),
    ]


def as_text(table: Table) -> str:
    """Lay a table out for a terminal."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_markdown(table: Table, *, numbers: bool = True) -> str:
    align = ["---", *(("---:" if numbers else "---") for _ in table[0][1:])]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
        for row in [table[0], align, *table[1:]]
    )


def _remarks(result: Result) -> Iterator[str]:
    for name, value in result.facts.items():
        yield f"{name}: {show(value)}"
    for name, reason in result.missing.items():
        yield f"{'not measured' if name == 'all' else name}: {reason}"


def terminal_report(run: Run) -> str:
    parts = []
    for result in run.results:
        lines = [f"{result.title}  [{result.name}, {result.seconds:.0f} s]"]
        if result.rows:
            lines.append(as_text(result_table(result)))
        lines += [f"  {remark}" for remark in _remarks(result)]
        parts.append("\n".join(lines))
    measured = [row for row in target_table(run) if row[3] != "not measured"]
    parts.append(as_text(measured))
    return "\n\n".join(parts)


def markdown_report(run: Run, pictures: Sequence[str] = ()) -> str:
    """Return the generated part of the document; `pictures` are relative to it."""
    machine = "\n".join(f"- {name}: {value}" for name, value in run.machine.items())
    parts = [
        "### Machine",
        machine,
        *(f"![{_CAPTIONS[Path(name).stem]}]({name})" for name in pictures),
    ]
    parts += [
        "### Targets",
        as_markdown(target_table(run)),
        "### What each does besides moving bytes",
    ]
    parts += [as_markdown(peer_table(), numbers=False), "### All cases"]
    for result in run.results:
        parts.append(f"**{result.title}** (`{result.name}`)")
        if result.rows:
            parts.append(as_markdown(result_table(result)))
        remarks = [_list_item(remark) for remark in _remarks(result)]
        if remarks:
            parts.append("\n".join(remarks))
    return "\n\n".join(parts)


def _list_item(text: str) -> str:
    # An error message of a program may name temporary folders, which mean nothing to a reader.
    text = re.sub(r"/\S*ftransfer-bench-\w+", "…", " ".join(text.split()))
    return textwrap.fill(
        f"- {text}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def put_into(document: str, generated: str) -> str:
    """Replace what is between the markers.

    Raises:
        ValueError: The markers are not there.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the markers {BEGIN} and {END} are not both there")
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def pictures_beside(document: Path) -> list[str]:
    """Return the pictures in the folder img beside a document."""
    return [
        f"img/{name}.svg"
        for name in _CAPTIONS
        if (document.parent / "img" / f"{name}.svg").exists()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="bench.report", description="Show a result of the benchmark."
    )
    parser.add_argument("result", type=Path)
    parser.add_argument(
        "--docs", type=Path, help="write the tables into this document, between its markers"
    )
    options = parser.parse_args(arguments)
    run = load(options.result)
    sys.stdout.write(terminal_report(run) + "\n")
    if options.docs:
        options.docs.write_text(
            put_into(options.docs.read_text(), markdown_report(run, pictures_beside(options.docs)))
        )


if __name__ == "__main__":
    main()
