"""The examples of README.md, each run as it is written there: shell lines, shells, TOML, Python."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ftransfer.auth.passwords import hash_password
from ftransfer.auth.users import load_users, parse_users
from ftransfer.cli.runtime.app import COMMANDS
from tests.support.certificates import Authority
from tests.support.programs import PROJECT

TEXT = (PROJECT / "README.md").read_text(encoding="utf-8")
_WAIT_S = 40
# Lines that do not run here, and why.
NOT_RUN = {
    "pip install .": "installs into the environment that runs the tests",
    "make serve": "sets up another environment; the server it starts is that of the first example",
    "ftransfer get HOST PORT report.csv --ca system": "needs a certificate from a public authority",
}
# Lines that run until they are interrupted.
ENDLESS = ("ftransfer serve", "ftransfer watch", "ftransfer chat")


@dataclass(frozen=True)
class Block:
    """A fenced block of code below a heading."""

    section: str
    language: str
    lines: list[str]


def blocks() -> Iterator[Block]:
    section, language, lines = "", "", list[str]()
    for line in TEXT.splitlines():
        if line.startswith("```"):
            if language:
                yield Block(section, language, lines)
            language, lines = ("" if language else line[3:] or "text"), []
        elif language:
            lines.append(line)
        elif line.startswith("#"):
            section = line.strip("# ")


def commands(section: str) -> list[str]:
    """Return the shell lines below a heading, without those that do not run here."""
    lines = [
        line
        for block in blocks()
        if (block.section, block.language) == (section, "sh")
        for line in block.lines
    ]
    assert lines, f"no shell lines below {section}"
    return [line for line in lines if without_comment(line) not in NOT_RUN]


def without_comment(line: str) -> str:
    return re.sub(r"  +# .*", "", line).strip()


@dataclass
class World:
    """A folder with all files that the examples name, and somebody who types them."""

    folder: Path
    home: Path
    running: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def share(self) -> Path:
        return self.folder / "share"

    def as_somebody_else(self) -> World:
        """Return the same folder for a user with another home."""
        home = self.folder / "other home"
        home.mkdir()
        return World(self.folder, home, self.running)

    async def start(self, line: str, *, home: Path | None = None) -> Run:
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            # One program alone takes the place of the shell, so that signals reach it.
            f"exec {line}" if line.startswith("ftransfer ") and "|" not in line else line,
            cwd=self.folder,
            env=environment(self.folder, home or self.home),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.running.append(process)
        return Run(line, process)

    async def run(self, line: str, stdin: str = "") -> str:
        """Run a line to its end, which must be a success; return what it printed."""
        run = await self.start(line)
        async with asyncio.timeout(_WAIT_S):
            out, _ = await run.process.communicate(stdin.encode())
        assert run.process.returncode == 0, f"{line}\n{out.decode()}"
        return out.decode()

    async def serve(self, line: str) -> Run:
        """Start a server on a free port, instead of the one in the line or the default."""
        line = without_comment(line)
        run = await self.start(re.sub(r" --port \d+", "", line) + " --port 0")
        run.port = int((await run.see(r"^listening on .*:(\d+)$"))[1])
        return run

    async def end(self) -> None:
        for process in self.running:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


@dataclass
class Run:
    """A line that runs."""

    line: str
    process: asyncio.subprocess.Process
    port: int = 0
    printed: str = ""

    async def see(self, pattern: str) -> re.Match[str]:
        """Read until a line matches."""
        assert self.process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                while line := (await self.process.stdout.readline()).decode():
                    self.printed += line
                    if found := re.search(pattern, line.rstrip("\n")):
                        return found
        raise AssertionError(f"{self.line}: no line matches {pattern!r} in:\n{self.printed}")

    async def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_WAIT_S):
            self.printed += (await self.process.communicate())[0].decode()
        assert self.process.returncode is not None
        return self.process.returncode


def environment(folder: Path, home: Path) -> dict[str, str]:
    """Return what a user at a terminal has, with `ftransfer` first on the path."""
    inherited = {key: os.environ[key] for key in ("LANG", "LC_ALL") if key in os.environ}
    return {
        **inherited,
        "HOME": str(home),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    home = tmp_path / "home"
    (home / "Downloads").mkdir(parents=True)
    program = tmp_path / "bin" / "ftransfer"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom ftransfer.cli import main\nmain()\n")
    program.chmod(0o755)
    shutil.copytree(PROJECT / "sample_share", tmp_path / "share")
    world = World(tmp_path, home)
    fill(world.share, ["a.csv", "b.csv", "report.csv", "lab/2024/x.csv", "inbox/.keep"])
    fill(tmp_path, ["天线15.doc", "a.csv", "b.csv", "photos/1.jpg", "notes/n.txt", "build/made"])
    fill(tmp_path, ["site/index.html", "inbox/.keep", "away.tmp"])
    (world.share / "incoming").mkdir()
    try:
        yield world
    finally:
        await world.end()


def fill(folder: Path, names: list[str]) -> None:
    """Make files with their names as content."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


@pytest.fixture
async def server(world: World) -> Run:
    return await world.serve("ftransfer serve ./share")


def at(server: Run, line: str) -> str:
    """Return a line with the address of a server."""
    return (
        without_comment(line)
        .replace("HOST PORT", f"127.0.0.1 {server.port}")
        .replace("127.0.0.1 9021", f"127.0.0.1 {server.port}")
    )


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_does_not_run_is_in_the_readme() -> None:
    lines = {without_comment(line) for block in blocks() for line in block.lines}
    assert set(NOT_RUN) <= lines


def test_every_command_has_an_example() -> None:
    text = "\n".join(line for block in blocks() for line in block.lines)
    assert set(COMMANDS) <= set(re.findall(r"\bftransfer +([a-z]+)", text))


def test_every_block_has_a_test() -> None:
    tested = {
        ("ftransfer", "console"),
        ("Install", "sh"),  # NOT_RUN, both lines
        ("The shell", "console"),
        ("The shell", "sh"),
        ("Single commands", "sh"),
        ("Whole folders", "sh"),
        ("Who is here, and what changes", "sh"),
        ("On a network", "console"),
        ("On a network", "sh"),
        ("Users, rights and certificates", "sh"),
        ("Users, rights and certificates", "toml"),
        ("Limits and quotas", "sh"),
        ("From Python", "python"),
    }
    assert {(block.section, block.language) for block in blocks()} == tested
    assert commands("Install") == []


async def test_first_screen(world: World) -> None:
    serving, getting = (block.lines for block in blocks() if block.section == "ftransfer")
    server = await world.serve(serving[0].removeprefix("$ "))
    assert server.printed.replace(str(server.port), "9021") == f"{serving[1]}\n"
    printed = await world.run(at(server, getting[0].removeprefix("$ ")))
    assert re.sub(r"[\d.]+ s", "0.01 s", printed) == f"{getting[1]}\n"


async def test_shell(world: World, server: Run) -> None:
    (lines,) = (
        block.lines
        for block in blocks()
        if (block.section, block.language) == ("The shell", "console")
    )
    typed = [line.partition("> ")[2] for line in lines[1:]]
    assert len(typed) == 6
    await world.run(at(server, lines[0].removeprefix("$ ")), "\n".join(typed) + "\n")
    assert files_below(world.share).keys() >= {"天线15.doc"}
    assert (world.folder / "here.jpg").read_bytes() == (
        world.share / "my holiday photo.jpg"
    ).read_bytes()
    for line in commands("The shell"):
        assert "received readme.txt" in await world.run(at(server, line))


async def test_single_commands(world: World, server: Run) -> None:
    for line in commands("Single commands"):
        program = without_comment(line).split("|")[-1].split()[0]
        if shutil.which(program, path=environment(world.folder, world.home)["PATH"]) is None:
            pytest.skip(f"{program} is not installed; what comes after it did not run")
        await world.run(at(server, line))
        if " mv " in line:
            assert (world.share / "archive" / "readme.txt").exists()
    there = files_below(world.share)
    assert there["lab/天线15.doc"] == "天线15.doc".encode()
    assert there["lab/a.csv"] == b"a.csv"
    assert (world.home / "Downloads" / "射频仿真.pptx").read_bytes() == there["射频仿真.pptx"]
    with tarfile.open(world.share / "notes.tar.gz") as tar:
        assert "notes/n.txt" in tar.getnames()
    assert not (world.share / "archive").exists()


async def test_whole_folders(world: World, server: Run) -> None:
    for line in commands("Whole folders"):
        if "--watch" in line:
            run = await world.start(at(server, line))
            await run.see(r"^watching ")
            (world.folder / "site" / "new.html").write_text("new")
            await run.see("stored 1 file")
            assert await run.interrupt() == 130
        else:
            await world.run(at(server, line))
    lab = files_below(world.share / "lab")
    assert lab == files_below(world.folder / "copies" / "lab")
    assert lab == files_below(world.folder / "mirror")
    assert (world.share / "photos" / "1.jpg").exists()
    assert files_below(world.folder / "tables").keys() == {"2024/x.csv", "2024/antenna sweep.csv"}
    backup = files_below(world.share / "backup")
    assert "photos/1.jpg" in backup and "away.tmp" not in backup and "build/made" not in backup
    assert files_below(world.share / "www") == files_below(world.folder / "site")


async def test_live_commands(world: World, server: Run) -> None:
    script = world.folder / "process.sh"
    script.write_text('#!/bin/sh\necho "$FTRANSFER_EVENT of $FTRANSFER_NAME"\n')
    script.chmod(0o755)
    endless = {}
    for line in commands("Who is here, and what changes"):
        if not line.startswith(ENDLESS):
            await world.run(at(server, line))
            continue
        run = await world.start(at(server, line))
        kind = next(word for word in ("chat", "--get", "--exec", "watch") if word in line)
        endless[kind] = run
        await run.see("up to date" if kind == "--get" else r"session #\d")
    await endless["chat"].type("hello\n")
    await endless["chat"].see("psst")
    await world.run(f"ftransfer put 127.0.0.1 {server.port} a.csv incoming/")
    await endless["watch"].see(r"created +incoming/a\.csv")
    await endless["--get"].see(r"incoming/a\.csv")
    await endless["--exec"].see(r"^created of incoming/a\.csv$")
    assert (world.folder / "incoming" / "a.csv").read_text() == "a.csv"
    for run in endless.values():
        assert await run.interrupt() == 130


async def test_on_a_network(world: World) -> None:
    (shown,) = (
        block.lines
        for block in blocks()
        if (block.section, block.language) == ("On a network", "console")
    )
    server = await world.serve(shown[0].removeprefix("$ "))
    fingerprint = (await server.see(r"^log in with: ftransfer login \S+ \d+ --fingerprint (\S+)$"))[
        1
    ]
    token = (await server.see(r"^token: (\S+)$"))[1]
    assert [line.split(":")[0] for line in shown[1:]] == [
        "listening on 0.0.0.0",
        "log in with",
        "token",
    ]
    other = world.as_somebody_else()
    secret = world.folder / "t.txt"
    secret.write_text(f"{token}\n")
    secret.chmod(0o600)
    for line in commands("On a network"):
        line = at(server, line).replace("--fingerprint F", f"--fingerprint {fingerprint}")
        await other.run(line, f"{token}\n" if " login " in line else "")
    assert (world.folder / "report.csv").read_text() == "report.csv"


async def test_users_and_certificates(world: World) -> None:
    authority = Authority(world.folder)
    own = authority.issue("server")
    for file, source in {"chain.pem": own, "key.pem": own, "friends.pem": authority.file}.items():
        shutil.copy(source, world.folder / file)
    for line in commands("Users, rights and certificates"):
        if line.startswith(ENDLESS):
            assert await (await world.serve(line)).interrupt() == 0
        else:
            await world.run(without_comment(line), "a good password\n")
    users = load_users(str(world.folder / "users.toml"))
    assert [user.allowance.rate for user in users.values()] == [5 << 20, None]


async def test_limits_and_quotas(world: World) -> None:
    (world.folder / "serve.toml").write_text('max_file = "2G"\n')
    for line in commands("Limits and quotas"):
        assert await (await world.serve(line)).interrupt() == 0
    assert (world.folder / "audit.log").exists()


def test_users_file() -> None:
    (block,) = (block for block in blocks() if block.language == "toml")
    text = "\n".join(block.lines).replace("$argon2id$…", hash_password("a good password"))
    (user,) = parse_users(text, "users.toml").values()
    assert (user.name, user.allowance.quota_bytes, user.allowance.rate) == (
        "ann",
        10 << 30,
        5 << 20,
    )


async def test_python(world: World, server: Run) -> None:
    (block,) = (block for block in blocks() if block.language == "python")
    text = "\n".join(block.lines)
    (world.folder / "example.py").write_text(text.replace("9021", str(server.port)))
    printed = await world.run(f"{sys.executable} example.py")
    assert "file 14 lab/2024/x.csv" in printed
    assert "no/such/folder" in printed
    assert files_below(world.folder)["copy.pptx"] == files_below(world.share)["射频仿真.pptx"]
