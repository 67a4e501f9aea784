"""A permanent sandbox in which a process can open only a few paths.

On Linux: landlock, and no new privileges. The last barrier behind names and
storage/local/resolver.py: even with a bug in those, the process cannot read outside the share,
start a program, or connect to another machine. The sandbox applies to the calling thread and to all
threads and processes that it starts, so enter it before the first thread. Open files stay open. A
rule applies to what a path leads to at that moment: for a file that may be replaced, pass its
folder.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable

# Before ABI 2, landlock forbids renames between folders, and every upload is published by one.
_MIN_ABI = 2
# The same numbers on every architecture except alpha
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = (
    444,
    445,
    446,
)
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (
    1 << bit for bit in range(6)
)
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM, _REFER = (
    1 << bit for bit in range(6, 14)
)
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
# All file rights that exist from an ABI on
_FILES = {
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    5: (1 << 16) - 1,
}
_READ = _READ_FILE | _READ_DIR
# No making of devices, sockets or fifos, and no execution.
_CHANGE = (
    _READ
    | _WRITE_FILE
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _MAKE_SYM
    | _REFER
    | _TRUNCATE
)
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_CONNECT_TCP = 1 << 1
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2

# What the C library opens for host names, local time, further libraries and certificate
# authorities.
_SYSTEM = (
    *(
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/etc/ld.so.cache",
        "/etc/ssl/openssl.cnf",
    ),
    *(
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
        "/etc/services",
    ),
    *("/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom", "/proc/self"),
)
_DEVICES = ("/dev/null",)
_PACKAGE = os.path.dirname(os.path.dirname(__file__))  # for later imports


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class CannotLock(Exception):
    """The sandbox was not entered: this process keeps all its access. The text says why."""


def landlock_abi() -> int:
    """Return the landlock version that the kernel offers to this process; 0 for none."""
    if sys.platform != "linux":
        return 0
    found = _libc().syscall(
        ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)
    )
    return max(0, int(found))


def lock_in(*, changed: Iterable[str], read: Iterable[str] = ()) -> int:
    """Drop, for good, access to other files and the rights to run programs and connect by TCP.

    Args:
        changed: Folders below which everything may be read and changed, but no device, socket or
            fifo made.
        read: Files and folders to be read. Paths that do not exist are ignored, here and above.

    Returns:
        The landlock version that enforces it; 2 does not restrict truncation, versions below 4 do
        not restrict connections by TCP.

    Raises:
        CannotLock: The kernel has no landlock, or refuses; or other threads run, which it would not
            restrict.
    """
    abi = landlock_abi()
    if abi < _MIN_ABI:
        raise CannotLock(
            "this system has no landlock"
            if abi == 0
            else f"this system has landlock {abi}, and {_MIN_ABI} is needed"
        )
    if len(os.listdir("/proc/self/task")) != 1:
        raise CannotLock("other threads run already, which the lock would not hold")
    files = _FILES[max(known for known in _FILES if known <= abi)]
    handled = _Ruleset(
        files, _CONNECT_TCP if abi >= 4 else 0, _ABSTRACT_SOCKETS | _SIGNALS if abi >= 6 else 0
    )
    size = ctypes.sizeof(handled) if abi >= 6 else 16 if abi >= 4 else 8
    rules = _call(_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in changed:
            _allow(rules, path, _CHANGE & files)
        for path in _DEVICES:
            _allow(rules, path, (_READ | _WRITE_FILE) & files)
        for path in (*read, *_SYSTEM, *_python()):
            _allow(rules, path, _READ & files)
        if _libc().prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
            raise CannotLock("new privileges cannot be dropped")
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)
    return abi


def _python() -> set[str]:
    """Return the folders from which modules are imported later."""
    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return found | {os.path.join(sys.base_prefix, "lib"), _PACKAGE}


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _OF_A_FILE
        rule = _Beneath(rights, handle)
        _call(
            _ADD_RULE,
            ctypes.c_int(rules),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    found = int(_libc().syscall(ctypes.c_long(number), *arguments))
    if found < 0:
        code = ctypes.get_errno()
        raise CannotLock(f"landlock refuses: {errno.errorcode.get(code, code)}")
    return found


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
