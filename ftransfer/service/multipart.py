"""Running uploads: by id those that take parts over several sessions, and the newest per source.

An id cannot be guessed, ends with the upload, and is useless to another user.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ftransfer.errors import NotFound
from ftransfer.names import SafeName
from ftransfer.storage.capabilities import PartWriter

_ID_BYTES = 18


class OpenUpload(NamedTuple):
    """An upload that takes parts.

    `arrived` is called on the event loop with the length of each part that is in place.
    """

    writer: PartWriter
    owner: str
    arrived: Callable[[int], None]


class MultipartUploads:
    """The running uploads of one share."""

    def __init__(self) -> None:
        self._by_id: dict[str, OpenUpload] = {}
        self._newest: dict[tuple[str, SafeName, str], Callable[[], object]] = {}

    @contextlib.contextmanager
    def newest(
        self, owner: str, name: SafeName, source: str, superseded: Callable[[], object]
    ) -> Iterator[None]:
        """Make this the newest upload of its source while the block runs.

        Calls `superseded` of the previous upload; the next upload calls this one's.
        """
        key = (owner, name, source)
        if (older := self._newest.get(key)) is not None:
            older()
        self._newest[key] = superseded
        try:
            yield
        finally:
            if self._newest.get(key) is superseded:
                del self._newest[key]

    def register(self, upload: OpenUpload) -> str:
        """Accept parts for an upload from now on; return its id. Unregister it in any case."""
        upload_id = secrets.token_urlsafe(_ID_BYTES)
        self._by_id[upload_id] = upload
        return upload_id

    def unregister(self, upload_id: str) -> None:
        """Accept no more parts for it."""
        self._by_id.pop(upload_id, None)

    def get(self, upload_id: str, name: SafeName, owner: str) -> OpenUpload:
        """Return the upload with an id.

        Raises:
            NotFound: There is none, or it has another name or belongs to another user.
        """
        upload = self._by_id.get(upload_id)
        if upload is None or (upload.writer.name, upload.owner) != (name, owner):
            raise NotFound.about(
                name, "there is no such upload, or it has ended; put the file again"
            )
        return upload
