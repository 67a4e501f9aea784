"""Random edits of a tree: what people, editors and build tools do to a folder, in any order."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

_PARTS = ["a", "b", "c", "d"]


class Edits:
    """Edits of one folder, which itself may be taken away and made anew."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._written = 0
        self.done: list[str] = []

    def some(self, count: int) -> None:
        """Do so many edits; those that make no sense where they come are left out."""
        for _ in range(count):
            edit = self._random.choice(
                [
                    self._write,
                    self._write,
                    self._write,
                    self._remove,
                    self._rename,
                    self._rename,
                    self._swap,
                    self._change_kind,
                ]
                + ([self._rebuild, self._swap_root] if self._random.random() < 0.2 else [])
            )
            try:
                edit()
            except (
                FileNotFoundError,
                FileExistsError,
                NotADirectoryError,
                IsADirectoryError,
                OSError,
            ):
                continue
            self.done.append(edit.__name__)

    def _any(self) -> Path:
        return self._root.joinpath(*self._random.choices(_PARTS, k=self._random.randint(1, 3)))

    def write(self, path: Path) -> None:
        """Write a file that no other one is like: its size tells them apart."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._written += 1
        new = path.with_name(".new")
        new.write_bytes(b"%d " % self._written * self._written)
        os.replace(new, path)

    def _write(self) -> None:
        self.write(self._any())

    def _remove(self) -> None:
        _clear(self._any())

    def _rename(self) -> None:
        old, new = self._any(), self._any()
        new.parent.mkdir(parents=True, exist_ok=True)
        os.rename(old, new)

    def _swap(self) -> None:
        one, other = self._any(), self._any()
        if one in other.parents or other in one.parents or not one.exists() or not other.exists():
            return
        aside = self._root.parent / "aside"
        os.rename(one, aside)
        os.rename(other, one)
        os.rename(aside, other)

    def _change_kind(self) -> None:
        path = self._any()
        was_folder = path.is_dir()
        if not path.exists():
            return
        _clear(path)
        self.write(path if was_folder else path / "a")

    def _rebuild(self) -> None:
        shutil.rmtree(self._root)
        self._root.mkdir()
        for _ in range(3):
            self._write()

    def _swap_root(self) -> None:
        aside, new = self._root.parent / "was", self._root.parent / "next"
        shutil.copytree(self._root, new)
        os.rename(self._root, aside)
        os.rename(new, self._root)
        shutil.rmtree(aside)
        self._write()


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
