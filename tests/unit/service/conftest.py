"""A hub without a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ftransfer.limits import Limits
from ftransfer.service.hub import Hub
from tests.support.members import Room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A hub that says on its clock that it is 5 ns."""
    room = Room(Hub(Limits(), lambda: 5))
    try:
        yield room
    finally:
        await room.close()
