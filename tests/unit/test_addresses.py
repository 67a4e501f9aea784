"""One spelling for each address; and what counts as this machine: nothing that could be somebody
else.
"""

from __future__ import annotations

import pytest

from ftransfer.addresses import (
    canonical_address,
    canonical_host,
    format_address,
    is_loopback,
    listens_on_loopback_only,
)

SPELLINGS = [
    ["fd00:9::1", "FD00:9::1", "fd00:0009::1", "fd00:9:0:0:0:0:0:1", "fd00:9::0.0.0.1"],
    ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:0201", "192.0.513", "0xc0.0.2.1"],
    ["server.example", "Server.EXAMPLE", "server.example."],
    ["xn--bcher-kva.example", "b\u00fccher.example", "B\u00dcCHER.Example."],
    ["fe80::1%eth0", "FE80:0::1%eth0"],
]
DIFFERENT = [
    "localhost",
    "127.0.0.1",
    "::1",
    "fe80::1%eth0",
    "fe80::1%eth1",
    "fe80::1",
    "3com.example",
    "a..example",
    "a.example",
]


@pytest.mark.parametrize("spellings", SPELLINGS)
def test_spellings_of_one_host_become_one(spellings: list[str]) -> None:
    assert {canonical_host(spelling) for spelling in spellings} == {spellings[0]}


def test_different_hosts_stay_different() -> None:
    assert [canonical_host(host) for host in DIFFERENT] == DIFFERENT


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        ("[FD00:9::1]:9021", "[fd00:9::1]:9021"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1:1"),
        ("Server.Example.:9021", "server.example:9021"),
    ],
)
def test_port_stays(address: str, canonical: str) -> None:
    assert canonical_address(address) == canonical == canonical_address(canonical)


@pytest.mark.parametrize(
    "host", ["", ".", "\u00fc" * 80, "a b", "\udcff", "[::1]", "%", "1.2.3.4.5", "\0"]
)
def test_what_is_no_host_is_no_error(host: str) -> None:
    assert canonical_host(canonical_host(host)) == canonical_host(host)


@pytest.mark.parametrize(
    ("host", "text"),
    [("::1", "[::1]:9"), ("192.0.2.1", "192.0.2.1:9"), ("lab", "lab:9"), ("", ":9")],
)
def test_a_host_and_its_port(host: str, text: str) -> None:
    assert format_address(host, 9) == text


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_loopback(address: str) -> None:
    assert is_loopback(address) and listens_on_loopback_only(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "10.0.0.1",
        "128.0.0.1",
        "::",
        "0.0.0.0",
        "fe80::1",
        "::2",
        "::ffff:10.0.0.1",
        "2001:db8::/64",
    ],
)
def test_elsewhere(address: str) -> None:
    assert not is_loopback(address) and not listens_on_loopback_only(address)


@pytest.mark.parametrize(
    "name", ["127.evil.example", "127.0.0.1.example", "localhost", "local", "unknown"]
)
def test_a_name_is_no_address(name: str) -> None:
    assert not is_loopback(name)


def test_the_name_of_this_machine_for_itself() -> None:
    assert listens_on_loopback_only("localhost")
    assert not listens_on_loopback_only("no-such-host.invalid")
