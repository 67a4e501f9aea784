"""A get or put that takes the place of something says so; one that does not says nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import run_program
from tests.support.service import serve


@pytest.mark.parametrize("streams", [None, 3])
async def test_receipt_says_what_was_replaced(tmp_path: Path, streams: int | None) -> None:
    async with serve(tmp_path) as service, service.client() as client:
        (service.local / "a").write_bytes(bytes(3_000_000))
        seen = [(await client.put(service.local / "a", streams=streams)).replaced for _ in range(2)]
        seen += [
            (await client.get("a", service.local / "b", streams=streams)).replaced for _ in range(2)
        ]
    assert seen == [False, True, False, True]


async def test_user_is_told(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        (service.root / "a").write_bytes(b"a")
        lines = [
            (await run_program("get", *service.address, "a", folder=service.local)).text
            for _ in range(2)
        ]
        lines += [
            (await run_program("put", *service.address, "a", "b", folder=service.local)).text
            for _ in range(2)
        ]
    assert [line.partition(": ")[0] for line in lines] == [
        "received a",
        "received a (replaced the existing file)",
        "stored a as b",
        "stored a as b (replaced the existing file)",
    ]
