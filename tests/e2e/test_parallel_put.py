"""One file sent over several connections: receipt, resume and fencing as over one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.auth.passwords import hash_password
from ftransfer.auth.permissions import Allowance, Grant, parse_rights
from ftransfer.auth.users import User
from ftransfer.client.retry import RetryRules
from ftransfer.client.security import Security
from ftransfer.client.transfers.segments import SEGMENT_BYTES
from ftransfer.digest import digest_of
from ftransfer.errors import AlreadyThere, FtransferError, QuotaFull, SourceChanged, Superseded
from ftransfer.limits import Limits
from ftransfer.names import ROOT
from ftransfer.service.audit import Audit
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.transfer.records import Progress, Receipt
from tests.support.certificates import own_tls
from tests.support.growing import change_first_bytes
from tests.support.proxy import Fault, Faults, Proxy
from tests.support.service import RawPeer, Service, end_frame, frame, serve


@pytest.fixture(params=[True, False], ids=["direct", "streams"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path, direct=request.param) as service:
        yield service


@pytest.mark.parametrize("size", [0, 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 7 * SEGMENT_BYTES + 5])
@pytest.mark.parametrize("streams", [2, 5])
async def test_any_size_arrives(service: Service, size: int, streams: int) -> None:
    data = os.urandom(size)
    (service.local / "a").write_bytes(data)
    async with service.client() as client:
        receipt = await client.put(service.local / "a", streams=streams)
    assert (service.root / "a").read_bytes() == data
    assert (receipt.digest, receipt.size) == (digest_of(data), size)
    await service.all_gone()


async def test_cut_upload_is_gone_on_with(service: Service) -> None:
    data = os.urandom(20 * SEGMENT_BYTES)
    (service.local / "a").write_bytes(data)

    class Enough(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.done >= 8 * SEGMENT_BYTES:
            raise Enough

    async with service.client() as client:
        with pytest.raises(Enough):
            await client.put(service.local / "a", streams=3, progress=stop)
        assert not (service.root / "a").exists()
        await service.all_gone()
        [partial] = await client.partials()
        assert partial.kept >= 3 * SEGMENT_BYTES
        receipt = await client.put(service.local / "a", streams=3)
    assert receipt.kept == partial.kept
    assert (service.root / "a").read_bytes() == data


async def test_server_without_room_for_more_takes_it_over_what_it_gives(tmp_path: Path) -> None:
    for most in (3, 2, 1):
        async with serve(tmp_path, limits=Limits(max_sessions=most)) as service:
            data = os.urandom(9 * SEGMENT_BYTES)
            (service.local / "a").write_bytes(data)
            async with service.client() as client:
                await client.put(service.local / "a", f"a{most}", streams=8)
            assert (service.root / f"a{most}").read_bytes() == data
            await service.all_gone()


def large_file(service: Service, segments: int = 12) -> bytes:
    data = os.urandom(segments * SEGMENT_BYTES)
    (service.local / "a").write_bytes(data)
    return data


@pytest.mark.parametrize("position", [0, 3_000, 400_000])
async def test_stream_that_is_cut_leaves_its_part_to_the_others(
    service: Service, position: int
) -> None:
    data = large_file(service)
    faults = [
        Faults(),
        Faults(up=Fault(cut_at=position, reset=True)),
        Faults(up=Fault(cut_at=position + 5)),
    ]
    async with Proxy(service.address, faults) as proxy, service.client_at(proxy.address) as client:
        await client.put(service.local / "a", streams=4)
    assert (service.root / "a").read_bytes() == data


async def test_where_no_further_connection_can_be_made_one_does(service: Service) -> None:
    data = large_file(service)
    none = Faults(down=Fault(cut_at=0))
    async with (
        Proxy(service.address, [Faults(), none, none, none]) as proxy,
        service.client_at(proxy.address) as client,
    ):
        await client.put(service.local / "a", streams=3)
        assert (service.root / "a").read_bytes() == data
        assert len(proxy.passages) == 4


async def test_stream_that_stalls_does_not_hold_up_the_others(service: Service) -> None:
    data = large_file(service)
    faults = [Faults(), Faults(up=Fault(stall_at=100_000))]
    async with Proxy(service.address, faults) as proxy, service.client_at(proxy.address) as client:
        await client.put(service.local / "a", streams=3)
        assert (service.root / "a").read_bytes() == data
        proxy.release()


async def test_first_session_that_is_cut_is_made_again_and_goes_on(service: Service) -> None:
    data = large_file(service, 24)
    told: list[Progress] = []
    async with Proxy(service.address) as proxy:

        def cut_once(progress: Progress) -> None:
            if progress.done >= len(data) // 2 and not any(
                each.done >= len(data) // 2 for each in told
            ):
                proxy.passages[0].cut()
            told.append(progress)

        rules = RetryRules(tries=5, first_s=0.01, longest_s=0.05)
        async with service.client_at(proxy.address, retry=rules) as client:
            receipt = await client.put(service.local / "a", streams=3, progress=cut_once)
    assert receipt.kept > 0 and any(each.phase == "reconnect" for each in told)
    assert (service.root / "a").read_bytes() == data


async def test_content_that_is_spoiled_on_the_way_is_not_published(service: Service) -> None:
    large_file(service)
    (service.root / "a").write_bytes(b"old")
    faults = [Faults(), Faults(up=Fault(flip_at=20_000))]
    async with Proxy(service.address, faults) as proxy, service.client_at(proxy.address) as client:
        with pytest.raises(FtransferError, match="digest"):
            await client.put(service.local / "a", streams=2)
        assert (service.root / "a").read_bytes() == b"old"
        await client.put(service.local / "a", streams=2)
        assert (service.root / "a").read_bytes() == (service.local / "a").read_bytes()


async def test_newer_put_of_the_same_file_takes_over(service: Service) -> None:
    data = large_file(service, 24)
    others: list[asyncio.Task[Receipt]] = []

    async with service.client() as first, service.client() as second:

        def begin_another(progress: Progress) -> None:
            if progress.done >= len(data) // 3 and not others:
                others.append(asyncio.create_task(second.put(service.local / "a", streams=2)))

        outcomes: list[Any] = []
        try:
            outcomes.append(await first.put(service.local / "a", streams=2, progress=begin_another))
        except Superseded as error:
            outcomes.append(error)
        receipt = await others[0]
    assert receipt.digest == digest_of(data)
    assert (service.root / "a").read_bytes() == data


async def test_file_that_changes_meanwhile_is_not_published(service: Service) -> None:
    large_file(service, 24)

    def change(progress: Progress) -> None:
        if progress.done:
            change_first_bytes(service.local / "a")

    async with service.client() as client:
        with pytest.raises(SourceChanged):
            await client.put(service.local / "a", streams=2, progress=change)
        assert not (service.root / "a").exists()
        assert client.is_closed or await client.dir() == []


async def test_conditions_and_quotas_hold(tmp_path: Path) -> None:
    limits = QuotaLimits(all=Allowance(max_file_bytes=20 * SEGMENT_BYTES))
    async with serve(tmp_path, quota_limits=limits) as service, service.client() as client:
        large_file(service)
        (service.root / "a").write_bytes(b"old")
        with pytest.raises(AlreadyThere):
            await client.put(service.local / "a", streams=2, if_absent=True)
        await client.put(service.local / "a", streams=2, if_match=digest_of(b"old"))
        large_file(service, 21)
        with pytest.raises(QuotaFull):
            await client.put(service.local / "a", streams=2)


async def test_it_is_one_put_in_the_record(tmp_path: Path) -> None:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    async with serve(tmp_path, audit=audit) as service, service.client() as client:
        data = large_file(service)
        await client.put(service.local / "a", streams=3)
    audit.close()
    [record] = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert (record["event"], record["name"], record["bytes"], record["digest"]) == (
        "put",
        "a",
        len(data),
        digest_of(data),
    )


async def test_it_is_encrypted_and_logged_in_on_every_connection(tmp_path: Path) -> None:
    tls = own_tls(tmp_path)
    ann = User(
        "ann", await asyncio.to_thread(hash_password, "word"), (Grant(ROOT, parse_rights("all")),)
    )
    async with serve(tmp_path, tls=tls, admission=Admission(users={"ann": ann})) as service:
        data = large_file(service)
        way = Security(
            tls="on",
            state=tmp_path / "state",
            fingerprint=tls.fingerprint,
            user="ann",
            secret="word",
        )
        async with service.client(security=way) as client:
            await client.put(service.local / "a", streams=2)
        assert (service.root / "a").read_bytes() == data


# What the server says to those who speak the protocol by hand.


def part(name: str, word: str, offset: int, content: bytes, **options: Any) -> bytes:
    """A part as it should be; `options` makes it another."""
    values = {"upload": word, "offset": offset, "length": len(content), **options}
    line = f"part {json.dumps(name)} {json.dumps(values)}\n".encode()
    return line + frame(b"D", content) + end_frame(len(content), digest_of(content))


async def begin(peer: RawPeer, size: int = 10, name: str = "a") -> str:
    await peer.send(
        f'put "{name}" {{"size":{size},"source":"s","wait":true,"parts":true}}\n'.encode()
    )
    kind, meta = await peer.json()
    assert kind == b"M"
    return str(meta["upload"])


async def test_parts_that_cannot_be_are_refused_and_the_put_goes_on(service: Service) -> None:
    async with service.peer() as main, service.peer() as peer:
        word = await begin(main)
        for wrong, code in (
            (part("a", "guessed", 0, b"0123"), "not_found"),
            (part("b", word, 0, b"0123"), "not_found"),
            (part("../a", word, 0, b"0123"), "bad_name"),
            (part("a", word, 8, b"0123"), "bad_offset"),
            (part("a", word, 0, b""), "bad_offset"),
            (part("a", word, 0, b"0123", length=5), "size_mismatch"),
            (part("a", word, 0, b"0123", length=3), "size_mismatch"),
            (part("a", word, 0, b"0123").replace(b"0123", b"0124"), "digest_mismatch"),
        ):
            await peer.send(wrong)
            assert await peer.error() == code
        await peer.send(part("a", word, 4, b"456789"))
        assert await peer.json() == (b"R", {"bytes": 6})
        await peer.send(part("a", word, 3, b"34"))
        assert await peer.error() == "bad_offset"
        await peer.send(part("a", word, 0, b"0123") + b"dir\n")
        assert await peer.json() == (b"R", {"bytes": 4})
        assert await peer.json() == (b"R", {"entries": 0})
        await main.send(end_frame(10, digest_of(b"0123456789")))
        kind, receipt = await main.json()
        assert (kind, receipt["digest"]) == (b"R", digest_of(b"0123456789"))
        await peer.send(part("a", word, 0, b"0123"))
        assert await peer.error() == "not_found"
    assert (service.root / "a").read_bytes() == b"0123456789"


async def test_end_before_the_parts_is_an_error(service: Service) -> None:
    async with service.peer() as main, service.peer() as peer:
        word = await begin(main)
        await peer.send(part("a", word, 4, b"456789"))
        await peer.json()
        await main.send(end_frame(10, digest_of(b"0123456789")))
        assert await main.error() == "size_mismatch"
    assert not (service.root / "a").exists()


async def test_content_in_the_session_that_announced_parts_ends_it(service: Service) -> None:
    async with service.peer() as main:
        await begin(main)
        await main.send(frame(b"D") + frame(b"D", b"x"))
        assert await main.error() == "protocol"


async def test_part_under_way_is_fenced_when_a_newer_put_takes_over(service: Service) -> None:
    async with service.peer() as old, service.peer() as peer, service.peer() as new:
        word = await begin(old)
        await peer.send(part("a", word, 0, b"0123")[:-80])  # all of it but the end
        newer = await begin(new)
        assert newer != word
        await peer.send(part("a", word, 0, b"0123")[-80:])
        assert await peer.error() in ("superseded", "not_found")
        await new.send(b"")
        await peer.send(part("a", newer, 0, b"abcdefghij"))
        assert await peer.json() == (b"R", {"bytes": 10})
        await new.send(end_frame(10, digest_of(b"abcdefghij")))
        assert (await new.json())[0] == b"R"
    assert (service.root / "a").read_bytes() == b"abcdefghij"


async def test_word_is_worth_nothing_to_another_user_or_without_the_right(tmp_path: Path) -> None:
    hashed = await asyncio.to_thread(hash_password, "word")

    def user(name: str, rights: str) -> User:
        return User(name, hashed, (Grant(ROOT, parse_rights(rights)),))

    users = {
        each.name: each for each in (user("ann", "all"), user("ben", "all"), user("cat", "read"))
    }
    async with serve(tmp_path, admission=Admission(users=users)) as service, service.peer() as main:
        await main.send(b'login "ann" {"secret":"word"}\n')
        await main.json()
        word = await begin(main)
        for name, code in (("ben", "not_found"), ("cat", "forbidden")):
            async with service.peer() as peer:
                await peer.send(f'login "{name}" {{"secret":"word"}}\n'.encode())
                await peer.json()
                await peer.send(part("a", word, 0, b"0123456789"))
                assert await peer.error() == code
        async with service.peer() as peer:
            await peer.send(part("a", word, 0, b"0123456789"))
            assert await peer.error() == "not_authorised"


async def test_others_see_the_name_and_not_the_word(service: Service) -> None:
    async with service.peer() as main, service.peer() as peer, service.client() as client:
        word = await begin(main)
        await peer.send(part("a", word, 0, b"0123456789")[:-80])
        people = await client.who()
        while not any(
            each.activity is not None and each.activity.verb == "part" for each in people
        ):
            people = await client.who()
        assert word not in repr(people)
