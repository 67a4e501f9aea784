from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftransfer.errors import NotFound
from ftransfer.shell.errors import ScriptFailed, WrongUsage
from ftransfer.shell.script import read_lines, run_script
from tests.unit.shell.conftest import Screen


@pytest.fixture
def pipe() -> Iterator[Callable[[bytes], int]]:
    """Return a descriptor from which the bytes can be read, up to the end."""
    opened: list[int] = []

    def fill(data: bytes) -> int:
        source, sink = os.pipe()
        opened.append(source)
        os.write(sink, data)
        os.close(sink)
        return source

    yield fill
    for descriptor in opened:
        os.close(descriptor)


async def test_lines_are_carried_out_in_order(screen: Screen, pipe: Callable[[bytes], int]) -> None:
    await run_script(screen.shell, pipe(b"cd photos\n\n  # a comment\r\npwd\r\nls"))
    assert screen.lines == ["/photos", "2024/", r"esc\x1b[31m.jpg"]


async def test_first_failure_stops_and_names_its_line(
    screen: Screen, pipe: Callable[[bytes], int]
) -> None:
    with pytest.raises(ScriptFailed) as caught:
        await run_script(screen.shell, pipe(b"# one\npwd\nget nope\npwd\n"))
    assert str(caught.value) == "line 3: nope: no such file or folder; dir lists what is there"
    assert isinstance(caught.value.cause, NotFound)
    assert screen.lines == ["/"]


async def test_close_leaves_the_rest_alone(screen: Screen, pipe: Callable[[bytes], int]) -> None:
    await run_script(screen.shell, pipe(b"close\nget nope\n"))
    assert screen.share.asked == []


async def test_open_quote_is_an_error_in_a_script(
    screen: Screen, pipe: Callable[[bytes], int]
) -> None:
    with pytest.raises(ScriptFailed, match="line 1: missing closing quote"):
        await run_script(screen.shell, pipe(b'get "a\n'))


async def test_names_that_are_not_text_pass(screen: Screen, pipe: Callable[[bytes], int]) -> None:
    screen.share.files["\udcff"] = b"x"
    await run_script(screen.shell, pipe(b"get \xff\n"))
    assert screen.share.asked[0].startswith("get \udcff")


async def test_lines_come_as_soon_as_they_are_written() -> None:
    source, sink = os.pipe()
    lines = read_lines(source)
    os.write(sink, b"one\ntw")
    assert await anext(lines) == "one"
    os.write(sink, b"o\nthree")
    assert await anext(lines) == "two"
    os.close(sink)
    assert await anext(lines) == "three"
    assert await anext(lines, None) is None
    os.close(source)


async def test_script_can_be_a_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes("\ufeffone\ntwo".encode())
    for path, lines in ((tmp_path / "script", ["one", "two"]), (Path(os.devnull), [])):
        with path.open() as source:
            assert [line async for line in read_lines(source.fileno())] == lines


async def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(2 << 20))
    with (
        (tmp_path / "zeros").open() as source,
        pytest.raises(WrongUsage, match="check that stdin is a script"),
    ):
        async for _ in read_lines(source.fileno()):
            pass
