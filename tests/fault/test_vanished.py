"""A peer whose machine vanishes: its cable is pulled, in network namespaces of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
VANISH_S = 4.0

# Sends a line, reads the hello, reports it, and then does nothing.
CLIENT = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.sendall(sys.argv[3].encode() + b"\\n")
while b"R" not in sock.recv(65536): pass
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cable() -> Iterator[tuple[str, str]]:
    """Yield the names of two namespaces with a cable between them.

    192.0.2.1 is the server's end, for documentation only.
    """
    server, client = f"fts{os.getpid()}", f"ftc{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", server], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("cannot make network namespaces here")
    try:
        run("ip", "netns", "add", client)
        run(
            "ip",
            "-n",
            server,
            "link",
            "add",
            "v0",
            "type",
            "veth",
            "peer",
            "name",
            "v1",
            "netns",
            client,
        )
        for name, link, address in ((server, "v0", "192.0.2.1/24"), (client, "v1", "192.0.2.2/24")):
            run("ip", "-n", name, "addr", "add", address, "dev", link)
            run("ip", "-n", name, "link", "set", link, "up")
        yield server, client
    finally:
        for name in (server, client):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def start(namespace: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.root
@pytest.mark.parametrize("line", ["help", "listen"], ids=["nothing under way", "events under way"])
def test_a_peer_whose_cable_is_pulled_is_noticed_in_time(cable: tuple[str, str], line: str) -> None:
    with start(cable[0], "-m", "tests.support.vanishing", "192.0.2.1", str(VANISH_S)) as server:
        assert server.stdout is not None and server.stdin is not None
        port = server.stdout.readline().split()[-1]
        with start(cable[1], "-c", CLIENT, "192.0.2.1", port, line) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "there\n"
            run("ip", "-n", cable[1], "link", "set", "v1", "down")
            server.stdin.write("\n")
            server.stdin.flush()
            said = server.stdout.readline()
            client.kill()
        assert said.startswith("noticed after") and float(said.split()[-1]) <= VANISH_S + 1, said
