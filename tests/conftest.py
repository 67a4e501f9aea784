"""Settings for every test: hypothesis profiles, markers, the guard of the event loop."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.loop_guard import LoopGuard

# No test reads or writes the known servers, logins and tokens of whoever runs it.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="ftransfer-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# The machine may be busy with other work, so no example is judged by its time; the cap on the whole
# test is enough.
settings.register_profile(
    "fast",
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("fast"), derandomize=True)
settings.register_profile("long", settings.get_profile("fast"), max_examples=5_000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "fast")
)

# Files that tests write are as most machines make them: files with secrets are refused where the
# group may write.
os.umask(0o022)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: it makes namespaces or mounts")
    if item.get_closest_marker("long") and "long" not in str(item.config.getoption("markexpr")):
        pytest.skip("takes long: run with -m long")


@pytest.fixture(name="_loop_guard")
async def loop_guard() -> AsyncIterator[LoopGuard]:
    guard = LoopGuard(asyncio.get_running_loop())
    guard.start()
    yield guard
    guard.stop()


@pytest.fixture(autouse=True)
def no_blocked_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a coroutine test in which something held up the loop."""
    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        yield
        return
    guard: LoopGuard = request.getfixturevalue("_loop_guard")
    yield
    if guard.blocked_at:
        pytest.fail(f"the event loop was blocked: {guard.blocked_at}", pytrace=False)
