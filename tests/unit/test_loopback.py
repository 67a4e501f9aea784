"""What counts as this machine: nothing that could be somebody else."""

from __future__ import annotations

import pytest

from ftransfer.loopback import is_loopback, listens_on_loopback_only


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_loopback(address: str) -> None:
    assert is_loopback(address) and listens_on_loopback_only(address)


@pytest.mark.parametrize(
    "address", ["", "10.0.0.1", "128.0.0.1", "::", "0.0.0.0", "fe80::1", "::2", "::ffff:10.0.0.1"]
)
def test_elsewhere(address: str) -> None:
    assert not is_loopback(address) and not listens_on_loopback_only(address)


@pytest.mark.parametrize("name", ["127.evil.example", "127.0.0.1.example", "localhost"])
def test_a_name_is_no_address(name: str) -> None:
    assert not is_loopback(name)


def test_the_name_of_this_machine_for_itself() -> None:
    assert listens_on_loopback_only("localhost")
    assert not listens_on_loopback_only("no-such-host.invalid")
