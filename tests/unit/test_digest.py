"""BLAKE3 digests: those of the published test vectors, in one piece or many."""

from __future__ import annotations

import pytest

from ftransfer.digest import Hasher, digest_of, is_digest

# Source: the test vectors of the BLAKE3 reference implementation; input byte i is i % 251.
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
}


def content(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


@pytest.mark.parametrize("size", VECTORS)
def test_digest_of_the_test_vectors(size: int) -> None:
    assert digest_of(content(size)) == VECTORS[size]
    assert digest_of(memoryview(content(size))) == VECTORS[size]


@pytest.mark.parametrize("step", [1, 7, 1023, 1024, 5000])
def test_hasher_takes_any_pieces(step: int) -> None:
    data = content(5000)
    hasher = Hasher()
    for offset in range(0, len(data), step):
        hasher.update(bytearray(data[offset : offset + step]))
    assert hasher.digest() == digest_of(data)
    assert hasher.size == len(data)


def test_digest_can_be_asked_for_on_the_way() -> None:
    hasher = Hasher()
    assert hasher.digest() == VECTORS[0]
    hasher.update(content(1))
    assert hasher.digest() == VECTORS[1]


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (VECTORS[0], True),
        (VECTORS[0].upper(), False),
        (VECTORS[0][:-1], False),
        (VECTORS[0] + "0", False),
        (VECTORS[0] + "\n", False),
        ("", False),
        ("g" * 64, False),
        ("\u0660" * 64, False),
        (None, False),
        (64, False),
    ],
)
def test_form_of_a_digest(value: object, is_one: bool) -> None:
    assert is_digest(value) is is_one
