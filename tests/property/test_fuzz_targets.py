"""The targets of `make fuzz` without a fuzzer: bytes of all kinds, and earlier findings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.targets import TARGETS

FINDINGS = Path(__file__).parent / "findings"
_PIECES = st.sampled_from(
    [
        *(
            b"dir ",
            b"get ",
            b"put ",
            b"mget ",
            b"mput\n",
            b"close\n",
            b"\n",
            b'"',
            b"{}",
            b"[]",
            b"..",
            b"/",
            b"\0",
            b"\xff",
            b"\xed\xa0\x80",
        ),
        *(
            b"H\0\0\0\x02{}",
            b"D\0\0\0\x01",
            b"E\0\0\0\x17",
            b"F\0\0\0\0",
            b"R\0\0\0\x02{}",
            b"X\0\0\0\x02{}",
            b"P\xff\xff\xff\xff",
        ),
        *(
            b'H\0\0\0\x0e{"protocol":1}',
            b'V\0\0\0\x0d{"event":"x"}',
            b'{"size":0,"digest":""}',
            b'{"wait":true}',
        ),
    ]
)
BYTES = st.binary(max_size=200) | st.lists(_PIECES | st.binary(max_size=8), max_size=20).map(
    b"".join
)


@pytest.mark.parametrize("target", TARGETS)
@given(data=BYTES)
def test_any_bytes_give_an_error_or_a_result(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize(
    "finding", sorted(path.relative_to(FINDINGS).as_posix() for path in FINDINGS.glob("*/*"))
)
def test_what_was_found_once_is_mended(finding: str) -> None:
    TARGETS[finding.split("/")[0]]((FINDINGS / finding).read_bytes())
