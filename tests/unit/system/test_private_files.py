"""Files for their owner alone."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from ftransfer.errors import BadFile
from ftransfer.system.private_files import (
    check_private,
    read_piped_secret,
    read_private,
    read_secret,
    write_private,
)


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_written_for_nobody_else_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "new" / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert read_private(tmp_path / "new" / "file") == "text"


def test_write_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / "file").symlink_to("other")
    write_private(tmp_path / "file", "mine")
    assert (tmp_path / "other").read_text() == "other"
    assert (tmp_path / "file").read_text() == "mine"


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(BadFile, match="file: it cannot be written: "):
        write_private(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(mode)
    for read in (read_private, lambda path: check_private(str(path), "the text")):
        with pytest.raises(BadFile, match=f"^{path}: others may change it; chmod go-w {path}"):
            read(path)


def test_file_that_everybody_may_read_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    for mode in (0o600, 0o640, 0o644):
        path.chmod(mode)
        check_private(str(path), "the text")
    assert [record.message for record in caplog.records] == [
        f"warning: {path}: everybody on this machine may read the text in it; chmod o-r {path}"
        " takes that away"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    check_private(str(path), "the text")
    assert "belongs to another user (uid 12345)" in caplog.text


def test_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_private(tmp_path / "none") == ""


def test_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match="not a text file"):
        read_private(tmp_path / "file")


@pytest.mark.parametrize("content", [b"tok-en", b"tok-en\n", b"tok-en\r\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_secret_is_the_line(tmp_path: Path, content: bytes, mode: int) -> None:
    assert read_secret(secret_file(tmp_path, content, mode)) == "tok-en"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, b"tok-en", mode)
    with pytest.raises(BadFile, match=f"^{path}: others may read this secret; chmod 600 "):
        read_secret(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff", b"a\0b", b"x" * 5000])
def test_secret_that_is_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadFile) as caught:
        read_secret(secret_file(tmp_path, content))
    assert "x" * 10 not in str(caught.value)


def test_secret_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read: No such file"):
        read_secret(str(tmp_path / "none"))


def test_first_line_of_a_pipe() -> None:
    pipe = io.BytesIO(b"tok-en\r\nrest\n")
    assert (read_piped_secret(pipe), pipe.read()) == ("tok-en", b"rest\n")
    assert read_piped_secret(pipe) == ""
    for content in (b"\xff\n", b"a\0b\n", b"x" * 5000):
        with pytest.raises(BadFile, match="^stdin: the secret "):
            read_piped_secret(io.BytesIO(content))


def test_secret_from_a_pipe(tmp_path: Path) -> None:
    end, start = os.pipe()
    try:
        os.write(start, b"tok-en\n")
        os.close(start)
        assert read_secret(f"/dev/fd/{end}") == "tok-en"
    finally:
        os.close(end)
