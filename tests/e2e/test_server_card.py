"""What `serve` tells a person at a terminal, and not a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import start_at_terminal, start_server

CTRL_C = "\x03"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "anyone with the token may read, change and delete; secrets are hidden"),
        (("--read-only",), "anyone with the token may read"),
        (("--drop-box",), "anyone with the token may upload new files and see nothing"),
        (
            ("--anonymous", "read"),
            "everybody who can connect may read; secrets are hidden",
        ),
    ],
)
async def test_person_is_told_what_is_shared_and_how_to_stop_it(
    tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    share = tmp_path / "the share"
    share.mkdir()
    state = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    async with start_at_terminal(
        "serve", share, "--port", 0, *flags, folder=tmp_path, environment=state
    ) as terminal:
        await terminal.see("listening on 127.0.0.1:")
        await terminal.see("sharing /")
        await terminal.see(says)
        await terminal.see("Ctrl-C stops the server")
        terminal.press(CTRL_C)
        assert await terminal.end() == 0


async def test_log_is_not_told(tmp_path: Path) -> None:
    async with start_server(tmp_path) as server:
        await server.err_until("sandboxed|connect with")
        assert "Ctrl-C stops the server" not in server.err
