"""Fingerprints: one form out, several in, and nothing else."""

from __future__ import annotations

import base64
import hashlib

import pytest

from ftransfer.tls.fingerprint import fingerprint_of, parse_fingerprint

DIGEST = hashlib.sha256(b"certificate").digest()
SHOWN = fingerprint_of(b"certificate")


def test_form() -> None:
    assert SHOWN == "SHA256:" + base64.b64encode(DIGEST).decode().rstrip("=")
    assert len(SHOWN) == 7 + 43


@pytest.mark.parametrize(
    "text",
    [
        SHOWN,
        SHOWN.removeprefix("SHA256:"),
        f"sha256:{SHOWN[7:]}",
        f"{SHOWN}=",
        f" {SHOWN}\n",
        DIGEST.hex(),
        DIGEST.hex().upper(),
        DIGEST.hex(":"),
        f"SHA256:{DIGEST.hex(':').upper()}",
    ],
)
def test_forms_that_are_taken(text: str) -> None:
    assert parse_fingerprint(text) == SHOWN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SHA256:",
        SHOWN[:-1],
        SHOWN + "A",
        "MD5:" + SHOWN[7:],
        DIGEST.hex()[:-1],
        "é" * 43,
        "g" * 64,
    ],
)
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(ValueError, match="43 characters of base64, or 64 hexadecimal"):
        parse_fingerprint(text)


def test_spare_bits_of_the_last_character_must_be_zero() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    next_one = alphabet[alphabet.index(SHOWN[-1]) + 1]
    with pytest.raises(ValueError):
        parse_fingerprint(SHOWN[:-1] + next_one)
