"""Makes the files that are moved: incompressible, and the same in each run."""

from __future__ import annotations

import math
import os
import random
import shutil
from pathlib import Path

_BLOCK = 8 << 20
MIB = 1 << 20


def make_file(path: Path, size: int, seed: int = 1) -> None:
    """Write a file in which no block is like another."""
    block = bytearray(random.Random(seed).randbytes(min(size, _BLOCK)))
    with path.open("wb") as file:
        written = 0
        while written < size:
            block[:8] = (written + seed).to_bytes(8, "little")[: min(8, len(block))]
            written += file.write(memoryview(block)[: min(len(block), size - written)])


def make_tree(folder: Path, sizes: list[int], per_folder: int = 100) -> None:
    """Write files of these sizes into folders of some hundred each."""
    dice = random.Random(2)
    block = dice.randbytes(_BLOCK)
    for first in range(0, len(sizes), per_folder):
        part = folder / f"folder {first // per_folder:04d}"
        part.mkdir(parents=True)
        for number, size in enumerate(sizes[first : first + per_folder], first):
            _write(part / f"file-{number:06d}.dat", size, block, dice.randrange(_BLOCK))


def _write(path: Path, size: int, block: bytes, start: int) -> None:
    with path.open("wb", buffering=0) as file:
        while size:
            count = file.write(memoryview(block)[start : start + size])
            size -= count
            start = 0


def log_normal_sizes(total: int, mean: int = MIB, sigma: float = 1.5) -> list[int]:
    """Draw sizes with a given mean until they add up to `total`."""
    dice, sizes, left = random.Random(3), [], total
    mu = math.log(mean) - sigma * sigma / 2
    while left > 0:
        sizes.append(min(left, max(1, int(dice.lognormvariate(mu, sigma)))))
        left -= sizes[-1]
    return sizes


def warm_up(folder: Path, size: int) -> None:
    """Touch as much fresh memory of a tmpfs as the outputs will take.

    In a virtual machine the first touch costs much more than later ones.
    """
    path = folder / "warm-up"
    with path.open("wb", buffering=0) as file:
        block = bytes(_BLOCK)
        for _ in range(-(-size // _BLOCK)):
            file.write(block)
    path.unlink()


def empty_folder(folder: Path) -> None:
    """Remove what is in a folder, and make it if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
