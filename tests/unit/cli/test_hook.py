"""The command of watch --exec: what it receives, and that no event stops the next one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from ftransfer.cli.hook import Hook
from ftransfer.protocol.live import CREATED, Change, LiveEvent, Missed, Person, Rescan
from ftransfer.shell.errors import WrongUsage
from ftransfer.storage.base import FILE


def created(name: str, digest: str = "", person: Person | None = None) -> Change:
    return Change(CREATED, name, FILE, 3, digest=digest, person=person)


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return tmp_path / "seen"


@pytest.fixture
def hook(tmp_path: Path, seen: Path) -> Hook:
    script = tmp_path / "note.sh"
    script.write_text(
        f"#!/bin/sh\nenv | grep -a ^FTRANSFER_ | LC_ALL=C sort >> '{seen}'\necho end >> '{seen}'\n"
    )
    script.chmod(0o755)
    return Hook(str(script))


async def test_event_is_in_the_environment(hook: Hook, seen: Path) -> None:
    await hook.run(created("a b;$(x)'", "d1", Person(1, "ann")), "here/a b")
    await hook.run(Rescan("", "why"), "")
    assert seen.read_text().split("\n") == [
        "FTRANSFER_BY=ann",
        "FTRANSFER_DIGEST=d1",
        "FTRANSFER_EVENT=created",
        "FTRANSFER_KIND=file",
        "FTRANSFER_NAME=a b;$(x)'",
        "FTRANSFER_OLD=",
        "FTRANSFER_PATH=here/a b",
        "FTRANSFER_SIZE=3",
        "end",
        "FTRANSFER_EVENT=rescan",
        "FTRANSFER_NAME=",
        "FTRANSFER_PATH=",
        "end",
        "",
    ]


async def test_secrets_and_settings_of_ours_are_not_inherited(
    hook: Hook, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FTRANSFER_TOKEN", "FTRANSFER_PASSWORD", "FTRANSFER_DIGEST"):
        monkeypatch.setenv(name, "secret")
    await hook.run(Missed(3), "")
    assert "secret" not in seen.read_text() and "FTRANSFER_EVENT=missed" in seen.read_text()


ODD = [
    created("a", "d\0d"),
    created("a", "\ud800"),
    created("a\udcff", "x" * 64, Person(1, "a\0b")),
    created("a", "", Person(1, "\udfff\ud800")),
    created("a", "=\n="),
    created("a", "x" * 200_000),  # longer than the system takes
]


@pytest.mark.parametrize(
    "event",
    ODD,
    ids=["NUL", "surrogate", "NUL in who", "surrogate in who", "line feed", "too long"],
)
async def test_odd_event_is_escaped_or_told(
    hook: Hook, seen: Path, event: LiveEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    await hook.run(event, "")
    await hook.run(created("last"), "")
    assert seen.read_text(errors="replace").endswith(
        "FTRANSFER_NAME=last\nFTRANSFER_OLD=\nFTRANSFER_PATH=\nFTRANSFER_SIZE=3\nend\n"
    )
    is_told = "cannot run the command" in capsys.readouterr().err
    assert is_told == (isinstance(event, Change) and len(event.digest) > 100_000)


async def test_name_of_any_bytes_comes_as_it_is(hook: Hook, seen: Path) -> None:
    await hook.run(created(os.fsdecode(b"a\xff")), "")
    assert b"FTRANSFER_NAME=a\xff\n" in seen.read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("#!/bin/sh\nexit 3\n", "exited with code 3"),
        ("#!/no/such/shell\n", "cannot run the command"),
    ],
)
async def test_command_that_fails_is_told(
    tmp_path: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "fails"
    script.write_text(content)
    script.chmod(0o755)
    await Hook(str(script)).run(created("a"), "")
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and told.startswith("ftransfer: ")


async def test_command_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftransfer.cli.hook._END_S", 0.01)
    os.mkfifo(tmp_path / "ready")
    script = tmp_path / "stubborn"
    script.write_text(
        f"#!/bin/sh\ntrap '' TERM\necho $$ > '{tmp_path}/ready'\nwhile :; do sleep 1; done\n"
    )
    script.chmod(0o755)
    running = asyncio.create_task(Hook(str(script)).run(created("a"), ""))
    process = int(await asyncio.to_thread((tmp_path / "ready").read_text))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError), contextlib.suppress(PermissionError):
        os.kill(process, 0)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program", "no-such-program not found"),
        ("'open", "missing closing quote"),
        (" ", "empty"),
    ],
)
def test_bad_command(command: str, said: str) -> None:
    with pytest.raises(WrongUsage, match=said):
        Hook(command)
