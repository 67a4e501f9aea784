"""The file of known servers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ftransfer.errors import BadFile
from ftransfer.tls.fingerprint import fingerprint_of
from ftransfer.tls.known_hosts import KnownHosts, KnownKey

ONE, TWO = fingerprint_of(b"1"), fingerprint_of(b"2")


def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    assert KnownHosts(tmp_path / "none" / "known_hosts").find("a:1") is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_remembered_is_found_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "state" / "known_hosts"
    KnownHosts(path).remember("a:1", ONE)
    KnownHosts(path).remember("[::1]:1", TWO)
    assert KnownHosts(path).find("a:1") == KnownKey(ONE)
    assert KnownHosts(path).find("[::1]:1") == KnownKey(TWO)
    assert KnownHosts(path).find("a:2") is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_remember_replaces_and_remember_first_does_not(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "k")
    assert known.remember_first("a:1", ONE) == KnownKey(ONE, is_confirmed=False)
    assert known.remember_first("a:1", TWO) == KnownKey(ONE, is_confirmed=False)
    known.remember("a:1", TWO)
    assert known.find("a:1") == KnownKey(TWO)


def test_key_that_was_only_seen_is_told_from_one_that_somebody_vouches_for(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "k")
    known.remember_first("a:1", ONE)
    assert known.find("a:1") == KnownKey(ONE, is_confirmed=False)
    known.remember("a:1", ONE)
    assert known.find("a:1") == known.remember_first("a:1", ONE) == KnownKey(ONE)


def test_every_spelling_of_an_address_is_the_same(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "k")
    known.remember("[fd00:0009::1]:1", ONE)
    known.remember("Server.Example.:1", TWO)
    assert known.find("[FD00:9::1]:1") == KnownKey(ONE) and known.find(
        "server.example:1"
    ) == KnownKey(TWO)
    (tmp_path / "k").write_text(f"[FD00:9::1]:1 {TWO}\n")  # as it was written before
    assert known.find("[fd00:9::1]:1") == KnownKey(TWO)
    known.remember("[fd00:9:0::1]:1", ONE)
    assert (tmp_path / "k").read_text().count("SHA256:") == 1


def test_lines_of_a_person_are_read(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(f"# mine\n\n  a:1   {ONE}\n")
    assert KnownHosts(path).find("a:1") == KnownKey(ONE)


@pytest.mark.parametrize(
    "line",
    ["a:1", f"a:1 {ONE} more", f"a:1 {ONE} unconfirmed unconfirmed", "a:1 SHA256:short", ONE],
)
def test_a_line_that_makes_no_sense_is_named_and_not_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "k"
    path.write_text(f"b:1 {TWO}\n{line}\n")
    with pytest.raises(BadFile, match=f"^{path}: line 2 is not HOST:PORT FINGERPRINT; mend it"):
        KnownHosts(path).find("b:1")


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for port in range(5):
            KnownHosts(tmp_path / "k").remember_first(f"h{number}:{port}", ONE)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = KnownHosts(tmp_path / "k")
    assert all(
        known.find(f"h{number}:{port}") == KnownKey(ONE, is_confirmed=False)
        for number in range(8)
        for port in range(5)
    )
    assert {path.name for path in tmp_path.iterdir()} == {"k", ".k.lock"}
