"""Which words behind get and put are sources, and where they go."""

from __future__ import annotations

import pytest

from ftransfer.shell.errors import WrongUsage
from ftransfer.shell.operands import Here, Operands, get_operands, put_operands

FILES = ("a.csv", "b.csv", "sub/a.csv", "my file")
FOLDERS = ("photos", "here")


def look(word: str) -> Here:
    if word.rstrip("/") in FOLDERS:
        return Here.FOLDER
    return Here.FILE if word.removeprefix("./") in FILES else Here.NOTHING


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.csv", Operands(["a.csv"])),
        ("missing", Operands(["missing"])),
        ("a.csv name", Operands(["a.csv"], "name")),
        ("a.csv folder/", Operands(["a.csv"], "folder/", is_into=True)),
        ("a.csv b.csv", Operands(["a.csv", "b.csv"])),
        ("b.csv ./a.csv", Operands(["b.csv", "./a.csv"])),
        ("missing b.csv", Operands(["missing", "b.csv"])),
        ("a.csv a.csv", Operands(["a.csv"])),
        ("a.csv b.csv folder", Operands(["a.csv", "b.csv"], "folder", is_into=True)),
        ("a.csv b.csv folder/", Operands(["a.csv", "b.csv"], "folder/", is_into=True)),
        ("a.csv photos", Operands(["a.csv"], "photos", is_into=True)),
        ("- name", Operands(["-"], "name")),
        ("- a.csv", Operands(["-"], "a.csv")),
        ("-", Operands(["-"])),
    ],
)
def test_put(line: str, expected: Operands) -> None:
    assert put_operands(line.split(), look) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("photos", Operands(["photos"])),
        ("photos here", Operands(["photos", "here"])),
        ("photos backup", Operands(["photos"], "backup")),
        ("photos here/", Operands(["photos"], "here/", is_into=True)),
        ("photos a.csv backup", Operands(["photos", "a.csv"], "backup", is_into=True)),
    ],
)
def test_put_of_folders(line: str, expected: Operands) -> None:
    assert put_operands(line.split(), look, recursive=True) == expected


@pytest.mark.parametrize(
    "line", ["a.csv sub/a.csv", "a.csv sub/a.csv folder/", "- a.csv b.csv", "a.csv -"]
)
def test_put_that_is_refused(line: str) -> None:
    with pytest.raises(WrongUsage, match="one after the other|only source"):
        put_operands(line.split(), look)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", Operands(["x"])),
        ("x y", Operands(["x"], "y")),
        ("x -", Operands(["x"], "-")),
        ("x here", Operands(["x"], "here")),
        ("x y here", Operands(["x", "y"], "here", is_into=True)),
        ("x y new/", Operands(["x", "y"], "new/", is_into=True)),
    ],
)
def test_get(line: str, expected: Operands) -> None:
    assert get_operands(line.split(), look) == expected


@pytest.mark.parametrize("line", ["x y z", "x y a.csv", "x y -"])
def test_get_that_is_refused(line: str) -> None:
    with pytest.raises(WrongUsage, match="folder|stdout"):
        get_operands(line.split(), look)
