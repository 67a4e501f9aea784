"""Addresses and networks that an owner names."""

from __future__ import annotations

import pytest

from ftransfer.service.networks import Networks


@pytest.mark.parametrize(
    ("host", "is_in"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("192.0.2.8", False),
        ("10.255.0.1", True),
        ("2001:db8::5", True),
        ("2001:db9::5", False),
        ("fe80::1%eth0", True),
        ("local", False),
        ("", False),
    ],
)
def test_what_is_in(host: str, is_in: bool) -> None:
    networks = Networks(["192.0.2.7", " 10.0.0.0/8 ", "2001:db8::/32", "fe80::1"])
    assert (host in networks) == is_in


def test_none() -> None:
    assert not Networks() and "192.0.2.7" not in Networks()


@pytest.mark.parametrize("text", ["", "host", "10.0.0.0/33", "10.0.0"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="is no address or network; write for example"):
        Networks([text])
