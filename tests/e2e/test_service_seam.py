"""A second gateway beside the native one: one service, whatever the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ftransfer.auth.admission import Admission
from ftransfer.auth.passwords import hash_password
from ftransfer.auth.permissions import Allowance, Grant, parse_rights
from ftransfer.auth.users import User
from ftransfer.digest import digest_of
from ftransfer.errors import (
    AlreadyThere,
    Busy,
    Closed,
    DigestMismatch,
    Forbidden,
    NotAuthorised,
    NotFound,
    QuotaFull,
)
from ftransfer.limits import Limits
from ftransfer.names import ROOT
from ftransfer.protocol.live import CREATED, MOVED, Person
from ftransfer.service.audit import Audit
from ftransfer.service.bandwidth import BandwidthLimits
from ftransfer.service.operation import Operation
from ftransfer.service.quota_limits import QuotaLimits
from ftransfer.service.service import EndedOperation
from ftransfer.service.upload import Upload
from ftransfer.storage.base import UploadSpec
from tests.e2e.test_people import Ear
from tests.e2e.test_watch import Eye
from tests.support.service import Service, serve
from tests.support.tiny_gateway import PROTOCOL, TinyClient, tiny_client

PASSWORD = "a long enough password"
ANN = User("ann", hash_password(PASSWORD), (Grant(ROOT, parse_rights("all")),))
LONG_AGO_NS = 1_600_000_000_000_000_000


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serve(tmp_path) as service:
        yield service


@pytest.fixture
async def tiny(service: Service) -> AsyncIterator[TinyClient]:
    async with tiny_client(service.server.service) as client:
        yield client


async def test_content_passes_between_the_gateways(service: Service, tiny: TinyClient) -> None:
    data = bytes(range(256)) * 1000
    async with service.client() as client:
        receipt = await tiny.put("a", data, digest=digest_of(data))
        assert (receipt.entry.size, receipt.digest) == (len(data), digest_of(data))
        await client.get("a", service.local)
        assert (service.local / "a").read_bytes() == data
        (service.local / "b").write_bytes(b"native")
        await client.put(service.local / "b")
        assert await tiny.get("b") == b"native"


async def test_who_shows_both_with_what_they_do(service: Service, tiny: TinyClient) -> None:
    async with service.client(name="bob") as bob:
        async with (
            Operation(tiny.session, "put", "slow.bin") as operation,
            await Upload.begin(operation, UploadSpec(size=400)) as upload,
        ):
            await upload.take(bytes(100))
            activity = (await bob.who())[0].activity
            assert activity is not None
            assert (activity.verb, activity.name, activity.moved, activity.total) == (
                "put",
                "slow.bin",
                100,
                400,
            )
        people = await bob.who()
        assert [presence.person.session for presence in people] == [1, 2]
        assert [presence.address for presence in people][:1] == ["192.0.2.1"]
        assert people[0].activity is None
    seen = list(tiny.session.hub.presences(tiny.session.participant))
    assert [presence.is_you for presence in seen][0]


async def test_each_is_told_of_the_changes_of_the_other(service: Service, tiny: TinyClient) -> None:
    await tiny.watch()
    async with service.client(name="bob") as bob, Eye(bob) as eye:
        await tiny.put("small.txt", b"x" * 73)
        change = await eye.change()
        assert (change.what, change.name, change.size) == (CREATED, "small.txt", 73)
        assert change.person == Person(1, "", False)
        assert (await tiny.event())["name"] == "small.txt"
        await tiny.move("small.txt", "other.txt")
        change = await eye.change()
        assert (change.what, change.old, change.name) == (MOVED, "small.txt", "other.txt")
        assert (await tiny.event())["change"] == MOVED
        (service.local / "native").write_bytes(b"1")
        await bob.put(service.local / "native")
        assert (await eye.change()).name == "native"
        event = await tiny.event()
        assert (event["event"], event["change"], event["name"]) == ("change", CREATED, "native")
        assert event["by"]["session"] == 2 and tiny.events.empty()


async def test_messages_go_both_ways_each_in_its_own_form(
    service: Service, tiny: TinyClient
) -> None:
    await tiny.listen()
    async with service.client(name="bob") as bob, Ear(bob) as ear:
        await tiny.say("from tiny")
        heard = await ear.next(lambda event: getattr(event, "text", "") == "from tiny")
        assert getattr(heard, "person", None) == Person(1, "", False)
        await bob.say("from native")
        while (event := await tiny.event()).get("text") is None:
            pass
        assert (event["text"], event["session"]) == ("from native", 2)


async def test_records_of_both_are_in_one_audit(tmp_path: Path) -> None:
    audit = Audit.open(str(tmp_path / "audit.log"), lambda: 0.0)
    async with serve(tmp_path, audit=audit) as service, service.client() as client:
        async with tiny_client(service.server.service) as tiny:
            await tiny.put("a", b"12345")
            await tiny.copy("a", "b")
            await tiny.move("a", "c")
            with pytest.raises(NotFound):
                await tiny.get("a")
            await client.mkdir("d")
    assert audit.flush(5)
    audit.close()
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    kept = ("event", "session", "via", "name", "to", "bytes", "digest", "result")
    records = [tuple(line.get(key) for key in kept) for line in lines]
    digest = digest_of(b"12345")
    assert records == [
        ("put", 2, PROTOCOL, "a", None, 5, digest, "ok"),
        ("copy", 2, PROTOCOL, "a", "b", 5, digest, "ok"),
        ("mv", 2, PROTOCOL, "a", "c", None, None, "ok"),
        ("get", 2, PROTOCOL, "a", None, 0, None, "not_found"),
        ("mkdir", 1, None, "d", None, None, None, "ok"),
    ]


async def test_one_quota_holds_for_both(tmp_path: Path) -> None:
    limits = QuotaLimits(all=Allowance(quota_bytes=1000))
    async with serve(tmp_path, quota_limits=limits) as service, service.client() as client:
        async with tiny_client(service.server.service) as tiny:
            (service.local / "a").write_bytes(bytes(600))
            await client.put(service.local / "a")
            with pytest.raises(QuotaFull):
                await tiny.put("b", bytes(500))
            await tiny.put("b", bytes(300))
            (service.local / "c").write_bytes(bytes(200))
            with pytest.raises(QuotaFull):
                await client.put(service.local / "c")


async def test_one_bandwidth_is_shared_by_both(tmp_path: Path) -> None:
    rate, size = 1 << 20, 1 << 19
    async with (
        serve(tmp_path, bandwidth=BandwidthLimits(all=rate)) as service,
        service.client() as client,
    ):
        (service.local / "a").write_bytes(bytes(size))
        clock = asyncio.get_running_loop().time
        async with tiny_client(service.server.service) as tiny:
            began = clock()
            await asyncio.gather(tiny.put("b", bytes(size)), client.put(service.local / "a"))
            # Each of them alone would take half of that; a tenth of a second is a burst
            assert clock() - began > 2 * size / rate - 0.2


async def test_sessions_of_one_user_share_the_rate_of_the_user(tmp_path: Path) -> None:
    admission = Admission(users={"ann": ANN})
    async with serve(tmp_path, admission=admission) as service:
        async with (
            tiny_client(service.server.service) as one,
            tiny_client(service.server.service, "192.0.2.2") as other,
        ):
            everybody, _, _ = one.session.pace.buckets
            await one.log_in("ann", PASSWORD)
            await other.log_in("ann", PASSWORD)
            assert one.session.pace.buckets[0] is everybody
            assert one.session.pace.buckets[1] is other.session.pace.buckets[1]
            assert one.session.pace.buckets[2] is not other.session.pace.buckets[2]


async def test_offences_at_one_gateway_are_held_against_a_source_at_the_other(
    tmp_path: Path,
) -> None:
    async with serve(tmp_path, admission=Admission(token="right")) as service:
        limiter = service.server.service.limiter
        async with tiny_client(service.server.service, "127.0.0.1") as tiny:
            while limiter.refusal("127.0.0.1") is None:
                with pytest.raises(NotAuthorised):
                    await tiny.log_in("", "wrong")
        with pytest.raises(Busy, match="too many failures from your address"):
            async with service.client():
                pass
        with pytest.raises(Busy):
            async with tiny_client(service.server.service, "127.0.0.1"):
                pass


async def test_connections_of_a_source_are_counted_together(tmp_path: Path) -> None:
    limits = Limits(max_source_sessions=1)
    async with serve(tmp_path, limits=limits) as service, service.client():
        with pytest.raises(Busy):
            async with tiny_client(service.server.service, "127.0.0.1"):
                pass
        async with tiny_client(service.server.service, "192.0.2.9") as tiny:
            await tiny.put("a", b"1")


async def test_a_digest_that_one_computed_answers_the_other(tmp_path: Path) -> None:
    # A budget that the first file uses up: any other would wait for years
    limits = Limits(checksum_rate_bytes=1, checksum_burst_s=1)
    async with serve(tmp_path, limits=limits) as service, service.client() as client:
        async with tiny_client(service.server.service, "127.0.0.1") as tiny:
            await tiny.put("a", b"12345", mtime_ns=LONG_AGO_NS)
            (service.root / "b").write_bytes(bytes(100_000))
            await tiny.checksum("b")
            async with asyncio.timeout(30):
                assert (await client.checksum("a")).digest == digest_of(b"12345")


async def test_a_login_gives_its_name_and_its_rights(tmp_path: Path) -> None:
    reader = User("ann", ANN.password, (Grant(ROOT, parse_rights("read")),))
    admission = Admission(token="right", users={"ann": reader})
    async with serve(tmp_path, admission=admission) as service:
        async with tiny_client(service.server.service) as tiny:
            with pytest.raises(NotFound):
                await tiny.put("a", b"1")
            await tiny.log_in("ann", PASSWORD)
            with pytest.raises(Forbidden):
                await tiny.put("a", b"1")
            admission.replace_users({"ann": ANN})
            await asyncio.sleep(0)
            await tiny.put("a", b"1")
            admission.replace_users({})
            await asyncio.sleep(0)
            assert tiny.was_ended


async def test_a_put_that_breaks_off_is_resumed_and_a_wrong_one_is_dropped(
    service: Service, tiny: TinyClient
) -> None:
    data = bytes(100_000)
    spec: dict[str, Any] = {"source": "upload-1", "mtime_ns": LONG_AGO_NS}
    with pytest.raises(Closed):
        async with (
            Operation(tiny.session, "put", "a") as operation,
            await Upload.begin(operation, UploadSpec(size=len(data), **spec)) as upload,
        ):
            await upload.take(data[:60_000])
            raise Closed("the connection broke")
    assert not (service.root / "a").exists()
    receipt = await tiny.put("a", data, digest=digest_of(data), **spec)
    assert receipt.resumed_bytes == 60_000 and (service.root / "a").read_bytes() == data
    with pytest.raises(DigestMismatch):
        await tiny.put("b", data, digest=digest_of(b"other"), **spec)
    assert not (service.root / "b").exists()
    assert await service.server.service.share.store.partials() == []


async def test_a_copy_is_verified_announced_and_does_not_replace(
    service: Service, tiny: TinyClient
) -> None:
    await tiny.put("a", b"12345", mtime_ns=LONG_AGO_NS, mode=0o600)
    async with service.client(name="bob") as bob, Eye(bob) as eye:
        receipt = await tiny.copy("a", "b")
        change = await eye.change()
        assert (change.what, change.name, change.size) == (CREATED, "b", 5)
        with pytest.raises(AlreadyThere):
            await tiny.copy("a", "b")
    stat = (service.root / "b").stat()
    assert (service.root / "b").read_bytes() == b"12345"
    assert (stat.st_mtime_ns, stat.st_mode & 0o777) == (LONG_AGO_NS, 0o600)
    assert receipt.digest == digest_of(b"12345")


class Counter:
    """An Observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int, str]] = []

    def note_operation(self, protocol: str, operation: EndedOperation) -> None:
        assert operation.duration_s >= 0
        self.seen.append((protocol, operation.verb, operation.moved, operation.result))


async def test_an_observer_sees_the_operations_of_all(tmp_path: Path) -> None:
    counter = Counter()
    async with serve(tmp_path, observer=counter) as service, service.client() as client:
        async with tiny_client(service.server.service) as tiny:
            await tiny.put("a", b"12345")
            with pytest.raises(NotFound):
                await tiny.get("b")
            await client.get("a", service.local)
            await client.help()
    seen = [each for each in counter.seen if each[1] in ("put", "get")]
    assert seen == [
        (PROTOCOL, "put", 5, "ok"),
        (PROTOCOL, "get", 0, "not_found"),
        ("native", "get", 5, "ok"),
    ]


async def test_nothing_is_left_of_a_session_that_has_ended(service: Service) -> None:
    shared = service.server.service
    async with tiny_client(shared) as tiny:
        await tiny.listen()
        await tiny.watch()
        assert len(shared.sessions) == 1
    assert not shared.sessions
    async with service.client(name="bob") as bob:
        assert [presence.person.name for presence in await bob.who()] == ["bob"]
