"""Fuzz each target in its own process: `python -m fuzz.run [TARGET ...]`.

Each runs for FUZZ_SECONDS (60). The exit code is 1 if a fault was found.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz.targets import TARGETS

_HERE = Path(__file__).parent
_FOUND = _HERE / "found"
_SEEDS = _HERE.parent / "tests" / "property" / "findings"
_MAX_BYTES = 4096
_SLOW_S = 10  # for one input
_MEMORY_MB = 1024


def main(arguments: Sequence[str]) -> int:
    """Run the targets that are named, or all."""
    unknown = [name for name in arguments if name not in TARGETS]
    if unknown:
        sys.stderr.write(f"fuzz: no target {unknown[0]}; there are: {' '.join(TARGETS)}\n")
        return 2
    _FOUND.mkdir(exist_ok=True)
    failed = [name for name in arguments or TARGETS if not _run(name)]
    sys.stdout.write(
        f"faults in: {' '.join(failed)}; see fuzz/found\n" if failed else "no faults\n"
    )
    return 1 if failed else 0


def _run(name: str) -> bool:
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    corpus = _HERE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    (_SEEDS / name).mkdir(exist_ok=True)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={_MAX_BYTES}",
        f"-timeout={_SLOW_S}",
        f"-rss_limit_mb={_MEMORY_MB}",
    ]
    where = [
        f"-artifact_prefix={_FOUND}/{name}-",
        "-verbosity=0",
        "-print_final_stats=1",
        str(corpus),
        str(_SEEDS / name),
    ]
    command = [sys.executable, "-m", "fuzz.one", name, *limits, *where]
    done = subprocess.run(command, cwd=_HERE.parent, stderr=subprocess.PIPE, text=True)
    executions = [
        line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line
    ]
    count = executions[0] if executions else "?"
    sys.stdout.write(
        f"{name}: {count} inputs in {seconds} s, {'a fault' if done.returncode else 'clean'}\n"
    )
    sys.stdout.flush()
    if done.returncode:
        sys.stderr.write(done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
