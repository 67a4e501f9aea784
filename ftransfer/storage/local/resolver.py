"""SafeName -> descriptor, always below one open folder, even if links are swapped meanwhile.

Two resolvers give the same results. `openat2` makes the kernel walk without any link; the few names
with a link in the path, and all names where the kernel has no openat2, are walked here, handle by
handle with O_NOFOLLOW. The kernel must not follow links itself (RESOLVE_BENEATH alone): it would
follow a link into the staging area, which has the partials of other users.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from ftransfer.names import is_reserved
from ftransfer.storage.base import Hides
from ftransfer.storage.local.syscalls import PATH_FLAGS, Kernel, release

MAX_LINKS = 40  # as many as Linux follows

_LINK_ON_THE_WAY = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})
# A name of 4096 bytes is within our limits, but one byte too long for a single call.
_WALK_INSTEAD = frozenset({errno.ELOOP, errno.EXDEV, errno.EAGAIN, errno.ENAMETOOLONG})
_O_PATH: int = getattr(os, "O_PATH", 0)


class NameResolver:
    """Opens names below one folder, whose handle it does not own."""

    def __init__(
        self,
        root: int,
        kernel: Kernel,
        *,
        uses_openat2: bool,
        follows: bool = True,
        hides: Hides = is_reserved,
    ) -> None:
        """Set which links are followed.

        Args:
            follows: If false, no call follows a link.
            hides: Whether a part of a name is hidden; a link with such a part is not followed.
        """
        self.root = root
        self.follows = follows
        self.uses_openat2 = uses_openat2
        # Never opened under any name, by device and inode: the staging area, if it has several
        # spellings.
        self.hidden: set[tuple[int, int]] = set()
        self._kernel = kernel
        self._hides = hides

    def open(self, parts: Sequence[str], flags: int) -> int:
        """Open what a name leads to; links are followed while they stay inside.

        Raises:
            OSError: ENOENT also for a link that leads outside, is absolute, or leads into a
                reserved name; ELOOP for more than MAX_LINKS links.
        """
        return self._open(self.root, parts, flags, follow=self.follows)

    def without_links(self) -> NameResolver:
        """Return a resolver for the same folder that follows no link."""
        view = NameResolver(self.root, self._kernel, uses_openat2=self.uses_openat2, follows=False)
        view.hidden = self.hidden
        return view

    def refuse_hidden(self, found: os.stat_result) -> None:
        """Raise FileNotFoundError for the staging area, under any name."""
        if (found.st_dev, found.st_ino) in self.hidden:
            raise _nothing_there()

    def hiding(self, hides: Hides) -> NameResolver:
        """Return a resolver for the same folder that follows no link to a hidden name."""

        def is_hidden(part: str) -> bool:
            return is_reserved(part) or hides(part)

        view = NameResolver(
            self.root,
            self._kernel,
            uses_openat2=self.uses_openat2,
            follows=self.follows,
            hides=is_hidden,
        )
        view.hidden = self.hidden
        return view

    def open_below(self, folder: int, parts: Sequence[str], flags: int) -> int:
        """Open something below an open folder, through no link.

        Raises:
            OSError: ENOENT if a link is in the path.
        """
        return self._open(folder, parts, flags, follow=False)

    def _open(self, folder: int, parts: Sequence[str], flags: int, *, follow: bool) -> int:
        if self.uses_openat2 and not (self.hidden and folder == self.root):
            try:
                return self._kernel.open_beneath(folder, os.fsencode("/".join(parts) or "."), flags)
            except OSError as error:
                if error.errno not in _WALK_INSTEAD:
                    raise
        refuse = self.refuse_hidden if self.hidden else None
        return _NameWalk(
            folder, parts, flags, follow=follow, hides=self._hides, refuse=refuse
        ).open()


class _NameWalk:
    """One walk from a folder to what a name leads to.

    The handles on the path are held, so that `..` in a link returns to the folder that the walk
    came from, even if that folder has been moved meanwhile.
    """

    def __init__(
        self,
        folder: int,
        parts: Sequence[str],
        flags: int,
        *,
        follow: bool,
        hides: Hides,
        refuse: Callable[[os.stat_result], None] | None = None,
    ) -> None:
        self._flags = flags
        self._hides = hides
        self._refuse = refuse
        self._follow = follow
        self._held = [folder]
        self._pending = list(reversed(parts))
        self._links = 0

    def open(self) -> int:
        try:
            while self._pending:
                part = self._pending.pop()
                found = self._step(part)
                if found is not None:
                    return found
            return os.open(".", self._flags, dir_fd=self._held[-1])
        finally:
            for handle in self._held[1:]:
                release(handle)

    def _step(self, part: str) -> int | None:
        """Take the next part; return the descriptor if it was the last."""
        if part in ("", "."):
            return None
        if part == "..":
            if len(self._held) == 1:
                raise _leads_outside()
            release(self._held.pop())
            return None
        is_last = not self._pending
        flags = self._flags if is_last else PATH_FLAGS | os.O_DIRECTORY
        try:
            found = os.open(part, flags | os.O_NOFOLLOW, dir_fd=self._held[-1])
        except OSError as error:
            if error.errno not in _LINK_ON_THE_WAY:
                raise
            self._follow_link(part, error)
            return None
        if self._refuse is not None:
            try:
                self._refuse(os.fstat(found))
            except BaseException:
                release(found)
                raise
        if (
            is_last
            and flags & _O_PATH
            and not flags & os.O_DIRECTORY
            and stat.S_ISLNK(os.fstat(found).st_mode)
        ):
            release(found)  # O_PATH with O_NOFOLLOW opens the link itself
            self._follow_link(part, _nothing_there())
            return None
        if is_last:
            return found
        self._hold(found)
        return None

    def _hold(self, handle: int) -> None:
        if not self._follow and len(self._held) > 1:
            # No link, so no `..` to follow back: a deep name needs only one handle
            release(self._held.pop())
        self._held.append(handle)

    def _follow_link(self, part: str, error: OSError) -> None:
        try:
            target = os.readlink(part, dir_fd=self._held[-1])
        except OSError as not_a_link:
            if not_a_link.errno == errno.EINVAL:
                raise error from None
            raise
        self._links += 1
        if self._links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        parts = target.split("/")
        # A link planted by a peer must not reach, nor write, other users' partials or hidden
        # things.
        if not self._follow or not target or target.startswith("/") or any(map(self._hides, parts)):
            raise _leads_outside()
        self._pending += reversed(parts)


def leads_inside(folder: Sequence[str], target: str) -> bool:
    """Return whether the text of a link in `folder` leads inside, whatever links are in its path.

    Used for listing links. Opening uses NameResolver, which checks what is really there, and making
    links uses links.Links.
    """
    climb = climb_of(target)
    return climb is not None and climb <= len(folder)


def climb_of(target: str) -> int | None:
    """Return how many folders a link goes up before it goes down; None if it is not trusted.

    A link is trusted to lead inside unless it is absolute, contains a reserved name, or has a `..`
    after a name: if that name is a link, the `..` goes up from its target.
    """
    if not target or target.startswith("/") or "\0" in target:
        return None
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climb = 0
    while climb < len(parts) and parts[climb] == "..":
        climb += 1
    return None if any(part == ".." or is_reserved(part) for part in parts[climb:]) else climb


class LeadsOutside(FileNotFoundError):
    """A link leads outside or to a reserved name; the caller finds nothing there."""


def _leads_outside() -> LeadsOutside:
    return LeadsOutside(errno.ENOENT, os.strerror(errno.ENOENT))


def _nothing_there() -> OSError:
    return OSError(errno.ENOENT, os.strerror(errno.ENOENT))
