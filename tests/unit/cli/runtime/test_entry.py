"""The program in this process: what typer, the options and the way out do; no server is there."""

from __future__ import annotations

import pytest

from ftransfer.cli.runtime.entry import run_program
from ftransfer.version import VERSION

COMMANDS = (
    "serve",
    "connect",
    "get",
    "put",
    "dir",
    "stat",
    "checksum",
    "mkdir",
    "mv",
    "rm",
    "partials",
)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("bogus", "no such command 'bogus'"),
        ("get", "missing argument 'HOST'"),
        ("get h", "missing argument 'PORT'"),
        ("get h 1", "missing argument 'NAME'"),
        ("get h x n", "x is not a number"),
        ("get h 0 n", "0 is not a port; use 1 to 65535"),
        ("get h 65536 n", "65536 is not a port"),
        ("get h 1 n d e", "e: not a local folder"),
        ("put h 1 f g --as n", "--as names one file"),
        ("put h 1 - g h", "stdin (-) must be the only source"),
        ("get --bogus h 1 n", "no such option: --bogus"),
        ("dir --json=3 h 1", "--json"),
        ("put h 1 -", "stdin needs a name"),
        ("put h 1 - folder/", "stdin needs a name"),
        ("get h 1 n --offset -1", "-1 is negative"),
        ("get h 1 n --length x", "x is not a number"),
        ("get -r h 1 n --length 1", "--offset and --length need one file"),
        ("put h 1 f --if-absent --if-match " + "0" * 64, "--if-absent needs a free name"),
        ("put h 1 f --if-match 123", "--if-match needs the 64 hexadecimal digits"),
        ("put -r h 1 f --if-absent", "cannot be used with -r"),
        ("serve x --keep-partials soon", "soon is not an age"),
        ("rm h 1", "missing argument 'NAME'"),
        ("sync h 1 gte a b", "gte is not get or put"),
        ("mv h 1 a", "missing argument 'NEW'"),
        ("partials --older tomorrow h 1", "tomorrow is not an age"),
        ("serve", "missing argument 'FOLDER'"),
        ("sync h 1", "missing argument 'get|put'; choose from get, put; ftransfer sync --help"),
        ("serve x --port -1", "-1 is not a port"),
        ("serve x --port 65536", "65536 is not a port"),
        ("--bogus", "no such option"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    assert run_program(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("ftransfer: ") and says.lower() in err.lower()


def test_wrong_usage_points_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(["get"])
    assert (
        capsys.readouterr().err
        == "ftransfer: missing argument 'HOST'; ftransfer get --help shows the usage\n"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["--version"]) == 0
    assert capsys.readouterr().out == f"ftransfer {VERSION}\n"


def test_help_lists_commands_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert "\n    ftransfer get localhost 9021 射频仿真.pptx\n" in out
    assert "\n    130  interrupted\n" in out


def test_usage_line(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(["get", "--help"])
    assert (
        capsys.readouterr().out.splitlines()[0]
        == "Usage: ftransfer get [OPTIONS] HOST PORT NAME [NAME...] [DEST]"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_examples(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_program([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Usage: ftransfer {command}" in out
    assert f"\n    ftransfer {command} " in out  # each example on a line of its own


def test_without_a_command_there_is_help_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Usage: ftransfer" in err


def test_fault_of_the_program_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def write(self, text: str) -> int:
            raise LookupError("oops")

        def flush(self) -> None:
            pass

    monkeypatch.setattr("sys.stdout", Broken())
    assert run_program(["--version"]) == 1
    assert (
        capsys.readouterr().err
        == "ftransfer: LookupError: oops; this is a bug; set FTRANSFER_DEBUG=1 for"
        " details\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(
    capsys: pytest.CaptureFixture[str], shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_FTRANSFER_COMPLETE", f"source_{shell}")
    assert run_program([]) == 0
    assert "_FTRANSFER_COMPLETE" in capsys.readouterr().out


def test_completion_of_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_FTRANSFER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "ftransfer se")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert run_program([]) == 0
    assert capsys.readouterr().out.split() == ["serve"]
