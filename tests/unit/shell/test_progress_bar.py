from __future__ import annotations

import asyncio
import io

import pytest

from ftransfer.shell.progress import ProgressBar
from ftransfer.transfer.records import Progress


class Screen(io.StringIO):
    """A terminal that says when something is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = asyncio.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "50 %" in text or "verifying" in text:
            self.drawn.set()
        return super().write(text)


async def test_slow_transfer_is_drawn_and_wiped() -> None:
    screen = Screen()
    with ProgressBar(screen, is_shown=True, delay_s=0.0) as bar:
        assert bar.callback is not None
        bar.callback(Progress("my\x1b[2J [red]file", 50_000_000, 100_000_000))
        await screen.drawn.wait()
        screen.drawn.clear()
        bar.callback(Progress("my\x1b[2J [red]file", 100_000_000, 100_000_000, "verify"))
        await screen.drawn.wait()
    text = screen.getvalue()
    assert r"my\x1b[2J [red]file" in text and "\x1b[2Jfile" not in text
    assert "50 %  50.0 MB of 100 MB" in text
    assert text.endswith("\r\x1b[2K")  # the line is empty again
    assert "\n" not in text


async def test_quick_transfer_draws_nothing() -> None:
    screen = Screen()
    with ProgressBar(screen, is_shown=True) as bar:
        assert bar.callback is not None
        bar.callback(Progress("a", 1, 1))
    assert screen.getvalue() == ""


async def test_without_a_terminal_there_is_no_callback() -> None:
    with ProgressBar(io.StringIO(), is_shown=False) as bar:
        assert bar.callback is None


async def test_line_that_a_narrower_terminal_breaks_is_wiped_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Screen()
    with ProgressBar(screen, is_shown=True, delay_s=0.0) as bar:
        assert bar.callback is not None
        bar.callback(Progress("a" * 60, 50_000_000, 100_000_000))
        await screen.drawn.wait()
        monkeypatch.setattr(bar, "_width", lambda: 30)  # 79 cells take three rows now
        screen.drawn.clear()
        await screen.drawn.wait()
    assert "\x1b[2A\r\x1b[J" in screen.getvalue()


async def test_dumb_terminal_is_not_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with ProgressBar(Screen(), is_shown=True) as bar:
        assert bar.callback is None
