"""The profile of a transfer: which stack is which kind of work."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.profile import Recorded, classify, table


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        (
            (
                "_blake3_hash_many_avx512 (/x/blake3.so)",
                "_PyEval_EvalFrameDefault (/x/libpython3.11.so)",
            ),
            "BLAKE3",
        ),
        (
            (
                "clear_page_erms ([kernel.kallsyms])",
                "exc_page_fault ([kernel.kallsyms])",
                "main (/x/python)",
            ),
            "page faults",
        ),
        (
            (
                "_copy_to_iter ([kernel])",
                "tcp_recvmsg ([kernel])",
                "read (libc)",
                "BIO_read (libcrypto.so.3)",
            ),
            "socket: receive",
        ),
        (
            ("tcp_write_xmit ([kernel])", "tcp_sendmsg ([kernel])", "vfs_write ([kernel])"),
            "socket: send",
        ),
        (
            ("copy_folio ([kernel])", "shmem_file_write_iter ([kernel])", "vfs_write ([kernel])"),
            "file: write",
        ),
        (
            ("gcm (libcrypto.so.3)", "_PyEval_EvalFrameDefault (libpython3.11.so)"),
            "AES and records (OpenSSL)",
        ),
        (
            ("shmem_mknod ([kernel])", "path_openat ([kernel])", "entry_SYSCALL_64 ([kernel])"),
            "names: open, close, make, rename, stat",
        ),
        (("do_sys_poll ([kernel])", "entry_SYSCALL_64 ([kernel])"), "other calls of the kernel"),
        (("_PyEval_EvalFrameDefault (libpython3.11.so)",), "interpreter, and its start"),
    ],
)
def test_kind_of_a_stack(frames: tuple[str, ...], kind: str) -> None:
    assert classify("\n".join(f"  ffffffff81000000 {frame}" for frame in frames)) == kind


def test_what_is_left_of_the_client_s_time_is_waiting() -> None:
    sides = {
        "client": Recorded(2.0, Counter({"BLAKE3": 2000})),
        "server": Recorded(3.0, Counter({"file: read": 6000})),
    }
    assert table(sides).splitlines()[2:] == [
        "| BLAKE3 | 25% | 0% |",
        "| file: read | 0% | 75% |",
        "| waiting | 75% | 25% |",
        "| processor time, of 2.00 s | 0.50 s | 1.50 s |",
    ]
