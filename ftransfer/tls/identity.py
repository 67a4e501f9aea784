"""A server's own key and self-signed certificate, made on first use and kept.

What a client pins must not change.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from ftransfer.system.private_files import locked, read_private, write_private

_FILE = "server.pem"
# Clients compare the fingerprint, not the dates. They are far apart so that none expires in
# practice.
_LIFETIME = datetime.timedelta(days=365 * 50)


def own_identity(folder: Path) -> Path:
    """Return the file with the key and certificate of this user's servers. Blocking.

    It is created if missing. One file for both, so that they always match.

    Raises:
        BadFile: It cannot be written.
    """
    path = folder / _FILE
    with locked(path):
        if not read_private(path):
            write_private(path, make_identity())
    return path


def make_identity(lifetime: datetime.timedelta = _LIFETIME, name: str = "ftransfer") -> str:
    """Return a new key and a certificate for it, both in PEM.

    P-256: every TLS 1.3 peer supports it, and it signs 20 times as fast as RSA.
    """
    # Not at the top: these cost 50 ms, and are needed once.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # One day back: clocks of other machines may be behind ours.
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + certificate.public_bytes(Encoding.PEM)).decode()
