"""Certificates for tests: self-signed ones, and an authority that signs others."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ftransfer.tls.contexts import ServerTls
from ftransfer.tls.identity import make_identity


def own_tls(folder: Path, name: str = "own.pem") -> ServerTls:
    """What a server shows that made its key itself."""
    path = folder / name
    path.write_text(make_identity())
    return ServerTls(str(path))


@dataclass
class Authority:
    """A certificate authority that keeps its files in a folder."""

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        builder = self._builder(self._name, self._key, days=30).add_extension(
            x509.BasicConstraints(True, None), critical=True
        )
        self.file = self._write(
            "ca.pem", builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )

    def issue(self, name: str, *, host: str = "127.0.0.1", days: int = 30) -> str:
        """Write a PEM file with a key and a certificate for an address.

        With negative `days` it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        certificate = (
            self._builder(subject, key, days)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._write(f"{name}.pem", private + certificate.public_bytes(Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def _write(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)
