"""The user's own files and folders, anywhere, without a store; links are followed."""

from __future__ import annotations

import os

from ftransfer.storage.local import mutations
from ftransfer.storage.local.reader import LocalReader, Opened, refuse_folder
from ftransfer.storage.local.root import READ_FLAGS, refuse_special, times_of
from ftransfer.storage.local.syscalls import release
from ftransfer.storage.local.threads import Jobs
from ftransfer.storage.oserrors import translated
from ftransfer.system.threads import finish_steps


async def open_own_file(path: str | os.PathLike[str]) -> LocalReader:
    """Open one of the user's own files for sending; links are followed.

    The caller closes it. The name of its entry is `path`.

    Raises:
        NotFound, NotAFile, Forbidden, StoreFailed: The message contains the path.
    """
    text = os.fspath(path)

    def open_it() -> Opened:
        with translated(text):
            refuse_special(os.stat(path), text)
            handle = os.open(path, READ_FLAGS)
            try:
                found = os.fstat(handle)
            except BaseException:
                release(handle)
                raise
            return refuse_folder(handle, found, text)

    async def steps() -> LocalReader:
        jobs = Jobs()
        try:
            return LocalReader(
                jobs, text, await jobs.run(open_it), lambda: os.stat(path), jobs.close
            )
        except BaseException:
            await jobs.close()
            raise

    return await finish_steps(steps(), LocalReader.close)


def set_own_folder(path: str, *, mtime_ns: int, mode: int) -> None:
    """Set the mtime and mode of the user's own folder, as in a store. Blocks; raises OSError."""
    os.chmod(path, mutations.folder_mode(mode, os.stat(path).st_mode))
    os.utime(path, ns=times_of(mtime_ns))
