"""One spelling for each address."""

from __future__ import annotations

import pytest

from ftransfer.addresses import canonical_address, canonical_host

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
