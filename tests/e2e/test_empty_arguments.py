"""An empty argument, mostly an unset variable, is a usage error: it never means a whole folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.client.trees.options import TreeOptions
from ftransfer.errors import NameRefused
from tests.support.programs import run_program
from tests.support.service import Service, serve


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        (service.root / "theirs").write_bytes(b"theirs")
        (service.local / "mine").write_bytes(b"mine")
        (service.local / "site").mkdir()
        yield service


COMMANDS = [
    ["sync", "get", "theirs", "", "--delete"],
    ["sync", "get", "", "site", "--delete"],
    ["sync", "put", "site", "", "--delete"],
    ["sync", "put", "", "site", "--delete"],
    ["sync", "put", "site", "b", "--exclude="],
    ["get", "-r", "", "site"],
    ["get", "-r", "theirs", ""],
    ["get", "theirs", ""],
    ["get", ""],
    ["put", "-r", "site", ""],
    ["put", "-r", ""],
    ["put", "mine", ""],
    ["put", "", "x"],
    ["put", "mine", "theirs", "--if-match", ""],
    ["put", "mine", "theirs", "--if-match="],
    ["rm", "-r", ""],
    ["rm", "-r", "nothing", ""],
    ["mv", "theirs", ""],
    ["mv", "", "x"],
    ["mkdir", ""],
    ["stat", ""],
    ["checksum", ""],
    ["dir", ""],
    ["partials", "--clear", ""],
    ["watch", ""],
    ["watch", "--get", "", "--delete", "theirs"],
    ["watch", "--get=", "theirs"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
async def test_command_line_with_an_empty_argument_is_wrong_usage(
    service: Service, words: list[str]
) -> None:
    command, *rest = words
    done = await run_program(command, *service.address, *rest, folder=service.local)
    assert done.code == 2 and "empty argument" in done.err and done.err.count("\n") == 1
    assert (service.root / "theirs").read_bytes() == b"theirs"
    assert (service.local / "mine").read_bytes() == b"mine"


async def test_no_server_is_needed_to_say_so(tmp_path: Path) -> None:
    done = await run_program("sync", "nowhere.invalid", "1", "get", "x", "", folder=tmp_path)
    assert done.code == 2


@pytest.mark.parametrize(
    "line",
    [
        'get ""',
        'get -r theirs ""',
        'put "" x',
        'put mine ""',
        'rm -r ""',
        'mv theirs ""',
        'mkdir ""',
        'cd ""',
    ],
)
async def test_line_of_the_shell_with_an_empty_name_is_wrong_usage(
    service: Service, line: str
) -> None:
    done = await run_program(
        "connect", *service.address, folder=service.local, stdin=f"{line}\n".encode()
    )
    assert done.code == 2 and "empty name" in done.err
    assert [path.name for path in service.root.iterdir()] == ["theirs"]


async def test_library_refuses_empty_names_where_it_would_remove(service: Service) -> None:
    options = TreeOptions(delete=True)
    async with service.client() as client:
        with pytest.raises(NameRefused):
            await client.put_tree(service.local / "site", "", options=options)
        with pytest.raises(NameRefused):
            await client.put_tree("", "b")
        with pytest.raises(NameRefused):
            await client.get_tree("", service.local, options=options)
        with pytest.raises(NameRefused):
            await client.get_tree("/", "")
        with pytest.raises(NameRefused):
            await client.get_matching("*", "")
        with pytest.raises(NameRefused):
            await client.remove("", recursive=True)
        with pytest.raises(NameRefused):
            await client.rename("", "x")
    assert (service.root / "theirs").exists() and (service.local / "mine").exists()


async def test_the_whole_is_meant_when_it_is_said(service: Service) -> None:
    done = await run_program(
        "sync", *service.address, "put", "site", "/", "--delete", folder=service.local
    )
    assert done.code == 0 and list(service.root.iterdir()) == []
    (service.root / "theirs").write_bytes(b"theirs")
    done = await run_program("sync", *service.address, "get", "/", ".", folder=service.local)
    assert done.code == 0 and (service.local / "theirs").exists()
