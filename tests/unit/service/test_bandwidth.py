"""Which buckets a session takes from."""

from __future__ import annotations

from ftransfer.auth.permissions import ANYONE, Allowance, Principal
from ftransfer.service.bandwidth import Bandwidth, BandwidthLimits, Throttle


def rates_of(throttle: Throttle) -> list[float | None]:
    return [bucket.rate for bucket in throttle.buckets]


async def test_without_bounds_no_session_is_throttled() -> None:
    assert not Bandwidth().throttle(ANYONE, "192.0.2.1").is_on


async def test_sessions_share_the_buckets_of_all_and_of_their_user_and_have_one_of_their_own() -> (
    None
):
    rates = Bandwidth(BandwidthLimits(100, 50, 20))
    first, second, other = [
        rates.throttle(Principal(name, ()), "192.0.2.1") for name in ("ann", "ann", "bob")
    ]
    assert rates_of(first) == [100, 50, 20]
    assert first.buckets[0] is other.buckets[0]
    assert first.buckets[1] is second.buckets[1] is not other.buckets[1]
    assert first.buckets[2] is not second.buckets[2]


async def test_those_without_a_name_count_by_their_source() -> None:
    rates = Bandwidth(BandwidthLimits(each_user=50))
    here, there, too = [
        rates.throttle(ANYONE, source) for source in ("192.0.2.1", "192.0.2.2", "192.0.2.1")
    ]
    assert here.buckets[1] is too.buckets[1] is not there.buckets[1]


async def test_allowance_of_a_user_comes_first_and_stays_when_bounds_change() -> None:
    rates = Bandwidth(BandwidthLimits(100, 50, 20))
    ann = rates.throttle(Principal("ann", (), allowance=Allowance(rate=70)), "192.0.2.1")
    bob = rates.throttle(Principal("bob", ()), "192.0.2.1")
    rates.set_limits(BandwidthLimits(None, 10, 5))
    assert rates_of(ann) == [None, 70, 5] and rates_of(bob) == [None, 10, 5]


async def test_allowance_that_a_user_has_no_more_gives_way_to_that_of_all_users() -> None:
    rates = Bandwidth(BandwidthLimits(100, 50, 20))
    before = rates.throttle(Principal("ann", (), allowance=Allowance(rate=70)), "192.0.2.1")
    after = rates.throttle(Principal("ann", ()), "192.0.2.1")
    assert rates_of(before) == rates_of(after) == [100, 50, 20]
