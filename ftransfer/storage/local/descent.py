"""Walking down a tree and up again by handles: no step starts at the top, no tree is too deep.

Only the handles of the deepest folders on the path are held. The others are reached through "..",
and the walk fails if that is not the folder that it came from: moving folders meanwhile cannot lead
it outside.
"""

from __future__ import annotations

import errno
import os

from ftransfer.storage.local.syscalls import FOLDER_FLAGS, Kernel, release

MAX_HANDLES = 32


class Descent:
    """A position in a tree. It takes over the handle of the top folder; the caller closes it.

    Args:
        stays_on_mount: Refuse to enter another mount below the top (EXDEV).
    """

    def __init__(self, top: int, kernel: Kernel, *, stays_on_mount: bool = False) -> None:
        self._kernel = kernel
        self._stays_on_mount = stays_on_mount
        self._held = [top]
        try:
            self._way = [_identity_of(top)]
        except BaseException:
            release(top)
            raise

    @property
    def handle(self) -> int:
        """The handle of the present folder. The descent keeps owning it."""
        return self._held[-1]

    def enter(self, last: str) -> None:
        """Enter a subfolder of the present one, without following a link. Raises OSError."""
        handle = self._open(last)
        try:
            identity = _identity_of(handle)
            if self._stays_on_mount and identity[0] != self._way[-1][0]:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        except BaseException:
            release(handle)
            raise
        self._way.append(identity)
        self._held.append(handle)
        if len(self._held) > MAX_HANDLES:
            release(self._held.pop(0))

    def leave(self) -> None:
        """Return to the parent folder.

        Raises:
            OSError: ESTALE if the present folder has been moved meanwhile.
        """
        if len(self._held) == 1:
            above = os.open("..", FOLDER_FLAGS, dir_fd=self.handle)
            if _identity_of(above) != self._way[-2]:
                release(above)
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            self._held.insert(0, above)
        self._way.pop()
        release(self._held.pop())

    def close(self) -> None:
        while self._held:
            release(self._held.pop())

    def _open(self, last: str) -> int:
        if self._stays_on_mount:
            try:
                return self._kernel.open_beneath(
                    self.handle, os.fsencode(last), FOLDER_FLAGS, stays_on_mount=True
                )
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EAGAIN):
                    raise
        return os.open(last, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=self.handle)


def _identity_of(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino
