"""The stores that the suites of this folder run against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftransfer.storage.base import Store
from tests.support.stores import STORES, make_store, open_descriptors


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    before = open_descriptors()
    opened = await make_store(request.param, tmp_path)
    yield opened
    await opened.close()
    assert open_descriptors() == before, "descriptors have leaked"
