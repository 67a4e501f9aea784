"""get and put of several names: each under its own name, each failure told, the others done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.digest import digest_of
from tests.support.programs import Done, run_program
from tests.support.service import Service, serve


@pytest.fixture(name="service")
async def make_service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        for name in ("a.csv", "b.csv", "c.csv"):
            (service.local / name).write_text(name)
        yield service


async def run(service: Service, verb: str, *words: str) -> Done:
    return await run_program(verb, *service.address, *words, folder=service.local)


def content(folder: Path) -> dict[str, str]:
    """Return the content of a folder, by name relative to it."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".ftransfer" not in str(path))
    return {str(path.relative_to(folder)): path.read_text() for path in found}


@pytest.mark.parametrize(
    "names", [["a.csv", "b.csv"], ["a.csv", "b.csv", "c.csv"], ["./c.csv", "a.csv"]]
)
async def test_files_that_are_here_are_each_put_under_their_own_name(
    service: Service, names: list[str]
) -> None:
    done = await run(service, "put", *names)
    assert (done.code, done.err) == (0, "")
    own = [name.removeprefix("./") for name in names]
    assert [line.split()[1] for line in done.text.splitlines()] == [f"{name}:" for name in own]
    assert content(service.root) == {name: name for name in own}


@pytest.mark.parametrize("folder", ["in", "in/", "/in"])
async def test_files_are_put_into_the_folder_named_last(service: Service, folder: str) -> None:
    (service.root / "in").mkdir()
    assert (await run(service, "put", "a.csv", "b.csv", folder)).code == 0
    assert content(service.root) == {"in/a.csv": "a.csv", "in/b.csv": "b.csv"}


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("in", "in: "),
        ("in/", "in: there is no such folder; mkdir -p in makes it"),
        ("file", "file: is a file"),
    ],
)
async def test_last_of_several_that_is_no_folder_takes_nothing(
    service: Service, last: str, says: str
) -> None:
    (service.root / "file").write_text("old")
    done = await run(service, "put", "a.csv", "b.csv", last)
    assert done.code == 1 and done.out == b"" and says in done.err
    assert content(service.root) == {"file": "old"}


async def test_one_file_takes_the_name_behind_it(service: Service) -> None:
    assert (await run(service, "put", "a.csv", "new.csv")).code == 0
    assert (await run(service, "put", "a.csv", "--as", "b.csv")).code == 0
    assert content(service.root) == {"new.csv": "a.csv", "b.csv": "a.csv"}


async def test_folder_of_that_name_is_put_and_moved_into(service: Service) -> None:
    (service.root / "in").mkdir()
    assert "stored a.csv as in/a.csv" in (await run(service, "put", "a.csv", "in")).text
    (service.root / "b").write_text("b")
    assert (await run(service, "mv", "b", "in")).text == "moved b to in/b\n"
    assert content(service.root) == {"in/a.csv": "a.csv", "in/b": "b"}


async def test_folder_here_is_never_the_name_of_a_file(service: Service) -> None:
    (service.local / "photos").mkdir()  # as `put *` has it
    done = await run(service, "put", "a.csv", "photos")
    assert done.code == 1 and done.err.startswith("ftransfer: photos: ")
    assert content(service.root) == {}


async def test_each_failure_is_told_and_the_others_go_on(service: Service) -> None:
    done = await run(service, "put", "a.csv", "missing.csv", "b.csv")
    assert done.code == 1
    assert done.err.splitlines() == [
        "ftransfer: missing.csv: No such file or directory; check the path on this machine",
        "ftransfer: 1 of 3 names failed",
    ]
    assert content(service.root) == {"a.csv": "a.csv", "b.csv": "b.csv"}


async def test_each_has_a_record(service: Service) -> None:
    done = await run(service, "put", "--json", "a.csv", "missing.csv", "b.csv")
    records = [json.loads(line) for line in done.text.splitlines()]
    assert done.code == 1 and [record["name"] for record in records] == [
        "a.csv",
        "missing.csv",
        "b.csv",
    ]
    assert [record.get("digest") for record in records] == [
        digest_of(b"a.csv"),
        None,
        digest_of(b"b.csv"),
    ]
    assert records[1]["did"] == "failed" and records[1]["error"]["code"] == "os_error"


async def test_folders_and_files_are_put_together(service: Service) -> None:
    (service.local / "photos").mkdir()
    (service.local / "photos" / "x.jpg").write_text("x")
    (service.root / "in").mkdir()
    assert (await run(service, "put", "-r", "photos", "a.csv", "in")).code == 0
    assert content(service.root) == {"in/photos/x.jpg": "x", "in/a.csv": "a.csv"}


async def test_two_folders_that_are_here_are_two_folders_there(service: Service) -> None:
    for name in ("one", "two"):
        (service.local / name).mkdir()
        (service.local / name / "x").write_text(name)
    assert (await run(service, "put", "-r", "one", "two")).code == 0
    assert content(service.root) == {"one/x": "one", "two/x": "two"}


async def test_get_of_several(service: Service) -> None:
    for name in ("x", "y", "sub/z.log"):
        (service.root / name).parent.mkdir(exist_ok=True)
        (service.root / name).write_text(name)
    here = service.local / "here"
    here.mkdir()
    done = await run(service, "get", "x", "nothing", "sub/*.log", "y", "here")
    assert (done.code, content(here)) == (1, {"x": "x", "y": "y", "z.log": "sub/z.log"})
    assert done.err.splitlines()[-1] == "ftransfer: 1 of 4 names failed"
    records = [
        json.loads(line)
        for line in (await run(service, "get", "--json", "x", "nothing", "here")).text.splitlines()
    ]
    assert [(record["name"], record.get("did")) for record in records] == [
        ("x", None),
        ("nothing", "failed"),
    ]


async def test_get_of_several_never_writes_one_under_the_name_of_another(service: Service) -> None:
    for name in ("x", "y", "z"):
        (service.root / name).write_text(name)
    done = await run(service, "get", "x", "y", "z")
    assert done.code == 2 and "z: not a local folder" in done.err
    assert not (service.local / "z").exists()
