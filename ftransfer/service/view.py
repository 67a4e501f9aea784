"""A share as one principal may use it: the only place where verbs are checked against rights.

Wire text comes in, checked names go to the store. Visibility is decided from the name alone
(access_rules.py). A principal whose rights are not the same everywhere gets a store that follows no
links, since a link could lead from an allowed place to a forbidden one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from ftransfer.auth.permissions import Right
from ftransfer.errors import AlreadyThere, FtransferError, NotAFile, NotAFolder, NotFound
from ftransfer.limits import DEFAULT_LIMITS, Limits
from ftransfer.names import SafeName, check_told, parse_name, parse_path
from ftransfer.service.access_rules import (
    SEEING,
    AccessRules,
    leads_to_hidden,
    not_found,
    share_is_read_only,
    taken,
)
from ftransfer.service.hidden_move import refuse_to_uncover
from ftransfer.service.missing_folder import naming_missing_folder
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


class ShareView:
    """A share as one principal may use it. Created by Share.view_for.

    Args:
        source: The client's source (penalties.source_of).
    """

    def __init__(
        self,
        store: Store,
        rules: AccessRules,
        quota: QuotaTracker,
        uploads: MultipartUploads,
        *,
        source: str = "",
        limits: Limits = DEFAULT_LIMITS,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.principal = rules.principal
        self.durable = store.durable
        self.owner = f"{rules.principal.name}\0{source}"  # of long work
        self._rules = rules
        store = store if rules.may_follow_links else views.without_links(store)
        self._whole_store = views.on_behalf_of(store, self.owner)
        seen = store if rules.hiding is None else views.hiding(store, rules.hiding)
        self._store = views.on_behalf_of(seen, self.owner)
        self._quota = quota
        self._uploads = uploads
        self._limits = limits
        self._now_ns = now_ns

    # Reading.

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
        """Return the visible entries below a folder, in batches.

        A recursive listing returns those in the range from `after` to `until`, with names relative
        to the folder. Close it if you leave it early. Raises as Store.scan, and NameRefused.
        """
        folder = parse_path(path, self._limits)
        within = Range(*(bound and check_told(bound) for bound in (after, until)))
        if not self._rules.may_list(folder):
            return
        batches = self._store.scan(
            folder, recursive=recursive, links=links, others=others, within=within
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                seen = (
                    batch
                    if self._rules.is_uniform
                    else [entry for entry in batch if self._rules.is_listed(entry)]
                )
                if seen:
                    yield seen

    async def lines(
        self, path: str, *, links: bool = False, others: bool = False
    ) -> AsyncGenerator[Sequence[str], None]:
        """Return the same as lines (Store.lines), with names relative to the folder."""
        folder = parse_path(path, self._limits)
        if not self._rules.is_uniform:
            listed = self.scan(path, recursive=True, links=links, others=others)
            groups = listings.as_lines(listed, folder)
        elif self._rules.may_list(folder):
            groups = listings.lines(self._store, folder, links=links, others=others)
        else:
            return
        async with contextlib.aclosing(groups):
            async for lines in groups:
                yield lines

    async def stat(self, path: str) -> Entry:
        """Describe a file or folder, with its identity. Raises as Store.stat, and NameRefused."""
        name = parse_path(path, self._limits)
        if self._rules.may_see(name):
            return await self._store.stat(name)
        if not self._rules.may_see_below(name):
            raise not_found(name)
        entry = await self._store.stat(name)
        if entry.kind != FOLDER:
            raise not_found(name)
        return entry

    async def open_read(self, name: str, *, whole_bytes: int = 0) -> Reader:
        """Open a file. Takes and raises as Store.open_read, and NameRefused."""
        safe = parse_name(name, self._limits)
        self._rules.refuse_reading(safe)
        return await small_files.open_whole(self._store, safe, whole_bytes)

    async def read_small(self, names: Sequence[SafeName], max_bytes: int) -> Sequence[PackItem]:
        """Read small files for a pack. Returns as Store.read_small."""
        if self._rules.reads_all and not any(map(self._rules.covers, names)):
            return await small_files.read_small(self._store, names, max_bytes)
        wanted = [name for name in names if self._rules.may_pack(name)]
        read = iter(await small_files.read_small(self._store, wanted, max_bytes) if wanted else ())
        items: list[PackItem] = []
        for name in names:
            item = (
                next(read, None)
                if self._rules.may_pack(name)
                else self._rules.hidden(name, Right.READ)
            )
            if item is None:
                break
            items.append(self._only_folder(name, item))
        return items

    async def read_tree(
        self, path: str, max_bytes: int, max_items: int, *, others: bool = False
    ) -> AsyncGenerator[Sequence[PackItem], None]:
        """Read all that is visible below a folder. Returns as Store.read_tree."""
        folder = parse_path(path, self._limits)
        if self._rules.reads_all and not self._rules.covers(folder):
            groups = small_files.read_tree(self._store, folder, max_bytes, max_items, others=others)
        else:
            groups = small_files.read_listed(
                self.scan(path, recursive=True, others=others),
                lambda names: self.read_small(names[:max_items], max_bytes),
            )
        async with contextlib.aclosing(groups):
            async for group in groups:
                yield group

    def _only_folder(self, name: SafeName, item: PackItem) -> PackItem:
        """Return the item, unless it is a file's content where only a folder may be seen."""
        if self.principal.may(Right.READ, name) or (
            isinstance(item, SmallFile) and item.kind == FOLDER
        ):
            return item
        return self._rules.hidden(name, Right.READ)

    # Changing.

    def refuse_batch(self, *rights: Right) -> None:
        """Refuse a batch; see AccessRules.refuse_batch."""
        self._rules.refuse_batch(*rights)

    async def open_write(self, name: str, announced: UploadSpec) -> Writer:
        """Begin an upload of this principal.

        Raises as QuotaTracker.open_write, NameRefused and ReadOnly.
        """
        safe = parse_name(name, self._limits)
        announced = announced._replace(owner=self.principal.name)
        rights = self._rules.rights_to_write(safe)
        if Right.OVERWRITE not in rights:
            return await self._open_new(safe, announced)
        if Right.WRITE not in rights:
            await self._refuse_new(safe)
        async with naming_missing_folder(self, safe):
            return await self._quota.open_write(self._store, self.principal, safe, announced)

    async def open_replaced(self, name: str) -> Reader:
        """Open the file that an upload of this principal is to replace, to read its content.

        Raises:
            AlreadyThere: They may replace nothing there.
            NotFound, NotAFile, ReadOnly, NameRefused.
        """
        safe = parse_name(name, self._limits)
        if Right.OVERWRITE not in self._rules.rights_to_write(safe):
            raise taken(safe)  # the file there would let them compare contents
        return await self._store.open_read(safe)

    def offer_parts(self, writer: PartWriter, arrived: Callable[[int], None]) -> str:
        """Let other sessions of this principal send parts of an upload; return the id for them.

        Always call `end_parts` afterwards.
        """
        return self._uploads.register(OpenUpload(writer, self.principal.name, arrived))

    def end_parts(self, upload_id: str) -> None:
        """Accept no more parts."""
        self._uploads.unregister(upload_id)

    def find_upload(self, name: str, upload_id: str) -> OpenUpload:
        """Return an upload of this principal that takes parts.

        Raises NotFound, NameRefused, ReadOnly, Forbidden.
        """
        safe = parse_name(name, self._limits)
        self._rules.rights_to_write(safe)
        return self._uploads.get(upload_id, safe, self.principal.name)

    def newest_upload(
        self, name: SafeName, source: str, superseded: Callable[[], object]
    ) -> contextlib.AbstractContextManager[None]:
        """Make an upload the newest of its source until another of this principal takes over.

        See MultipartUploads.newest.
        """
        return self._uploads.newest(self.principal.name, name, source, superseded)

    async def _open_new(self, name: SafeName, announced: UploadSpec) -> Writer:
        if announced.replaces is not None:
            raise taken(name)  # it is to replace a file, and would let them compare contents
        try:
            only_new = announced._replace(if_absent=True)
            async with naming_missing_folder(self, name):
                return await self._quota.open_write(self._store, self.principal, name, only_new)
        except (AlreadyThere, NotAFile) as error:
            # The same error for anything with the name: a drop box must not tell a file from a
            # folder.
            raise taken(name) from error

    async def _refuse_new(self, name: SafeName) -> None:
        try:
            await self._store.stat(name)
        except NotFound as error:
            raise self._rules.not_allowed(
                name, "may not be made; your rights are to replace what is there"
            ) from error

    async def write_small(self, files: Sequence[SmallFile]) -> Sequence[FtransferError | None]:
        """Publish the files of a pack; return an error or None for each."""
        if self._rules.writes_all and not self._rules.may_hide_any(files):
            # The quota checks the names itself
            return await self._quota.write_small(self._store, self.principal, files)
        checked = [await self._check_small(file) for file in files]
        allowed = [file for file in checked if isinstance(file, SmallFile)]
        written = iter(await self._quota.write_small(self._store, self.principal, allowed))
        return [
            self._answer_to(file, next(written)) if isinstance(file, SmallFile) else file
            for file in checked
        ]

    async def _check_small(self, file: SmallFile) -> SmallFile | FtransferError:
        try:
            name = parse_name(file.name, self._limits)
            rights = self._rules.rights_to_write(name)
            if file.kind == LINK and not self._rules.is_uniform:
                raise self._rules.not_allowed(
                    name, "links may be made only by those whose rights are the same everywhere"
                )
            if file.kind == LINK and leads_to_hidden(self._rules.hiding, file.target):
                raise self._rules.not_allowed(
                    name, "the link leads to a name that this server hides"
                )
            if Right.WRITE not in rights:
                await self._refuse_new(name)
        except FtransferError as error:
            return error
        return file if Right.OVERWRITE in rights else file._replace(if_absent=True)

    def _answer_to(self, file: SmallFile, result: FtransferError | None) -> FtransferError | None:
        if file.if_absent and isinstance(result, (AlreadyThere, NotAFile)):
            return taken(parse_name(file.name))
        return result

    async def make_folder(self, path: str, *, parents: bool = False) -> SafeName:
        """Create a folder; return its name.

        Raises as Store.make_folder, NameRefused and ReadOnly.
        """
        name = parse_path(path, self._limits)
        if Right.WRITE not in self._rules.rights_to_write(name):
            raise self._rules.not_allowed(name, "you may not make new folders there")
        async with naming_missing_folder(self, name):
            await self._quota.make_folder(self._store, self.principal, name, parents=parents)
        return name

    async def set_attributes(
        self, path: str, *, mtime_ns: int | None = None, mode: int | None = None
    ) -> SafeName:
        """Set the mtime or mode of a file or folder; return its name.

        Raises as Store.set_attributes, NameRefused and ReadOnly.
        """
        name = parse_path(path, self._limits)
        self._rules.need(Right.OVERWRITE, name)
        await self._store.set_attributes(name, mtime_ns=mtime_ns, mode=mode)
        return name

    async def rename(
        self, old: str, new: str, *, replace: bool = False, over: bool = False
    ) -> SafeName:
        """Move a file or folder; return its new name.

        Raises as Store.rename, NameRefused and ReadOnly.
        """
        source, target = parse_path(old, self._limits), parse_path(new, self._limits)
        # What is moved gets the rights of its new place: nobody may read there what they may not
        # read here.
        for right in (Right.DELETE, *SEEING):
            self._rules.need(right, source)
        self._rules.need(Right.WRITE, target)
        if replace or over:
            self._rules.need(Right.OVERWRITE, target)
        if over:
            self._rules.need(Right.DELETE, target)
        if self._rules.hiding is not None:
            await refuse_to_uncover(self._whole_store, self._rules.hiding, source, target)
        async with naming_missing_folder(self, target, source):
            await self._store.rename(source, target, replace=replace, over=over)
        self._quota.invalidate()
        return target

    async def remove(self, path: str, *, recursive: bool = False) -> int:
        """Remove a file or folder; return the number of things removed.

        Raises as Store.remove, NameRefused and ReadOnly. A name with a "/" at the end must be a
        folder; else NotAFolder is raised.
        """
        name = parse_path(path, self._limits)
        self._rules.need(Right.DELETE, name)
        if path.endswith("/") and (await self.stat(path)).kind != FOLDER:
            raise NotAFolder.about(name, "is a file; leave out the / to remove it")
        try:
            return await self._store.remove(name, recursive=recursive)
        finally:
            self._quota.invalidate()

    # Partials.

    async def partials(
        self, path: str = "", *, older_s: int = 0, source: str = ""
    ) -> Sequence[Partial]:
        """Return this user's incomplete uploads, oldest first.

        They are of a name or below a folder, and untouched for `older_s`.
        """
        seeing = frozenset({Right.LIST})
        is_meant = self._rules.partial_filter(
            parse_path(path, self._limits), self._before_ns(older_s), source, seeing
        )
        return [partial for partial in await self._store.partials() if is_meant(partial)]

    async def clear_partials(
        self, path: str = "", *, older_s: int = 0, source: str = ""
    ) -> Sequence[Partial]:
        """Remove such uploads, but no running one; return those removed. Raises ReadOnly."""
        if self._rules.read_only:
            raise share_is_read_only(parse_path(path, self._limits))
        removing = frozenset({Right.LIST, Right.DELETE})
        is_meant = self._rules.partial_filter(
            parse_path(path, self._limits), self._before_ns(older_s), source, removing
        )
        removed = await self._store.clear_partials(lambda partial: not is_meant(partial))
        self._quota.invalidate()
        return removed

    def _before_ns(self, older_s: int) -> int | None:
        return self._now_ns() - older_s * 1_000_000_000 if older_s else None
