"""A client against a server that lies about names: nothing outside the destination changes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from ftransfer.client.client import connect
from ftransfer.client.retry import NO_RETRY
from ftransfer.client.trees.options import TreeOptions
from ftransfer.digest import digest_of
from ftransfer.errors import FtransferError
from ftransfer.limits import Limits
from tests.proofs.test_every_name import ALPHABET, strings
from tests.support.canary import Canary
from tests.support.service import fake_server, frame

HELLO = frame(b"H", b'{"protocol":1}')
LIMITS = Limits(close_s=0.05)


def destination(tmp_path: Path) -> Path:
    dest = tmp_path / "dest"
    dest.mkdir(exist_ok=True)
    (dest / "x").touch()
    for name, target in (("a", "../outside"), ("secret", "../outside/secret")):
        if not (dest / name).is_symlink():
            with contextlib.suppress(OSError):
                (dest / name).unlink(missing_ok=True)
                (dest / name).symlink_to(target)
    return dest


def item(name: str, kind: str = "file", **more: object) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "size": 1,
        "mtime_ns": 1,
        "mode": 420,
        "digest": digest_of(b"x"),
        **more,
    }


def pack(*items: dict[str, object]) -> bytes:
    head = json.dumps(items).encode()
    return frame(
        b"P",
        len(head).to_bytes(4, "big") + head + b"x" * sum(each["kind"] == "file" for each in items),
    )


def listing(*items: dict[str, object]) -> bytes:
    return frame(b"L", json.dumps(items).encode()) + frame(
        b"R", json.dumps({"entries": len(items)}).encode()
    )


def packed(*items: dict[str, object]) -> bytes:
    """An answer to mget whose numbers are right: what else is wrong must be noticed."""
    said = {"sent": len(items), "failed": 0, "bytes": sum(each["kind"] == "file" for each in items)}
    return pack(*items) + frame(b"R", json.dumps(said).encode())


async def get_tree(said: bytes, dest: Path, options: TreeOptions | None = None) -> None:
    async with fake_server(said, then_close=True) as address:
        with contextlib.suppress(FtransferError):
            async with connect(*address, retry=NO_RETRY, limits=LIMITS) as client:
                await client.get_tree("t", dest, options=options or TreeOptions())


async def get_matching(said: bytes, dest: Path) -> None:
    async with fake_server(said, then_close=True) as address:
        with contextlib.suppress(FtransferError):
            async with connect(*address, retry=NO_RETRY, limits=LIMITS) as client:
                await client.get_matching("t/**", dest)


def everything(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()}


FORMS = ("fresh", "packed", "listed", "link", "folder", "matching")


async def meet(form: str, text: str, tmp_path: Path) -> None:
    """Make a server send a name where one is expected."""
    dest, name = destination(tmp_path), f"t/{text}"
    match form:
        case "fresh":
            await get_tree(HELLO + packed(item(name)), dest / "fresh")
        case "packed":
            await get_tree(HELLO + listing(item(name)) + packed(item(name)), dest)
        case "listed":
            await get_tree(
                HELLO
                + listing(item(name, "dir"), item(f"{name}/secret"))
                + packed(item(f"{name}/secret")),
                dest,
            )
        case "link":
            links = [item(name, "link", target="../outside"), item(f"{name}/secret")]
            await get_tree(
                HELLO + listing(*links) + packed(links[1]),
                dest,
                TreeOptions(links=True, delete=True),
            )
        case "folder":
            await get_tree(HELLO + listing(item(name, "dir")), dest, TreeOptions(delete=True))
        case "matching":
            await get_matching(HELLO + listing(item(name)) + packed(item(name)), dest)


@pytest.mark.parametrize("form", FORMS)
async def test_no_name_of_a_server_leads_out_of_the_destination(
    tmp_path: Path, outside: Canary, form: str
) -> None:
    for text in (
        *strings(ALPHABET, 1),
        "../../outside/secret",
        "../outside/new",
        "a/secret",
        "a/new",
        "a/folder/secret",
        "./a/x",
    ):
        await meet(form, text, tmp_path)
        outside.check(f"{form} with the name {text!r}")
    assert everything(tmp_path) == {"dest", "outside"}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", FORMS)
async def test_no_longer_name_of_a_server_leads_out(
    tmp_path: Path, outside: Canary, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 0
    for text in strings(ALPHABET, 2):
        await meet(form, text, tmp_path)
        outside.check(f"{form} with the name {text!r}")
        count += 1
    assert everything(tmp_path) == {"dest", "outside"}
    with capsys.disabled():
        print(f" {form}: {count:,} names", end="")  # noqa: T201  # the figures are what the long form is for


@pytest.mark.parametrize(
    "target", ["../outside", "/etc", "..", "../outside/secret", "a/../../outside", ".ftransfer", ""]
)
async def test_link_of_a_server_that_leads_out_is_not_made(
    tmp_path: Path, outside: Canary, target: str
) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "x").touch()
    link = item("t/link", "link", target=target)
    for options in (TreeOptions(links=True), TreeOptions()):
        await get_tree(HELLO + listing(link) + packed(link), dest, options)
        await get_tree(HELLO + packed(link), dest / "fresh", options)
    assert not [path for path in dest.rglob("*") if path.is_symlink()]


async def test_file_got_onto_a_planted_link_replaces_the_link(
    tmp_path: Path, outside: Canary
) -> None:
    """One file by name, where a link to outside exists: the link is replaced, its target stays."""
    dest = destination(tmp_path)
    meta = {
        "name": "secret",
        "size": 1,
        "mtime_ns": 1,
        "mode": 420,
        "identity": "i",
        "offset": 0,
        "length": 1,
    }
    payload = json.dumps(meta).encode()
    end = frame(
        b"E",
        json.dumps({"size": 1, "digest": digest_of(b"x"), "head": digest_of(payload)}).encode(),
    )
    said = HELLO + frame(b"M", payload) + frame(b"D", b"x") + end + frame(b"R", b'{"bytes":1}')
    async with (
        fake_server(said) as address,
        connect(*address, retry=NO_RETRY, limits=LIMITS) as client,
    ):
        await client.get("secret", dest)
    assert not (dest / "secret").is_symlink() and (dest / "secret").read_bytes() == b"x"
