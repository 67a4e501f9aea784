"""Records of running servers: found by address while the server runs, and never after."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftransfer.auth.running_servers import Registration, RunningServer, find_running

LOCAL = "127.0.0.1"
Start = Callable[..., RunningServer]


def server_on(
    *addresses: tuple[str, int], token: str = "secret", fingerprint: str = ""
) -> RunningServer:
    return RunningServer(list(addresses), fingerprint, token)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Register a server; it ends with the test."""
    registrations = []

    def run(*addresses: tuple[str, int], **options: str) -> RunningServer:
        registrations.append(Registration.open(tmp_path))
        registrations[-1].publish(server := server_on(*addresses, **options))
        return server

    yield run
    for registration in registrations:
        registration.close()


def records(state: Path) -> list[Path]:
    return list((state / "running").iterdir())


def find(
    state: Path, host: str = LOCAL, port: int = 9021, own_host: str = LOCAL
) -> RunningServer | None:
    return find_running(state, host, port, own_host)


def test_nothing_is_found_where_no_server_has_run(tmp_path: Path) -> None:
    assert find(tmp_path) is None


def test_each_of_several_servers_is_found_by_its_address(tmp_path: Path, start: Start) -> None:
    one = start((LOCAL, 9021), token="one")
    two = start((LOCAL, 9022), ("::1", 9022), token="two", fingerprint="SHA256:x")
    three = start(("127.0.0.2", 9021), token="three")
    assert find(tmp_path) == one
    assert find(tmp_path, port=9022) == find(tmp_path, "::1", 9022, "::1") == two
    assert find(tmp_path, "127.0.0.2") == three
    assert find(tmp_path, port=9023) is None and find(tmp_path, "127.0.0.3") is None


@pytest.mark.parametrize("any_address", ["0.0.0.0", "::"])
def test_server_on_all_addresses_is_found_by_those_of_this_machine(
    tmp_path: Path, start: Start, any_address: str
) -> None:
    server = start((any_address, 9021))
    assert find(tmp_path) == find(tmp_path, "192.0.2.7", own_host="192.0.2.7") == server
    assert find(tmp_path, "192.0.2.7", own_host="192.0.2.8") is None


def test_only_the_owner_may_read_a_record(tmp_path: Path, start: Start) -> None:
    start((LOCAL, 9021))
    (record,) = records(tmp_path)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_record_ends_with_its_server(tmp_path: Path) -> None:
    registration = Registration.open(tmp_path)
    registration.publish(server_on((LOCAL, 9021)))
    registration.close()
    assert find(tmp_path) is None and records(tmp_path) == []


def test_record_of_a_killed_server_is_out_of_date_and_goes_with_the_next_start(
    tmp_path: Path, start: Start
) -> None:
    code = """
import os, sys
from pathlib import Path
from ftransfer.auth.running_servers import Registration, RunningServer
registration = Registration.open(Path(sys.argv[1]))
registration.publish(RunningServer([("127.0.0.1", 9021)], "", "old"))
os.kill(os.getpid(), 9)
"""
    subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=False, cwd=Path(__file__).parents[3]
    )
    (left,) = records(tmp_path)
    assert b"old" in left.read_bytes() and find(tmp_path) is None
    start((LOCAL, 9021), token="new")
    assert not left.exists() and (found := find(tmp_path)) is not None and found.token == "new"


def test_new_record_replaces_what_was_said_before(tmp_path: Path) -> None:
    registration = Registration.open(tmp_path)
    registration.publish(server_on((LOCAL, 9021), fingerprint="SHA256:a-longer-one"))
    registration.publish(server := server_on((LOCAL, 9021)))
    assert find(tmp_path) == server
    registration.close()


def test_record_from_another_machine_does_not_count(tmp_path: Path, start: Start) -> None:
    start((LOCAL, 9021))
    (record,) = records(tmp_path)
    said = json.loads(record.read_text())
    record.write_text(json.dumps({**said, "where": f"{socket.gethostname()}-2"}))
    assert find(tmp_path) is None
    record.write_text(json.dumps(said))
    assert find(tmp_path) is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"where": 1}', '{"addresses": 5}', "\\xff", "[" * 60_000]
)
def test_what_is_no_record_is_passed_over(tmp_path: Path, start: Start, text: str) -> None:
    first, second = start((LOCAL, 9021)), start((LOCAL, 9022))
    for record in records(tmp_path):
        if str(first.addresses[0][1]) in record.read_text():
            record.write_text(text)
    assert find(tmp_path) is None and find(tmp_path, port=9022) == second


def test_links_and_folders_are_passed_over(tmp_path: Path, start: Start) -> None:
    server = start((LOCAL, 9021))
    (tmp_path / "running" / "folder").mkdir()
    (tmp_path / "running" / "link").symlink_to(records(tmp_path)[0])
    assert find(tmp_path) == server
    start((LOCAL, 9022))  # which looks for what is out of date
    assert find(tmp_path) == server


def test_no_secret_is_shown_in_a_trace() -> None:
    assert "secret" not in repr(server_on((LOCAL, 9021)))
