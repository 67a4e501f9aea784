"""Two machines, as two network namespaces: who may connect to a server without options."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.programs import Done, Running, run_program, start_server

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2"),
]


@dataclass
class TwoMachines:
    folder: Path
    here: str  # names of namespaces
    there: str

    def serve(self, *options: str) -> contextlib.AbstractAsyncContextManager[Running]:
        state = {"XDG_STATE_HOME": str(self.folder / "server-home")}
        return start_server(
            self.folder / "share",
            *options,
            environment=state,
            prefix=("ip", "netns", "exec", self.here),
        )

    async def run_there(
        self, *arguments: str, variables: dict[str, str] | None = None, stdin: bytes = b""
    ) -> Done:
        return await run_program(
            *arguments,
            folder=self.folder / "local",
            stdin=stdin,
            environment={"XDG_STATE_HOME": str(self.folder / "client-home"), **(variables or {})},
            prefix=("ip", "netns", "exec", self.there),
        )


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[TwoMachines]:
    tag = secrets.token_hex(3)
    here, there = f"ft-{tag}-a", f"ft-{tag}-b"
    (tmp_path / "share").mkdir()
    (tmp_path / "local").mkdir()
    (tmp_path / "share" / "a").write_bytes(b"content")
    try:
        for command in (
            f"ip netns add {here}",
            f"ip netns add {there}",
            f"ip link add v{tag}a netns {here} type veth peer name v{tag}b netns {there}",
            f"ip -n {here} addr add 10.99.7.1/24 dev v{tag}a",
            f"ip -n {there} addr add 10.99.7.2/24 dev v{tag}b",
            f"ip -n {here} link set v{tag}a up",
            f"ip -n {there} link set v{tag}b up",
            f"ip -n {here} link set lo up",
            f"ip -n {there} link set lo up",
        ):
            made = subprocess.run(command.split(), capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"namespaces cannot be made here: {made.stderr.strip()}")
        yield TwoMachines(tmp_path, here, there)
    finally:
        for name in (here, there):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


async def test_line_of_a_server_with_nothing_prepared_works_elsewhere(
    machines: TwoMachines,
) -> None:
    async with machines.serve("--host", "0.0.0.0") as server:
        token, words = await server.line_to_hand_on()
        assert (
            list(token) == ["FTRANSFER_TOKEN"]
            and words[:2] == ["login", "10.99.7.1"]
            and words[3] == "--fingerprint"
        )
        done = await machines.run_there(*words, stdin=token["FTRANSFER_TOKEN"].encode())
        assert done.code == 0, done.err
        done = await machines.run_there("connect", *words[1:3], stdin=b"get a\nput a b\n")
        assert done.code == 0, done.err
        assert (
            (machines.folder / "local" / "a").read_bytes()
            == (machines.folder / "share" / "b").read_bytes()
            == b"content"
        )


async def test_without_the_line_nothing_is_given(machines: TwoMachines) -> None:
    async with machines.serve("--host", "0.0.0.0") as server:
        token, words = await server.line_to_hand_on()
        address = words[1:3]
        other_key = [*words[1:4], "SHA256:" + "A" * 43]
        for line, variables, says in (
            (["get", *words[1:], "a"], {}, "wants a login; give the secret in FTRANSFER_TOKEN"),
            (["get", *words[1:], "a"], {"FTRANSFER_TOKEN": "guess"}, "does not accept this login"),
            (["get", *other_key, "a"], token, "shows the key"),
            (
                ["get", *address, "--plain", "a"],
                token,
                "is not spoken to in plain; leave out --plain",
            ),
        ):
            done = await machines.run_there(*line, variables=variables)
            assert (done.code, done.out) == (5, b""), done.err
            assert says in done.err and token["FTRANSFER_TOKEN"] not in done.err
        assert list((machines.folder / "local").iterdir()) == []
        server.process.terminate()
        await server.end()
        # In the line to hand on, and nowhere in the log
        assert server.err.count(token["FTRANSFER_TOKEN"]) == 1


async def test_another_key_behind_the_address_gets_nothing(machines: TwoMachines) -> None:
    async with machines.serve("--host", "0.0.0.0") as server:
        token, words = await server.line_to_hand_on()
        assert (await machines.run_there("dir", *words[1:], variables=token)).code == 0
        port = words[2]
    (machines.folder / "server-home" / "ftransfer" / "server.pem").unlink()
    async with machines.serve("--host", "0.0.0.0", "--port", port) as server:
        _, words = await server.line_to_hand_on()
        done = await machines.run_there("dir", *words[1:3], variables=token)
        assert (done.code, done.out) == (5, b"")
        assert "shows another key than before" in done.err and "--fingerprint" in done.err
        server.process.terminate()
        await server.end()
        # No secret was sent
        assert "logged in" not in server.err and "login failed" not in server.err


async def test_plain_server_elsewhere_is_not_spoken_to_in_plain(machines: TwoMachines) -> None:
    async with machines.serve(
        "--host", "10.99.7.1", "--tls", "off", "--anonymous", "read"
    ) as server:
        address = ("10.99.7.1", str(server.port))
        refused = await machines.run_there("dir", *address)
        assert (refused.code, refused.out) == (5, b"") and "does not answer in TLS" in refused.err
        assert (await machines.run_there("dir", *address, "--plain")).code == 0
