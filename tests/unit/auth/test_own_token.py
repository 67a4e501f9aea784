"""The token of a served folder: kept over restarts, one for each folder, for its owner alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ftransfer.auth.own_token import own_token
from ftransfer.errors import BadFile


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


def test_token_is_kept(tmp_path: Path, share: Path) -> None:
    token, path = own_token(tmp_path / "state", str(share))
    assert own_token(tmp_path / "state", str(share)) == (token, path)
    assert path.read_text() == f"{token}\n"


def test_token_is_long_and_in_letters_that_need_no_quotes(tmp_path: Path, share: Path) -> None:
    token, _ = own_token(tmp_path / "state", str(share))
    assert len(token) >= 43 and token.replace("-", "").replace("_", "").isalnum()


def test_only_the_owner_may_read_it(tmp_path: Path, share: Path) -> None:
    _, path = own_token(tmp_path / "state", str(share))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_folder_has_another_token(tmp_path: Path, share: Path) -> None:
    assert (
        own_token(tmp_path / "state", str(share))[0]
        != own_token(tmp_path / "state", str(tmp_path))[0]
    )


def test_every_way_to_name_a_folder_gives_its_token(
    tmp_path: Path, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(share)
    monkeypatch.chdir(tmp_path)
    names = (str(share), "share", "share/", "./share/../share", "link")
    assert len({own_token(tmp_path / "state", name) for name in names}) == 1


@pytest.mark.parametrize("removes", [False, True])
def test_new_token_replaces_the_old_one(tmp_path: Path, share: Path, *, removes: bool) -> None:
    old, path = own_token(tmp_path / "state", str(share))
    if removes:
        path.unlink()
    new, _ = own_token(tmp_path / "state", str(share), new=not removes)
    assert new != old and own_token(tmp_path / "state", str(share))[0] == new


def test_token_that_others_may_read_is_refused(tmp_path: Path, share: Path) -> None:
    _, path = own_token(tmp_path / "state", str(share))
    path.chmod(0o644)
    with pytest.raises(BadFile, match="others may read"):
        own_token(tmp_path / "state", str(share))
