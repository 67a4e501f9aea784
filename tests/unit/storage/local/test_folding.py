"""File systems with several spellings for one name: rights by folder are refused.

And .ftransfer stays hidden.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ftransfer.auth.passwords import hash_password
from ftransfer.auth.permissions import ALL_RIGHTS, NO_RIGHTS, Grant, Principal
from ftransfer.errors import FtransferError, NameRefused, NotFound
from ftransfer.names import ROOT, parse_name
from ftransfer.service.share import Share
from ftransfer.storage.base import UploadSpec
from ftransfer.storage.local import LocalStore, staging
from ftransfer.storage.local.folding import spellings
from tests.support.programs import run_program

# Kind -> the programs that make and mount it, and what stands before the device when it is mounted.
FOLDING = {
    "exfat": (["mkfs.exfat"], ["mount.exfat-fuse"]),
    "ntfs": (["mkntfs", "-F", "-Q"], ["lowntfs-3g", "-o", "ignore_case"]),
}


@contextlib.contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Path]:
    """Make a file system of a kind in a file, and mount it; needs root and the programs for it."""
    make, mount = FOLDING[kind]
    missing = [
        program for program in (make[0], mount[0], "losetup") if shutil.which(program) is None
    ]
    if missing or os.geteuid() or not os.path.exists("/dev/fuse"):
        pytest.skip(f"needs root, /dev/fuse and {', '.join(missing) or 'loop devices'}")
    image, place = folder / "image", folder / "mounted"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    with contextlib.ExitStack() as stack:
        try:
            run(*make, str(image))
            loop = run("losetup", "-f", "--show", str(image))
            stack.callback(run, "losetup", "-d", loop)
            run(*mount, loop, str(place))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"nothing can be mounted here: {error.stderr.strip()}")
        stack.callback(run, "umount", str(place))
        yield place


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(params=sorted(FOLDING))
async def share(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Path]:
    with mounted(request.param, tmp_path) as place:
        yield place


@pytest.mark.root
async def test_other_spellings_are_found_whether_the_name_is_there_or_not(share: Path) -> None:
    (share / "private/deep").mkdir(parents=True)
    store = await LocalStore.open(share, durable=False)
    try:
        for name in ("private", "private/deep", "private/new", "missing"):
            assert await store.other_spelling(parse_name(name))
        assert await store.folds_names()
        assert not any(name.startswith(".ftransfer-Probe") for name in os.listdir(share))
    finally:
        await store.close()


async def test_a_file_system_that_tells_names_apart_is_known_as_one(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    store = await LocalStore.open(tmp_path)
    try:
        for name in ("private", "private/new", "missing", "\u00e4"):
            assert await store.other_spelling(parse_name(name)) == ""
        assert not await store.folds_names()
        assert os.listdir(tmp_path) == ["private"]
    finally:
        await store.close()


def test_spellings_are_tried_by_case_form_and_ignored_characters() -> None:
    found = list(spellings("\u00e4b"))
    assert (
        "\u00c4B" in found
        and "a\u0308b" in found
        and "\u00e4\u00adb" in found
        and "\u00e4b" not in found
    )


async def reach_hidden(store: LocalStore, alias: str) -> None:
    """Try what there is with the hidden place under another name."""
    for attempt in (
        lambda: store.stat(parse_name(alias)),
        lambda: store.stat(parse_name(f"{alias}/partials")),
        lambda: store.remove(parse_name(alias), recursive=True),
        lambda: store.remove(parse_name(f"{alias}/partials"), recursive=True),
        lambda: store.rename(parse_name(alias), parse_name("away")),
        lambda: store.rename(parse_name("folder"), parse_name(alias), replace=True),
        lambda: store.set_attributes(parse_name(alias), mode=0o777),
        lambda: store.make_folder(parse_name(f"{alias}/new")),
        lambda: store.open_write(parse_name(f"{alias}/new"), UploadSpec(size=0)),
        lambda: anext(store.scan(parse_name(alias))),
        lambda: anext(store.read_tree(parse_name(alias), 1000, 10)),
    ):
        with pytest.raises(FtransferError):
            await attempt()
    results = await store.read_small([parse_name(alias), parse_name(f"{alias}/partials")], 1000)
    assert all(isinstance(result, FtransferError) for result in results)


async def leave_partial(store: LocalStore) -> None:
    writer = await store.open_write(parse_name("f"), UploadSpec(size=100, source="s"))
    await writer.write(b"secret")
    await writer.suspend()


@pytest.mark.root
async def test_hidden_place_is_reached_by_no_other_spelling(share: Path) -> None:
    (share / "folder").mkdir()
    store = await LocalStore.open(share, durable=False)
    try:
        await leave_partial(store)
        assert (share / ".FTRANSFER").exists()
        for name in (
            ".FTRANSFER",
            ".ft\u00adransfer",
            "\u200b.FTransfer/partials",
            ".ftran\u017ffer",
        ):
            with pytest.raises(NameRefused):
                parse_name(name)
        assert len(await store.partials()) == 1
    finally:
        await store.close()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_staging_area_is_known_by_what_it_is_and_not_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "folded_spellings", lambda folder, name: True)
    for name in ("alias", "folder"):
        (tmp_path / name).mkdir()
    store = await LocalStore.open(tmp_path)
    try:
        await leave_partial(store)
        try:
            run("mount", "--bind", str(tmp_path / ".ftransfer"), str(tmp_path / "alias"))
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("nothing can be mounted here")
        try:
            await reach_hidden(store, "alias")
            assert len(await store.partials()) == 1
            assert (await store.stat(parse_name("folder"))).kind == "dir"
        finally:
            run("umount", str(tmp_path / "alias"))
    finally:
        await store.close()


@pytest.mark.root
@pytest.mark.parametrize("there", [True, False])
async def test_rights_by_folder_are_refused_at_the_start(
    share: Path, tmp_path: Path, there: bool
) -> None:
    if there:
        (share / "private").mkdir()
    users = tmp_path / "users.toml"
    table = (
        f'[[user]]\nname = "ann"\npassword = "{hash_password("password")}"\nrights = {{ "/" ='
        ' "all", "/private" = "none" }\n'
    )
    users.write_text(table)
    users.chmod(0o600)
    done = await run_program("serve", share, "--port", 0, "--users", users, folder=tmp_path)
    assert done.code == 2 and done.err.count("\n") == 1
    assert (
        "ann: rights for /private cannot be enforced: the file system takes PRIVATE for the same"
        in done.err
    )


async def test_who_comes_later_with_such_rights_may_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    store = await LocalStore.open(tmp_path)
    share = Share(store)
    share.folds_names = True
    ann = Principal("ann", (Grant(ROOT, ALL_RIGHTS), Grant(parse_name("private"), NO_RIGHTS)))
    try:
        with pytest.raises(NotFound):
            await share.view_for(ann).stat("f")
        assert (
            await share.view_for(Principal("bob", (Grant(ROOT, ALL_RIGHTS),))).stat("f")
        ).kind == "file"
    finally:
        await share.close()
