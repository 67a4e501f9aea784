"""The lock, closed in processes of their own: a lock cannot be taken off again."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ftransfer.system.sandbox import CannotLock, landlock_abi, lock_in

HAS_LANDLOCK = landlock_abi() >= 2
needs_landlock = pytest.mark.skipif(
    not HAS_LANDLOCK, reason="this kernel has no landlock that can be used"
)

_BEFORE = """
import errno, json, os, socket, subprocess, sys, threading
from pathlib import Path
from ftransfer.system.sandbox import CannotLock, lock_in

tried = {}

def attempt(name, action):
    try:
        action()
        tried[name] = "done"
    except OSError as error:
        tried[name] = errno.errorcode[error.errno]

base = Path(sys.argv[1])
share, outside, extra = base / "share", base / "outside", base / "extra"
held = os.open(outside / "secret", os.O_RDONLY)
listening = socket.create_server(("127.0.0.1", 0))
"""


def locked(tmp_path: Path, body: str) -> dict[str, Any]:
    """Run some lines in a process of its own; return what it has tried."""
    for folder in ("share/sub", "outside", "extra"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("share/in", "outside/secret", "extra/file"):
        (tmp_path / file).write_bytes(b"x")
    program = _BEFORE + textwrap.dedent(body) + "\nprint(json.dumps(tried))\n"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        cwd=Path(__file__).parents[3],
        check=True,
        timeout=15,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@needs_landlock
def test_inside_everything_goes_on_as_before(tmp_path: Path) -> None:
    tried = locked(
        tmp_path,
        """
        lock_in(changed=[str(share)], read=[str(extra)])
        attempt("read", (share / "in").read_bytes)
        attempt("write", lambda: (share / "new").write_bytes(b"new"))
        attempt("shorten", lambda: os.truncate(share / "new", 1))
        attempt("move", lambda: os.rename(share / "new", share / "sub" / "moved"))
        attempt("link", lambda: os.symlink("in", share / "link"))
        attempt("hard link", lambda: os.link(share / "in", share / "sub" / "same"))
        attempt("list", lambda: os.listdir(share))
        attempt("make", (share / "made").mkdir)
        attempt("remove", lambda: (os.unlink(share / "link"), os.rmdir(share / "made")))
        attempt("read extra", (extra / "file").read_bytes)
        attempt("null", lambda: open("/dev/null", "wb").write(b"x"))
        attempt("held", lambda: os.pread(held, 1, 0))
        attempt("thread", threading.Thread(target=(share / "in").read_bytes).start)
        attempt("import", lambda: __import__("wave"))
        attempt("name", lambda: socket.getaddrinfo("localhost", 80))
        attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
        """,
    )
    assert set(tried.values()) == {"done"}, tried


@needs_landlock
def test_outside_nothing_can_be_opened_made_or_removed(tmp_path: Path) -> None:
    tried = locked(
        tmp_path,
        """
        lock_in(changed=[str(share)], read=[str(extra)])
        os.symlink(outside / "secret", share / "link")
        attempt("passwd", Path("/etc/passwd").read_bytes)
        attempt("secret", (outside / "secret").read_bytes)
        attempt("by a link", (share / "link").read_bytes)
        attempt("by ..", lambda: open(os.path.join(share, "..", "outside", "secret")))
        attempt("list", lambda: os.listdir(outside))
        attempt("list root", lambda: os.listdir("/"))
        attempt("make", lambda: (outside / "new").write_bytes(b""))
        attempt("make folder", (outside / "folder").mkdir)
        attempt("shorten", lambda: os.truncate(outside / "secret", 0))
        attempt("remove", (outside / "secret").unlink)
        attempt("move out", lambda: os.rename(share / "in", outside / "in"))
        attempt("move in", lambda: os.rename(outside / "secret", share / "secret"))
        attempt("link in", lambda: os.link(outside / "secret", share / "hard"))
        attempt("write extra", lambda: (extra / "file").write_bytes(b""))
        attempt("fifo", lambda: os.mkfifo(share / "fifo"))
        attempt("memory", lambda: open("/proc/1/environ"))
        thread = threading.Thread(target=attempt, args=("thread", (outside / "secret").read_bytes))
        thread.start()
        thread.join()
        """,
    )
    assert set(tried.values()) <= {"EACCES", "EPERM", "EXDEV"}, tried
    assert tried["passwd"] == tried["secret"] == tried["by a link"] == tried["thread"] == "EACCES"
    assert (tmp_path / "outside" / "secret").read_bytes() == b"x"


@needs_landlock
def test_no_program_is_run_and_no_machine_called(tmp_path: Path) -> None:
    tried = locked(
        tmp_path,
        """
        abi = lock_in(changed=[str(share)])
        attempt("run", lambda: subprocess.run([sys.executable, "-c", "0"]))
        attempt("shell", lambda: subprocess.run(["/bin/sh", "-c", ":"]))
        if abi >= 4:
            attempt("call", lambda: socket.create_connection(listening.getsockname()))
        """,
    )
    assert set(tried.values()) == {"EACCES"}, tried


@needs_landlock
def test_lock_is_refused_while_other_threads_run(tmp_path: Path) -> None:
    tried = locked(
        tmp_path,
        """
        stop = threading.Event()
        thread = threading.Thread(target=stop.wait)
        thread.start()
        try:
            lock_in(changed=[str(share)])
        except CannotLock as error:
            tried["why"] = str(error)
        attempt("secret", (outside / "secret").read_bytes)
        stop.set()
        thread.join()
        """,
    )
    assert tried == {
        "why": "other threads run already, which the lock would not hold",
        "secret": "done",
    }


def test_kernel_without_landlock_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for abi, why in (
        (0, "this system has no landlock"),
        (1, "this system has landlock 1, and 2 is needed"),
    ):
        monkeypatch.setattr("ftransfer.system.sandbox.landlock_abi", lambda abi=abi: abi)
        with pytest.raises(CannotLock, match=why):
            lock_in(changed=[])
