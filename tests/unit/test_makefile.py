"""The Makefile: the list of targets, a Python that is too old, and a .venv that one has made."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# A Python that is new enough or not, and makes an environment with another one of its kind.
_PYTHON = """#!/bin/sh
case "$1" in
    --version) echo "Python {version}" ;;
    -c) exit {too_old} ;;
    -m) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
"""


def python(path: Path, version: str, *, too_old: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PYTHON.format(version=version, too_old=int(too_old)))
    path.chmod(0o755)
    return path


def make(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", str(PROJECT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_venv(folder: Path, interpreter: Path) -> subprocess.CompletedProcess[str]:
    venv = folder / ".venv"
    return make(f"PYTHON={interpreter}", f"VENV={venv}", str(venv / "bin" / "python"))


def test_plain_make_lists_the_targets_and_does_nothing_else(tmp_path: Path) -> None:
    done = make(f"VENV={tmp_path / '.venv'}")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)
    assert {"help", "serve", "test", "check", "coverage", "bench"} <= set(listed)
    assert not (tmp_path / ".venv").exists()


def test_every_listed_target_is_phony() -> None:
    text = (PROJECT / "Makefile").read_text()
    listed = re.findall(r"^([a-z-]+):.*  ## ", text, re.MULTILINE)
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(listed) <= set(phony[1].replace("\\", " ").split())


def test_python_that_is_too_old_is_refused(tmp_path: Path) -> None:
    done = make_venv(tmp_path, python(tmp_path / "old", "3.10.12", too_old=True))
    assert done.returncode != 0
    assert "ftransfer needs Python 3.11 or later; this is Python 3.10.12" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_environment_of_an_old_python_is_made_again(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        python(tmp_path / ".venv" / "bin" / "python", "3.10.12", too_old=True)
        (tmp_path / ".venv" / "left").touch()
    done = make_venv(tmp_path, python(tmp_path / "new", "3.12.1", too_old=False))
    assert (done.returncode, "about half a minute" in done.stderr) == (0, True), done.stderr
    assert "3.12.1" in (tmp_path / ".venv" / "bin" / "python").read_text()
    assert not (tmp_path / ".venv" / "left").exists()


def test_environment_that_is_new_enough_stays(tmp_path: Path) -> None:
    python(tmp_path / ".venv" / "bin" / "python", "3.13.0", too_old=False)
    (tmp_path / ".venv" / "left").touch()
    assert make_venv(tmp_path, python(tmp_path / "new", "3.12.1", too_old=False)).returncode == 0
    assert (tmp_path / ".venv" / "left").exists()
