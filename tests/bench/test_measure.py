"""Real processes, small ones."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from bench.measure import Command, Failed, listens, run_clients, running_server
from bench.setting import free_port


def python(code: str) -> Command:
    return Command((sys.executable, "-S", "-c", code))


def test_cpu_time_and_last_line_of_a_client_are_taken() -> None:
    sample = run_clients(
        [python("import time\nwhile time.process_time() < 0.1: pass\nprint('{\"kept\": 7}')")]
    )
    assert sample.client_cpu_s >= 0.1 and sample.wall_s > 0.05
    assert sample.told == {"kept": 7} and not sample.was_cut


def test_memory_of_a_client_is_its_own_not_ours() -> None:
    sample = run_clients([python("import time\nx = bytearray(b'1' * (64 << 20))\ntime.sleep(0.1)")])
    assert sample.client_peak_bytes is not None and 64 << 20 < sample.client_peak_bytes < 256 << 20


def test_a_client_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(Failed, match="ended with 3: no such thing"):
        run_clients([python("import sys; print('no such thing'); sys.exit(3)")])


def test_a_client_over_its_time_is_ended() -> None:
    endless = python("import time\nwhile True: time.sleep(1)")
    with pytest.raises(Failed, match="did not end within"):
        run_clients([endless], timeout_s=0.1)
    assert run_clients([endless], timeout_s=0.1, may_be_cut=True).was_cut


def test_a_server_runs_as_long_as_the_block_and_its_cpu_time_counts(tmp_path: Path) -> None:
    port = free_port()
    serve = python(
        "import socket, time\n"
        f"server = socket.create_server(('127.0.0.1', {port}))\n"
        "while True:\n"
        "    peer, _ = server.accept()\n"
        "    end = time.process_time() + 0.1\n"
        "    while time.process_time() < end: pass\n"
        "    peer.close()\n"
    )
    with running_server(serve, port, tmp_path / "log") as pid:
        assert listens(pid, port)
        sample = run_clients(
            [python(f"import socket; socket.create_connection(('127.0.0.1', {port})).recv(1)")], pid
        )
        assert sample.server_cpu_s >= 0.09 and sample.server_peak_bytes
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_server_that_does_not_start_is_named_with_its_words(tmp_path: Path) -> None:
    with (
        pytest.raises(Failed, match="does not listen: bad option"),
        running_server(python("print('bad option')"), free_port(), tmp_path / "log"),
    ):
        pass
