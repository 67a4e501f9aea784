"""Own keys, and contexts from certificate files: each error names its file."""

from __future__ import annotations

import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ftransfer.errors import BadFile
from ftransfer.tls.contexts import SYSTEM, ServerTls, client_context, first_certificate
from ftransfer.tls.fingerprint import fingerprint_of
from ftransfer.tls.identity import make_identity, own_identity
from tests.support.certificates import Authority


def test_own_identity_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = own_identity(tmp_path / "state")
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own_identity(tmp_path / "state") == path
    assert path.read_text() == first
    assert ServerTls(str(path)).fingerprint == fingerprint_of(first_certificate(str(path)))


def test_own_identity_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(BadFile, match="state"):
        own_identity(tmp_path / "state")


def test_fingerprint_is_the_one_that_openssl_prints(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_text(make_identity())
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(path), "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    from ftransfer.tls.fingerprint import parse_fingerprint

    assert parse_fingerprint(shown.strip().partition("=")[2]) == ServerTls(str(path)).fingerprint


def test_only_tls_1_3(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_text(make_identity())
    for context in (ServerTls(str(path)).context, client_context()):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_client_checks_the_chain_and_the_name_with_authorities_only(tmp_path: Path) -> None:
    checked = client_context(ca=Authority(tmp_path).file)
    assert checked.verify_mode is ssl.CERT_REQUIRED and checked.check_hostname
    assert client_context(ca=SYSTEM).verify_mode is ssl.CERT_REQUIRED
    assert client_context().verify_mode is ssl.CERT_NONE


def test_key_and_certificate_in_two_files(tmp_path: Path) -> None:
    key, _, certificate = make_identity().partition("-----BEGIN CERTIFICATE")
    (tmp_path / "key").write_text(key)
    (tmp_path / "cert").write_text("-----BEGIN CERTIFICATE" + certificate)
    ServerTls(str(tmp_path / "cert"), str(tmp_path / "key"))
    with pytest.raises(
        BadFile, match=r"cert: there is no key in it that can be used; .* or --key must name one"
    ):
        ServerTls(str(tmp_path / "cert"))


def test_key_of_another_certificate(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(make_identity())
    (tmp_path / "b").write_text(make_identity())
    with pytest.raises(BadFile, match="b: the key does not belong to the certificate in .*a"):
        ServerTls(str(tmp_path / "a"), str(tmp_path / "b"))


def test_key_with_a_password_does_not_ask_on_the_terminal(tmp_path: Path) -> None:
    text = make_identity()
    key = load_pem_private_key(text.encode(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "cert").write_text(text)
    (tmp_path / "key").write_bytes(locked)
    with pytest.raises(BadFile, match="protected by a password"):
        ServerTls(str(tmp_path / "cert"), str(tmp_path / "key"))


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), ("", "no certificate"), ("junk", "no certificate")],
)
def test_files_that_are_none(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    good = tmp_path / "good"
    good.write_text(make_identity())
    with pytest.raises(BadFile, match=f"^{path}: .*{says}"):
        ServerTls(str(path))
    with pytest.raises(BadFile, match=f"^{path}: .*{says}"):
        ServerTls(str(good), client_ca=str(path))
    with pytest.raises(BadFile, match=f"^{path}: .*{says}"):
        client_context(ca=str(path))
    with pytest.raises(BadFile, match=f"^{path}: "):
        client_context(certificate=str(good), key=str(path))


def test_certificate_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(BadFile, match=f"^{path}: "):
        ServerTls(str(path))
    with pytest.raises(BadFile, match=f"^{path}: its certificates cannot be used"):
        client_context(ca=str(path))


def test_reload_takes_the_new_files_and_keeps_the_old_if_they_are_bad(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_text(make_identity())
    tls = ServerTls(str(path))
    before, context = tls.fingerprint, tls.context
    path.write_text(make_identity())
    tls.reload()
    renewed = tls.fingerprint
    assert renewed != before and tls.context is not context
    path.write_text("junk")
    with pytest.raises(BadFile):
        tls.reload()
    assert tls.fingerprint == renewed
