"""Show where a transfer spends its time on both sides: perf samples by kind of work.

    python -m bench.profile get            # or put
    python -m bench.profile put --tls --disk --mib 1024
    python -m bench.profile get --tree small   # or --tree mixed

Needs perf (Debian: linux-perf) and the right to use it. Two transfers are made, and the second is
recorded. Waiting is what is left of the client's lifetime.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arena import Arena, Entrant
from bench.cases.base import Bench
from bench.cases.trees import mixed_tree, small_tree
from bench.data import MIB, make_file, make_tree, warm_up
from bench.measure import Command
from bench.peers.ftransfer import Ftransfer
from bench.verify import check_file, check_tree

_HERTZ = 4000
_RECORD = ("perf", "record", "-q", "-g", "-F", str(_HERTZ))
# A server learns the digest of a file only if that is older than this when it is read.
_SETTLED_S = 2.6
# What a stack has in it, from the left of the table to its right: the first that is found says what
# the work is.
_KINDS = (
    ("BLAKE3", r"blake3"),
    ("page faults", r"exc_page_fault"),
    ("socket: receive", r"tcp_recvmsg|sock_recvmsg"),
    ("socket: send", r"tcp_sendmsg|sock_sendmsg|sendfile"),
    ("file: sync", r"fsync|sync_file_range"),
    ("file: write", r"pwrite|vfs_write|fallocate"),
    ("file: read", r"pread|vfs_read"),
    (
        "names: open, close, make, rename, stat",
        r"openat|fput|filp_close|mkdir|rename|fstat|statx|utimes|getdents|fchmod|unlink",
    ),
    ("other calls of the kernel", r"entry_SYSCALL|\[kernel|asm_sysvec|ret_from_fork"),
    ("AES and records (OpenSSL)", r"libcrypto|libssl"),
    ("interpreter, and its start", r""),
)
_WAITING = "waiting"
_TREES = {"small": small_tree, "mixed": mixed_tree}
_PLACES = {"tmpfs": Path("/dev/shm"), "disk": Path(tempfile.gettempdir())}


def classify(stack: str) -> str:
    """Return the kind of work of one sample; `stack` has its frames with their files."""
    return next(kind for kind, pattern in _KINDS if re.search(pattern, stack))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What perf has seen of one side."""

    span_s: float  # from the first sample to the last
    kinds: Counter[str]  # samples

    @classmethod
    def load(cls, path: Path) -> Recorded:
        words = ["perf", "script", "-i", str(path), "-F", "time,ip,sym,dso"]
        text = subprocess.run(
            words, capture_output=True, text=True, errors="replace", check=True
        ).stdout
        # Samples are set apart by empty lines; the first line of each is its time.
        samples = [
            sample.strip("\n").partition("\n") for sample in text.split("\n\n") if sample.strip()
        ]
        times = [float(head.strip().rstrip(":")) for head, _, _ in samples]
        return cls(max(times) - min(times), Counter(classify(stack) for _, _, stack in samples))


@contextlib.contextmanager
def recording(pid: int, into: Path) -> Iterator[None]:
    """Record what a running process does."""
    words = [*_RECORD, "-p", str(pid), "-o", str(into)]
    recorder = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)  # it says nothing once it has begun
    try:
        yield
    finally:
        recorder.terminate()
        recorder.wait()


def profile(
    action: str, *, encrypted: bool, place: str, size: int, tree: Sequence[int] = ()
) -> dict[str, Recorded]:
    """Make a transfer and profile it: one file of `size` bytes, or files of the sizes in `tree`."""
    size = sum(tree) or size
    with Bench([], _PLACES).folder(place, 3 * size) as folder, contextlib.ExitStack() as stack:
        arena = Arena(folder, synced=place == "disk")
        source, arrived = (
            arena.share / "big",
            (arena.out if action == "get" else arena.taken) / "big",
        )
        if tree:
            make_tree(source, list(tree))
        else:
            make_file(source, size)
        time.sleep(_SETTLED_S)
        entrant = arena.enter(
            stack, [Ftransfer()], f"{action}_tree" if tree else action, encrypted=encrypted
        )[0][0]
        assert entrant.pid is not None
        command = (
            _tree_command(entrant, action, source, arena.out)
            if tree
            else _command(entrant, action, source, arrived)
        )
        entrant.run([command])
        (check_tree if tree else check_file)(source, arrived)
        arena.clean()
        if place == "tmpfs":
            warm_up(folder, size + (size >> 2))
        at = {side: folder / f"{side}.perf" for side in ("client", "server")}
        with recording(entrant.pid, at["server"]):
            recorder = (*_RECORD, "-o", str(at["client"]), "--")
            entrant.run([command.behind(recorder)])
        return {side: Recorded.load(path) for side, path in at.items()}


def _command(entrant: Entrant, action: str, source: Path, arrived: Path) -> Command:
    command = (
        entrant.peer.get(entrant.at, "big", arrived)
        if action == "get"
        else entrant.peer.put(entrant.at, source, "in/big")
    )
    assert command is not None
    return command


def _tree_command(entrant: Entrant, action: str, source: Path, out: Path) -> Command:
    command = (
        entrant.peer.get_tree(entrant.at, "big", out)
        if action == "get"
        else entrant.peer.put_tree(entrant.at, source, "in")
    )
    assert command is not None
    return command


def table(sides: dict[str, Recorded]) -> str:
    """Return the shares of the client's lifetime as a table in Markdown."""
    wall_s = sides["client"].span_s
    total = wall_s * _HERTZ
    lines = ["| kind of work | " + " | ".join(sides) + " |", "| --- |" + " ---: |" * len(sides)]
    for kind in (*(kind for kind, _ in _KINDS), _WAITING):
        counts = [
            side.kinds[kind] if kind != _WAITING else max(0.0, total - side.kinds.total())
            for side in sides.values()
        ]
        if any(counts):
            lines.append(
                f"| {kind} | " + " | ".join(f"{count / total:.0%}" for count in counts) + " |"
            )
    cpu = " | ".join(f"{side.kinds.total() / _HERTZ:.2f} s" for side in sides.values())
    return "\n".join([*lines, f"| processor time, of {wall_s:.2f} s | {cpu} |"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile", description="Where a transfer spends its time."
    )
    parser.add_argument("action", choices=("get", "put"))
    parser.add_argument("--tls", action="store_true", help="encrypted")
    parser.add_argument("--disk", action="store_true", help="on a disk, not in memory")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument(
        "--tree", choices=_TREES, help="a tree of the benchmark in place of one file"
    )
    options = parser.parse_args(arguments)
    place = "disk" if options.disk else "tmpfs"
    tree = _TREES[options.tree](Bench([], _PLACES)) if options.tree else ()
    sides = profile(
        options.action, encrypted=options.tls, place=place, size=options.mib * MIB, tree=tree
    )
    sys.stdout.write(table(sides) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
