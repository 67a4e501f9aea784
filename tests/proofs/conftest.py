"""What the proofs go out from: a share with something to guard beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ftransfer.auth.permissions import ANYONE
from ftransfer.errors import FtransferError
from ftransfer.service.share import Share
from ftransfer.service.view import ShareView
from ftransfer.storage.local import LocalStore
from ftransfer.storage.local.root import Resolver
from tests.support.canary import Canary, canary


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Canary]:
    with canary(tmp_path / "outside") as made:
        yield made


@pytest.fixture(params=["openat2", "walk"])
async def view(
    request: pytest.FixtureRequest, tmp_path: Path, outside: Canary
) -> AsyncIterator[ShareView]:
    resolver: Resolver = request.param
    (tmp_path / "share").mkdir()
    try:
        store = await LocalStore.open(tmp_path / "share", durable=False, resolver=resolver)
    except FtransferError:
        pytest.skip("this kernel has no openat2")
    share = Share(store)
    yield share.view_for(ANYONE)
    await share.close()
