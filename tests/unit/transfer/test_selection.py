"""Which names take part, by globs and by the patterns of a .gitignore."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftransfer.transfer.selection import (
    IgnoreRules,
    everything,
    glob_selection,
    selection,
    split_glob,
)

GLOBS = [
    ("*.csv", ["a.csv", ".csv"], ["a.csv/b", "d/a.csv", "a.csvx", "acsv"]),
    ("a*b*c", ["abc", "aXbYc", "abbcc", "abcbc"], ["ab", "abcd", "a/b/c"]),
    ("*a*", ["a", "xax"], ["", "xx", "a/x"]),
    ("a**b", ["ab", "axxb"], ["a/b"]),
    ("d/?", ["d/a", "d/é"], ["d/", "d/ab", "d//"]),
    ("**/x", ["x", "a/x", "a/b/x"], ["ax", "x/a"]),
    ("a/**/b/**/c", ["a/b/c", "a/x/b/c", "a/b/b/x/c", "a/x/y/b/z/c"], ["a/c", "b/c", "a/b/x"]),
    ("**/a/*/b", ["a/x/b", "a/a/a/b", "x/a/a/b"], ["a/b"]),
    ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
    ("**", ["a", "a/b"], []),
    ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
    ("[!a]x", ["bx", "!x"], ["ax", "/x"]),
    ("[]]", ["]"], ["[]]"]),
    ("[z-a]*", [], ["z", "b"]),
    ("a[b", ["a[b"], ["ab"]),
    ("a[.^$|]*\\", ["a.\\", "a|x\\"], ["ax\\", "a."]),
    ("a\nb", ["a\nb"], ["a\nb\n"]),
]


@pytest.mark.parametrize(
    ("pattern", "matched", "others"), GLOBS, ids=[pattern for pattern, *_ in GLOBS]
)
def test_glob(pattern: str, matched: list[str], others: list[str]) -> None:
    wanted = glob_selection(pattern)
    assert [name for name in (*matched, *others) if wanted(name, False)] == matched
    # A folder is gone through, whatever its name
    assert not any(wanted(name, True) for name in matched)


def test_folder_of_a_glob() -> None:
    assert split_glob("a/b/*.csv") == ("a/b", "*.csv")
    assert split_glob("*/x") == ("", "*/x")


def test_selection_without_patterns_is_everything() -> None:
    assert selection() is everything


def test_includes_alone_leave_the_folders_on_the_way() -> None:
    wanted = selection(["*.txt"])
    assert wanted("d", True) and wanted("d/a.txt", False) and not wanted("d/a.bin", False)


def test_include_goes_before_exclude() -> None:
    wanted = selection(["keep.tmp"], ["*.tmp", "build/"])
    assert (
        wanted("keep.tmp", False)
        and wanted("d/keep.tmp", False)
        and wanted("build/keep.tmp", False)
    )
    assert not wanted("a.tmp", False) and not wanted("build", True) and not wanted("build/x", False)


@pytest.mark.parametrize("pattern", ["!", "/", "//", "!/"])
def test_pattern_that_names_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match="names nothing"):
        selection([], [pattern])


HOSTILE = [
    ("*a*a*a*a*a*a*a*a*b", "a" * 250),
    ("*a*" * 40 + "b", "a" * 250),
    ("*?*?*?*?*?*?*?b", "a" * 250),
    ("*[ab]*[ab]*[ab]*[ab]*c", "ab" * 120),
    ("*a*/" * 8 + "b", "/".join(["a" * 250] * 9)),
    ("**/a/**/a/**/a/**/a/**/a/**/b", "a/" * 2000 + "c"),
    ("**/*a*a*a*a*b/**/*a*a*a*a*b", "/".join(["a" * 250] * 16)),
    ("**/" * 60 + "b", "a/" * 2000 + "c"),
]


@pytest.mark.parametrize(("pattern", "name"), HOSTILE, ids=[pattern[:30] for pattern, _ in HOSTILE])
def test_no_name_makes_a_pattern_slow(pattern: str, name: str) -> None:
    """A plain translation takes from seconds to years for each of these."""
    for wanted in (glob_selection(pattern), selection([], [pattern]), selection([pattern])):
        began = time.process_time()
        for _ in range(3):
            wanted(name, False)
        assert time.process_time() - began < 1.0


# What git itself says.

LINES = st.lists(
    st.lists(
        st.sampled_from(
            [
                *"abab",
                "/",
                "/",
                "*",
                "*",
                "?",
                "**",
                "**/",
                "/**",
                "[ab]",
                "[!a]",
                "[^b]",
                "[a-b]",
                "[]a]",
                "[[:alpha:]]",
                "\\a",
                "[a",
            ]
        ),
        min_size=1,
        max_size=5,
    ).map("".join),
    min_size=1,
    max_size=4,
).map(lambda lines: [f"!{line}" if place % 2 else line for place, line in enumerate(lines)])
FILES = [
    *(
        "a",
        "b",
        "ab",
        "ba",
        "aa",
        "abab",
        "c",
        "d/a",
        "d/b",
        "d/ab",
        "d/a.a",
        "ab.d/a",
        "ab.d/b/a",
        "ab.d/b/b",
        "bb/aa/bb/a",
    ),
    *("bb/aa/a", "bb/a", "]", "d/]", "aba/bab/aba"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    root = tmp_path_factory.mktemp("ignored")
    subprocess.run(["git", "init", "-q", root], check=True)
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ignored_by_git(tree: Path, lines: list[str]) -> set[str]:
    (tree / ".git" / "info" / "exclude").write_text("".join(f"{line}\n" for line in lines))
    command = [
        "git",
        "-c",
        "core.excludesFile=",
        "-C",
        str(tree),
        "check-ignore",
        "--no-index",
        "--stdin",
    ]
    done = subprocess.run(
        command, input="\n".join(FILES), capture_output=True, text=True, check=False
    )
    return set(done.stdout.split("\n")) - {""}


@settings(max_examples=60, deadline=None)
@given(LINES)
def test_lines_are_read_as_git_reads_them(tree: Path, lines: list[str]) -> None:
    # git takes the letters before the first wildcard off, and then reads the `**` of `a**/b` as if
    # nothing stood before it; and a / in brackets is for it no end of a part.
    lines = [
        line for line in lines if line.strip("!/") and not re.search(r"[^/]\*\*+/|\[[^/]*/", line)
    ]
    rules = IgnoreRules(lines)
    assert {name for name in FILES if rules.match(name, False)} == ignored_by_git(tree, lines), (
        lines
    )


@pytest.mark.parametrize(
    "lines",
    [
        ["build/", "!build/x"],
        ["*", "!*.txt"],
        ["d/*", "!d/ab"],
        ["/a"],
        ["d/"],
        ["a "],
        ["a\\ "],
        ["#a", "\\#a"],
        ["\\!a", "b"],
        ["bb/**"],
        ["**/bb"],
        ["bb/**/a"],
        ["a**b"],
        ["d/a*a"],
        ["[[:punct:]]", "[[:alpha:][:digit:]]"],
        ["", "b"],
        ["a\\"],
        ["[!a-]"],
    ],
    ids=repr,
)
def test_lines_of_all_kinds(tree: Path, lines: list[str]) -> None:
    rules = IgnoreRules(lines)
    assert {name for name in FILES if rules.match(name, False)} == ignored_by_git(tree, lines)
