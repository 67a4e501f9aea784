"""The user of the process at the other end of a local connection.

The one as whom it accepted the connection, and nobody if nobody has it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from ftransfer.transport.peer_user import user_of_peer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked by netlink")
ANOTHER_USER = 54321
ADDRESSES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.fixture(params=ADDRESSES, ids=["ipv4", "ipv6"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, host = request.param
    with socket.create_server((host, 0), family=family) as server:
        yield server


def connected(server: socket.socket) -> socket.socket:
    return socket.create_connection(server.getsockname()[:2])


def test_our_own_process_is_ours(listening: socket.socket) -> None:
    with connected(listening) as client, listening.accept()[0] as accepted:
        assert user_of_peer(client) == user_of_peer(accepted) == os.geteuid()


def test_connection_that_nobody_has_accepted_is_nobodys(listening: socket.socket) -> None:
    with connected(listening) as client:
        assert user_of_peer(client) is None


def test_connection_that_was_closed_is_nobodys(listening: socket.socket) -> None:
    with connected(listening) as client:
        listening.accept()[0].close()
        assert user_of_peer(client) is None


_ACCEPT_AS = """
import os, socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
connection, _ = server.accept()
connection.sendall(b"!")
connection.recv(1)
"""


@pytest.mark.root
@pytest.mark.parametrize(("family", "host"), [*ADDRESSES, (socket.AF_INET6, "::")])
def test_process_of_another_user_is_told_though_root_has_opened_the_port(
    family: socket.AddressFamily, host: str
) -> None:
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as server:
        os.set_inheritable(server.fileno(), True)
        words = [sys.executable, "-c", _ACCEPT_AS, str(server.fileno()), str(ANOTHER_USER)]
        with subprocess.Popen(words, pass_fds=[server.fileno()]):
            # To an address of IPv4 where the server has one of IPv6 only: the kernel knows that
            # both are the same.
            with socket.create_connection(
                ("127.0.0.1" if host == "::" else host, server.getsockname()[1])
            ) as client:
                assert client.recv(1) == b"!"
                assert user_of_peer(client) == ANOTHER_USER


def test_both_ends_of_a_pair_are_ours() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert user_of_peer(one) == os.geteuid()


def test_socket_that_is_not_connected_has_no_peer() -> None:
    with closing(socket.socket()) as unconnected:
        assert user_of_peer(unconnected) is None
