"""The uploads whose content comes in parts over several sessions: which word stands for which.

A leaf above storage. The word cannot be guessed, ends with the upload, and is worth nothing to another user.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

from ftransfer.errors import NotFound
from ftransfer.names import SafeName, escape
from ftransfer.storage.base import Writer

_WORD_BYTES = 18


class OpenUpload(NamedTuple):
    """An upload that takes parts. `arrived` is called on the loop with the length of each that is in place."""

    writer: Writer
    owner: str
    arrived: Callable[[int], None]


class Uploads:
    """Those of one share."""

    def __init__(self) -> None:
        self._of_word: dict[str, OpenUpload] = {}

    def offer(self, upload: OpenUpload) -> str:
        """Take parts for an upload from now on; give the word for it. End it in any case."""
        word = secrets.token_urlsafe(_WORD_BYTES)
        self._of_word[word] = upload
        return word

    def end(self, word: str) -> None:
        """Take no more parts under this word."""
        self._of_word.pop(word, None)

    def find(self, word: str, name: SafeName, owner: str) -> OpenUpload:
        """Give the upload that a word stands for.

        Raises:
            NotFound: There is none, or it is of another name or another user.
        """
        upload = self._of_word.get(word)
        if upload is None or (upload.writer.name, upload.owner) != (name, owner):
            raise NotFound(f"{escape(str(name))}: there is no such upload, or it has ended; put the file again", name=str(name))
        return upload
