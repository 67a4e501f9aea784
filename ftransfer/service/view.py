"""One user's way into a share: every verb asks here, and nowhere else, what its principal may do.

Wire text comes in, checked names go to the store. Two rules keep hidden things hidden. Whether a
name may be seen is decided from the name alone, before the store is asked, and what may not be seen
gets the sentence of what does not exist. And a principal whose rights are not the same everywhere
is served by a store that follows no links, since a link could lead from where they may go to where
they may not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from ftransfer.auth.permissions import Principal, Right
from ftransfer.errors import (
    AlreadyThere,
    Forbidden,
    FtransferError,
    NameRefused,
    NotAFile,
    NotAFolder,
    NotFound,
    ReadOnly,
)
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.names import ROOT, SafeName, check_told, escape, parse_name, parse_path
from ftransfer.service.multipart import MultipartUploads, OpenUpload
from ftransfer.service.quota import QuotaTracker
from ftransfer.storage import listings, small_files, views
from ftransfer.storage.base import (
    FOLDER,
    LINK,
    Entry,
    Partial,
    Range,
    Reader,
    SmallFile,
    Store,
    UploadSpec,
    Writer,
)
from ftransfer.storage.capabilities import PartWriter
from ftransfer.storage.small_files import PackItem
from ftransfer.transfer.hidden_names import HiddenNames

_SEEING = (Right.LIST, Right.READ)
_WRITING = frozenset((Right.WRITE, Right.OVERWRITE))


class ShareView:
    """A share as one principal may use it. Made by Share.view.

    Args:
        source: Where they come from (penalties.source_of).
        hiding: Names that are not there for anybody, and that nothing can be given.
        read_only: Nothing may be changed, whatever the rights say; it is told apart in the message.
    """

    def __init__(
        self,
        store: Store,
        principal: Principal,
        quota: QuotaTracker,
        uploads: MultipartUploads,
        *,
        source: str = "",
        hiding: HiddenNames | None = None,
        read_only: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.principal = principal
        self.durable = store.durable
        self._is_uniform = principal.is_uniform
        self.owner = f"{principal.name}\0{source}"  # of long work
        self._hiding = hiding
        # Where more than the last part of a name decides, a link could give another name to what is
        # hidden by its own.
        may_follow = self._is_uniform and (hiding is None or hiding.looks_at_last)
        store = store if may_follow else views.without_links(store)
        self._whole_store = views.on_behalf_of(store, self.owner)
        seen = store if hiding is None else views.hiding(store, hiding)
        self._store = views.on_behalf_of(seen, self.owner)
        self._quota = quota
        self._uploads = uploads
        self._read_only = read_only
        self._limits = limits
        self._now_ns = now_ns

    # Looking.

    async def scan(
        self,
        path: str,
        *,
        recursive: bool = False,
        links: bool = False,
        others: bool = False,
        after: str = "",
        until: str = "",
    ) -> AsyncGenerator[Sequence[Entry], None]:
        """Give the entries below a folder that may be seen, in batches; of a recursive listing
        those in the range from `after` to `until`, names relative to the folder. Close it if it is
        left early. Raises as Store.scan, and NameRefused.
        """
        folder = parse_path(path, self._limits)
        within = Range(*(bound and check_told(bound) for bound in (after, until)))
        if not self._may_list(folder):
            return
        batches = self._store.scan(
            folder, recursive=recursive, links=links, others=others, within=within
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                seen = (
                    batch
                    if self._is_uniform
                    else [entry for entry in batch if self._is_listed(entry)]
                )
                if seen:
                    yield seen

    async def lines(
        self, path: str, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        """Give the same as lines, names relative to the folder (Store.lines). Raises as `scan`."""
        folder = parse_path(path, self._limits)
        if not self._is_uniform:
            listed = self.scan(path, recursive=True, links=links, others=others)
            groups = listings.as_lines(listed, folder)
        elif self._may_list(folder):
            groups = listings.lines(self._store, folder, links=links, others=others)
        else:
            return
        async with contextlib.aclosing(groups):
            async for lines in groups:
                yield lines

    def _may_list(self, folder: SafeName) -> bool:
        """Whether there is anything to list. Raises what hides a folder from who may see nothing
        below it.
        """
        if self._covers(folder):
            raise _not_found(folder)
        if self.principal.may_below(Right.LIST, folder):
            return True
        if folder.is_root:
            return False  # a share is there, whoever asks; that it is empty for them is no secret
        raise self._hidden(folder, Right.LIST)

    def _is_listed(self, entry: Entry) -> bool:
        name = SafeName.trusted(entry.name)
        if entry.kind == FOLDER:
            return self.principal.may_below(Right.LIST, name)
        # The text of a link names other things, and would be followed for nobody with such rights.
        return entry.kind != LINK and self.principal.may(Right.LIST, name)

    async def stat(self, path: str) -> Entry:
        """Describe a file or folder, with its identity. Raises as Store.stat, and NameRefused."""
        name = parse_path(path, self._limits)
        if self._may_see(name):
            return await self._store.stat(name)
        if self._covers(name) or not any(
            self.principal.may_below(right, name) for right in _SEEING
        ):
            raise _not_found(name)
        entry = await self._store.stat(name)
        if entry.kind != FOLDER:
            raise _not_found(name)
        return entry

    async def open_read(self, name: str, *, whole_bytes: int = 0) -> Reader:
        """Open a file. Takes and raises as Store.open_read, and NameRefused."""
        safe = parse_name(name, self._limits)
        self._refuse_reading(safe)
        return await small_files.open_whole(self._store, safe, whole_bytes)

    async def read_small(self, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]:
        """Read small files for a pack. Gives as Store.read_small."""
        if (
            self._is_uniform
            and self.principal.may(Right.READ, ROOT)
            and not any(map(self._covers, names))
        ):
            return await small_files.read_small(self._store, names, max_bytes)
        wanted = [name for name in names if self._may_be_packed(name)]
        read = iter(await small_files.read_small(self._store, wanted, max_bytes) if wanted else ())
        items: list[PackItem] = []
        for name in names:
            item = next(read, None) if self._may_be_packed(name) else self._hidden(name, Right.READ)
            if item is None:
                break
            items.append(self._only_folder(name, item))
        return items

    async def read_tree(
        self, path: str, max_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[PackItem], None]:
        """Read all that may be seen below a folder. Gives as Store.read_tree; raises as `list`."""
        folder = parse_path(path, self._limits)
        if self._is_uniform and self.principal.may(Right.READ, ROOT) and not self._covers(folder):
            groups = small_files.read_tree(self._store, folder, max_bytes, max_items, others=others)
        else:
            groups = small_files.read_listed(
                self.scan(path, recursive=True, others=others),
                lambda names: self.read_small(names[:max_items], max_bytes),
            )
        async with contextlib.aclosing(groups):
            async for group in groups:
                yield group

    def _may_be_packed(self, name: SafeName) -> bool:
        # The folders on the way to what may be seen belong to a tree as well.
        return not self._covers(name) and (
            self.principal.may(Right.READ, name) or self.principal.may_below(Right.LIST, name)
        )

    def _only_folder(self, name: SafeName, item: PackItem) -> PackItem:
        """Give the item back, unless it is the content of a file where only a folder may be
        seen.
        """
        if self.principal.may(Right.READ, name) or (
            isinstance(item, SmallFile) and item.kind == FOLDER
        ):
            return item
        return self._hidden(name, Right.READ)

    def _refuse_reading(self, name: SafeName) -> None:
        if self._covers(name) or not self.principal.may(Right.READ, name):
            raise self._hidden(name, Right.READ)

    # Changing.

    def refuse_batch(self, *rights: Right) -> None:
        """Refuse a batch at its line if there is no name at which any of these rights is given.
        Raises ReadOnly, Forbidden.
        """
        if self._read_only and not set(rights) & set(_SEEING):
            raise ReadOnly("this share is read-only")
        if not any(map(self.principal.may_somewhere, rights)):
            words = " or ".join(right.value for right in rights)
            raise Forbidden(
                f"you have no right to {words} anything; the owner of the share can give it"
            )

    async def open_write(self, name: str, announced: UploadSpec) -> Writer:
        """Begin an upload of this principal. Raises as QuotaTracker.open_write, NameRefused and
        ReadOnly.
        """
        safe = parse_name(name, self._limits)
        announced = announced._replace(owner=self.principal.name)
        rights = self._rights_to_write(safe)
        if Right.OVERWRITE not in rights:
            return await self._open_new(safe, announced)
        if Right.WRITE not in rights:
            await self._refuse_new(safe)
        async with self._naming_what_is_missing(safe):
            return await self._quota.open_write(self._store, self.principal, safe, announced)

    async def open_replaced(self, name: str) -> Reader:
        """Open the file that an upload of this principal is to replace, to look at its content.

        Raises:
            AlreadyThere: They may replace nothing there.
            NotFound, NotAFile, ReadOnly, NameRefused.
        """
        safe = parse_name(name, self._limits)
        if Right.OVERWRITE not in self._rights_to_write(safe):
            raise self._taken(safe)  # what is there would tell one content from another
        return await self._store.open_read(safe)

    def offer_parts(self, writer: PartWriter, arrived: Callable[[int], None]) -> str:
        """Let other sessions of this principal send parts of an upload; give the word that they
        say. To be ended in any case.
        """
        return self._uploads.offer(OpenUpload(writer, self.principal.name, arrived))

    def end_parts(self, word: str) -> None:
        """Take no more parts."""
        self._uploads.end(word)

    def find_upload(self, name: str, word: str) -> OpenUpload:
        """Give an upload of this principal that takes parts. Raises NotFound, NameRefused,
        ReadOnly, Forbidden.
        """
        safe = parse_name(name, self._limits)
        self._rights_to_write(safe)
        return self._uploads.find(word, safe, self.principal.name)

    def newest_upload(
        self, name: SafeName, source: str, superseded: Callable[[], object]
    ) -> contextlib.AbstractContextManager[None]:
        """Be told when another upload of the same source by this principal takes over. Gives as
        MultipartUploads.newest.
        """
        return self._uploads.newest(self.principal.name, name, source, superseded)

    async def _open_new(self, name: SafeName, announced: UploadSpec) -> Writer:
        if announced.replaces is not None:
            raise self._taken(name)  # it means to replace; and would tell one content from another
        try:
            only_new = announced._replace(if_absent=True)
            async with self._naming_what_is_missing(name):
                return await self._quota.open_write(self._store, self.principal, name, only_new)
        except (AlreadyThere, NotAFile) as error:
            # One answer to whatever has the name: a drop box shall not tell a file from a folder.
            raise self._taken(name) from error

    async def _refuse_new(self, name: SafeName) -> None:
        try:
            await self._store.stat(name)
        except NotFound as error:
            raise self._not_allowed(
                name, "may not be made; your rights are to replace what is there"
            ) from error

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        """Publish the files of a pack. Gives as Store.write_small; the refusal for each that is not
        allowed.
        """
        is_free = (
            self._is_uniform and not self._read_only and self.principal.rights_at(ROOT) >= _WRITING
        )
        if is_free and (self._hiding is None or not any(map(self._may_cover, files))):
            # Which checks the names itself
            return await self._quota.write_small(self._store, self.principal, files)
        checked = [await self._check_small(file) for file in files]
        allowed = [file for file in checked if isinstance(file, SmallFile)]
        written = iter(await self._quota.write_small(self._store, self.principal, allowed))
        return [
            self._told(file, next(written)) if isinstance(file, SmallFile) else file
            for file in checked
        ]

    def _may_cover(self, file: SmallFile) -> bool:
        """Whether the name of a file is hidden, or is none; or it is a link to what is hidden."""
        if file.kind == LINK and self._leads_to_hidden(file.target):
            return True
        try:
            return self._covers(
                SafeName.trusted(file.name) if file.name.isascii() else parse_name(file.name)
            )
        except NameRefused:
            return True

    def _leads_to_hidden(self, target: str) -> bool:
        """Whether a link says a hidden name. Such a link is followed for nobody here, but other
        programs may follow it.
        """
        return self._hiding is not None and any(map(self._hiding, target.split("/")))

    async def _check_small(self, file: SmallFile) -> SmallFile | FtransferError:
        try:
            name = parse_name(file.name, self._limits)
            rights = self._rights_to_write(name)
            if file.kind == LINK and not self._is_uniform:
                raise self._not_allowed(
                    name, "links may be made only by those whose rights are the same everywhere"
                )
            if file.kind == LINK and self._leads_to_hidden(file.target):
                raise self._not_allowed(name, "the link leads to a name that this server hides")
            if Right.WRITE not in rights:
                await self._refuse_new(name)
        except FtransferError as error:
            return error
        return file if Right.OVERWRITE in rights else file._replace(if_absent=True)

    def _told(self, file: SmallFile, result: FtransferError | None) -> FtransferError | None:
        if file.if_absent and isinstance(result, (AlreadyThere, NotAFile)):
            return self._taken(parse_name(file.name))
        return result

    async def make_folder(self, path: str, *, parents: bool = False) -> SafeName:
        """Make a folder; give its name. Raises as Store.make_folder, NameRefused and ReadOnly."""
        name = parse_path(path, self._limits)
        if Right.WRITE not in self._rights_to_write(name):
            raise self._not_allowed(name, "you may not make new folders there")
        async with self._naming_what_is_missing(name):
            await self._quota.make_folder(self._store, self.principal, name, parents=parents)
        return name

    async def set_attributes(
        self, path: str, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> SafeName:
        """Set the mtime or mode of a file or folder; give its name. Raises as Store.set_attributes,
        NameRefused and ReadOnly.
        """
        name = parse_path(path, self._limits)
        self._need(Right.OVERWRITE, name)
        await self._store.set_attributes(name, mtime_ns=mtime_ns, mode=mode)
        return name

    async def rename(
        self, old: str, new: str, *, replace: bool = False, over: bool = False
    ) -> SafeName:
        """Move a file or folder; give its new name. Raises as Store.rename, NameRefused and
        ReadOnly.
        """
        source, target = parse_path(old, self._limits), parse_path(new, self._limits)
        # What is moved comes under the rights of its new place: nobody shall read there what they
        # may not read here.
        for right in (Right.DELETE, *_SEEING):
            self._need(right, source)
        self._need(Right.WRITE, target)
        if replace or over:
            self._need(Right.OVERWRITE, target)
        if over:
            self._need(Right.DELETE, target)
        await self._refuse_to_uncover(source, target)
        async with self._naming_what_is_missing(target, source):
            await self._store.rename(source, target, replace=replace, over=over)
        self._quota.invalidate()
        return target

    async def remove(self, path: str, *, recursive: bool = False) -> int:
        """Remove a file or folder; give how many things went. Raises as Store.remove, NameRefused
        and ReadOnly.

        A name with a "/" at the end is that of a folder; else NotAFolder is raised.
        """
        name = parse_path(path, self._limits)
        self._need(Right.DELETE, name)
        if path.endswith("/") and (await self.stat(path)).kind != FOLDER:
            raise NotAFolder.about(name, "is a file; leave out the / to remove it")
        try:
            return await self._store.remove(name, recursive=recursive)
        finally:
            self._quota.invalidate()

    async def _refuse_to_uncover(self, source: SafeName, target: SafeName) -> None:
        """Refuse to move a folder if something in it is hidden by its place, and would not be so at
        the other, or only there.
        """
        if self._hiding is None or self._hiding.looks_at_last:
            return
        with contextlib.suppress(NotAFolder):
            async with contextlib.aclosing(
                self._whole_store.scan(source, recursive=True, links=True)
            ) as batches:
                async for batch in batches:
                    names = [SafeName.trusted(entry.name) for entry in batch]
                    moved = [
                        SafeName(target.parts + name.parts[len(source.parts) :]) for name in names
                    ]
                    if any(
                        self._covers(one) != self._covers(other)
                        for one, other in zip(names, moved, strict=True)
                    ):
                        raise Forbidden.about(
                            source, "cannot be moved there, because of names that this server hides"
                        )

    # Partials: everybody sees their own. All who have no name are one owner: of theirs, each sees
    # those whose source they can name, which only the sender can, and those whose names they may
    # see in any case.

    async def partials(
        self, path: str = "", *, older_s: int = 0, source: str = ""
    ) -> Sequence[Partial]:
        """Give this user's uploads that are not complete, oldest first: of a name or below a
        folder, untouched for `older_s`.
        """
        is_meant = self._choose_partials(path, older_s, source, frozenset({Right.LIST}))
        return [partial for partial in await self._store.partials() if is_meant(partial)]

    async def clear_partials(
        self, path: str = "", *, older_s: int = 0, source: str = ""
    ) -> Sequence[Partial]:
        """Remove such uploads, but none that is running; give those removed. Raises ReadOnly."""
        if self._read_only:
            raise _read_only(parse_path(path, self._limits))
        is_meant = self._choose_partials(
            path, older_s, source, frozenset({Right.LIST, Right.DELETE})
        )
        removed = await self._store.clear_partials(lambda partial: not is_meant(partial))
        self._quota.invalidate()
        return removed

    def _choose_partials(
        self, path: str, older_s: int, source: str, needed: frozenset[Right]
    ) -> Callable[[Partial], bool]:
        below = parse_path(path, self._limits)
        latest_ns = self._now_ns() - older_s * 1_000_000_000

        def is_own(partial: Partial, name: SafeName) -> bool:
            if partial.owner != self.principal.name or (source and partial.source != source):
                return False
            return bool(partial.owner or source) or self.principal.rights_at(name) >= needed

        def is_meant(partial: Partial) -> bool:
            name = SafeName.trusted(partial.name)
            is_old = not older_s or partial.mtime_ns <= latest_ns
            return (
                is_old
                and name.is_within(below)
                and not self._covers(name)
                and is_own(partial, name)
            )

        return is_meant

    # What is missing.

    @contextlib.asynccontextmanager
    async def _naming_what_is_missing(
        self, name: SafeName, source: SafeName | None = None
    ) -> AsyncGenerator[None, None]:
        """Let NotFound speak of the folder above `name` that is not there, if that is why, and if
        it might be seen.

        Args:
            source: Something else that may be missing just as well.
        """
        try:
            yield
        except NotFound as error:
            if source is not None and not await self._is_there(source):
                raise _not_found(source) from error
            missing = await self._missing_above(name)
            if missing is None:
                raise
            makes = escape(str(name.parent))
            advice = f'mkdir -p "{makes}"' if " " in makes else f"mkdir -p {makes}"
            raise NotFound.about(missing, f"there is no such folder; {advice} makes it") from error

    async def _missing_above(self, name: SafeName) -> SafeName | None:
        """Give the first folder above a name that is not there. Found by halves: a name of a
        thousand parts costs ten questions.
        """
        there, missing = 0, len(name.parts)
        while missing - there > 1:
            middle = (there + missing) // 2
            if await self._is_there(SafeName(name.parts[:middle])):
                there = middle
            else:
                missing = middle
        found = SafeName(name.parts[:missing])
        might_be_seen = any(self.principal.may_below(right, found) for right in _SEEING)
        return found if missing < len(name.parts) and might_be_seen else None

    async def _is_there(self, name: SafeName) -> bool:
        try:
            await self.stat(str(name) or "/")
        except FtransferError:
            return False
        return True

    # The rules.

    def _covers(self, name: SafeName) -> bool:
        """Whether a name is hidden from everybody."""
        return self._hiding is not None and self._hiding.covers(name)

    def _may_see(self, name: SafeName) -> bool:
        return not self._covers(name) and any(self.principal.may(right, name) for right in _SEEING)

    def _rights_to_write(self, name: SafeName) -> frozenset[Right]:
        """Give which of WRITE and OVERWRITE there are, at least one. Raises ReadOnly, Forbidden,
        NotFound.
        """
        rights = self.principal.rights_at(name) & _WRITING
        if not rights:
            raise self._hidden(name, Right.WRITE)
        if self._read_only:
            raise _read_only(name)
        if self._covers(name):
            raise _covered(name)
        return rights

    def _need(self, right: Right, name: SafeName) -> None:
        """Refuse unless the right is given at the name and everywhere below it."""
        if not self.principal.may(right, name):
            raise self._hidden(name, right)
        if self._read_only:
            raise _read_only(name)
        if self._covers(name):
            raise _covered(name) if right is Right.WRITE else _not_found(name)
        if not self.principal.may_all_below(right, name):
            raise self._not_allowed(
                name, f"your right to {right.value} does not hold for all below it"
            )

    def _hidden(self, name: SafeName, right: Right) -> FtransferError:
        """Give the refusal of a right: for what may be seen that it is not allowed, for all else
        that it is not there.
        """
        if not self._may_see(name):
            return _not_found(name)
        if self._read_only and right not in _SEEING:
            return _read_only(name)
        return self._not_allowed(
            name, f"you have no right to {right.value} it; the owner of the share can give it"
        )

    def _not_allowed(self, name: SafeName, why: str) -> FtransferError:
        return Forbidden.about(name, why) if self._may_see(name) else _not_found(name)

    def _taken(self, name: SafeName) -> AlreadyThere:
        message = "something has that name already, and you may not replace it; choose another name"
        return AlreadyThere.about(name, message)


def _not_found(name: SafeName) -> NotFound:
    return NotFound.about(name, "no such file or folder")


def _covered(name: SafeName) -> Forbidden:
    message = (
        "this server hides such names and stores nothing under them; choose another name, or ask"
        " the owner of the share"
    )
    return Forbidden.about(name, message)


def _read_only(name: SafeName) -> ReadOnly:
    return ReadOnly.about(name, "this share is read-only")
