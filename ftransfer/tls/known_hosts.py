"""The keys that servers presented before: a text file with lines `HOST:PORT FINGERPRINT`.

It makes the first check lasting: an impostor at the address of a known server has another key. A
third field, `unconfirmed`, marks a key that was seen but not compared with what the owner says: no
secret is sent to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ftransfer.addresses import canonical_address
from ftransfer.errors import BadFile
from ftransfer.system.private_files import locked, read_private, write_private
from ftransfer.tls.fingerprint import parse_fingerprint

_UNCONFIRMED = "unconfirmed"


class KnownKey(NamedTuple):
    """The fingerprint of a server's certificate, and whether a person has confirmed it."""

    fingerprint: str
    is_confirmed: bool = True


class KnownHosts:
    """The file, read again at each call. Processes lock it to change it. All methods block.

    Addresses are host:port, an IPv6 host in brackets; every spelling of one means the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, address: str) -> KnownKey | None:
        """Return the known key of an address.

        Raises:
            BadFile: The file cannot be read or has an invalid line.
        """
        return self._read().get(canonical_address(address))

    def remember(self, address: str, fingerprint: str) -> None:
        """Save a confirmed fingerprint, replacing an earlier one.

        Raises:
            BadFile: As find, or the file cannot be written.
        """
        key = KnownKey(fingerprint)
        with locked(self.path):
            known = self._read()
            if known.get(canonical_address(address)) != key:
                self._write(known | {canonical_address(address): key})

    def remember_first(self, address: str, fingerprint: str) -> KnownKey:
        """Save a fingerprint that was seen, if none is known; return the one known now.

        It may be another one, saved a moment ago.

        Raises:
            BadFile: As remember.
        """
        key = KnownKey(fingerprint, is_confirmed=False)
        with locked(self.path):
            known = self._read()
            if canonical_address(address) not in known:
                self._write(known | {canonical_address(address): key})
            return known.get(canonical_address(address), key)

    def _read(self) -> dict[str, KnownKey]:
        known: dict[str, KnownKey] = {}
        for number, line in enumerate(read_private(self.path).splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                address, text, *mark = words
                if mark not in ([], [_UNCONFIRMED]):
                    raise ValueError
                known[canonical_address(address)] = KnownKey(
                    parse_fingerprint(text), is_confirmed=not mark
                )
            except ValueError as error:
                # Skipping it would trust the next key that appears.
                raise BadFile(
                    f"{self.path}: line {number} is not HOST:PORT FINGERPRINT; mend it or remove it"
                ) from error
        return known

    def _write(self, known: dict[str, KnownKey]) -> None:
        lines = [
            "# Servers that ftransfer has trusted, each with the fingerprint of its certificate.\n"
        ]
        for address, key in known.items():
            lines.append(
                f"{address} {key.fingerprint}{'' if key.is_confirmed else ' ' + _UNCONFIRMED}\n"
            )
        write_private(self.path, "".join(lines))
