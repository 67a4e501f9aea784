"""Packs and lists of names as strangers send them: too many, too large, and by who may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blake3 import blake3

from ftransfer.auth.admission import Admission
from ftransfer.auth.permissions import Grant, Principal, parse_rights
from ftransfer.limits import Limits
from ftransfer.names import ROOT
from tests.support.service import frame, serve

FEW = Limits(max_items=3)


def pack(*names: str, content: bytes = b"") -> bytes:
    """A pack frame of files of one content, by hand."""
    count = len(names)
    digests = [blake3(content).hexdigest()] * count
    columns = {
        "name": names,
        "size": [len(content)] * count,
        "digest": digests,
        "mtime_ns": [0] * count,
        "mode": [0o644] * count,
    }
    index = json.dumps(columns).encode()
    return frame(b"P", len(index).to_bytes(4) + blake3(index).digest() + index + content * count)


def only(rights: str) -> Admission:
    return Admission(
        anonymous=Principal("", (Grant(ROOT, parse_rights(rights)),), is_anonymous=True)
    )


async def test_most_items_are_announced_and_kept(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=FEW) as service:
        async with service.client() as client:
            assert client.hello.limits["max_items"] == 3
        async with service.peer() as peer:
            await peer.send(b"mput\n" + pack("a", "b", "c") + frame(b"F"))
            assert (await peer.json())[0] == b"O"
            assert (await peer.json())[1]["stored"] == 3
        async with service.peer() as peer:
            await peer.send(b"mput\n" + pack("d", "e", "f", "g") + frame(b"F"))
            assert await peer.error() == "protocol"
            assert await peer.is_at_end()
        async with service.peer() as peer:
            await peer.send(b"mget\n" + frame(b"L", b'["a","b","c","d"]'))
            assert await peer.error() == "protocol"
            assert await peer.is_at_end()
        assert not (service.root / "d").exists()


async def test_our_client_keeps_to_the_most_items_of_a_server(tmp_path: Path) -> None:
    async with serve(tmp_path, limits=FEW) as service, service.client() as client:
        (service.local / "tree").mkdir()
        for number in range(10):
            (service.local / "tree" / f"{number}").write_bytes(b"x")
        assert (await client.put_tree(service.local / "tree", "tree")).copied == 10
        (service.local / "again").mkdir()
        (service.local / "again" / "0").touch()  # so that names are asked for
        assert (await client.get_tree("tree", service.local / "again")).failed == 0
        assert len(list((service.local / "again").iterdir())) == 10


@pytest.mark.parametrize(
    ("rights", "line", "sent", "code"),
    [
        ("read", b"mput\n", pack("a"), "forbidden"),
        ("drop-box", b"mget\n", frame(b"L", b'["a"]'), "forbidden"),
    ],
)
async def test_batch_of_whoever_may_do_nothing_of_it_is_refused_at_the_line(
    tmp_path: Path, rights: str, line: bytes, sent: bytes, code: str
) -> None:
    async with serve(tmp_path, admission=only(rights)) as service, service.peer() as peer:
        await peer.send(line)
        assert await peer.error() == code  # before anything has come
        await peer.send(sent + frame(b"F") + b"help\n")
        assert (await peer.json())[0] == b"R"
    assert not (service.root / "a").exists()


async def test_batch_is_refused_at_the_line_where_nothing_may_be_changed(tmp_path: Path) -> None:
    async with serve(tmp_path, read_only=True) as service, service.peer() as peer:
        await peer.send(b"mput\n")
        assert await peer.error() == "read_only"
