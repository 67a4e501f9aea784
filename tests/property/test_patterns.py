"""Excludes mean what they mean in a .gitignore: git itself judges random patterns and trees."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ftransfer.transfer.selection import selection

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

_PARTS = ["a", "b", "build", "x.txt", "y.log", "a b", "é", "[x]", "!z"]
_PIECES = [
    *_PARTS,
    "*",
    "**",
    "*.txt",
    "x.*",
    "?",
    "??",
    "[ab]",
    "[!a]",
    "a*",
    "\\!z",
    "\\[x]",
    "y.log",
]

names = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=4).map("/".join)
patterns = st.builds(
    lambda no, root, pieces, folder: (
        ("!" if no else "") + ("/" if root else "") + "/".join(pieces) + ("/" if folder else "")
    ),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3),
    st.booleans(),
)


def make_tree(root: Path, files: list[str]) -> list[tuple[str, bool]]:
    """Make files that can exist beside each other; return all names, and which are folders."""
    for name in files:
        try:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    return [(str(path.relative_to(root)), path.is_dir()) for path in root.rglob("*")]


def ignored_by_git(root: Path, exclude: list[str], found: list[tuple[str, bool]]) -> set[str]:
    # Outside of the tree, since it must not be one of its files.
    (root.parent / "exclude").write_text("".join(f"{line}\n" for line in exclude), encoding="utf-8")
    said = subprocess.run(
        [
            "git",
            "-c",
            "core.excludesFile=../exclude",
            "check-ignore",
            "--no-index",
            "--stdin",
            "-z",
        ],
        cwd=root,
        input=b"".join(os.fsencode(name) + b"\0" for name, _ in found),
        capture_output=True,
    )
    assert said.returncode in (0, 1), said.stderr
    return {os.fsdecode(name) for name in said.stdout.split(b"\0") if name}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(patterns, min_size=1, max_size=5), st.lists(names, min_size=1, max_size=8))
@example(["build/", "!build/x.txt"], ["build/x.txt"])
@example(["*", "!*.txt"], ["a/x.txt", "x.txt"])
@example(["build/**", "!build/x.txt"], ["build/x.txt", "build/y.log"])
@example(["/*", "!/a/", "/a/*", "!/a/b/"], ["a/b/x.txt", "a/x.txt", "b/x.txt"])
@example(["?"], ["é"])
def test_excludes_are_those_of_git(exclude: list[str], files: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        root.mkdir()
        subprocess.run(
            ["git", "init", "-q"], cwd=root, check=True, env={**os.environ, "GIT_TEMPLATE_DIR": ""}
        )
        found = [pair for pair in make_tree(root, files) if not pair[0].startswith(".git")]
        wanted = selection(exclude=exclude)
        out = {name for name, is_folder in found if not wanted(name, is_folder)}
        assert out == ignored_by_git(root, exclude, found)
