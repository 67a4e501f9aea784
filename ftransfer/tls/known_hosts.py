"""The keys that servers showed before: a text file with one line for each, `HOST:PORT FINGERPRINT`.

It is what makes a first look lasting: whoever takes the place of a known server later shows another key.
"""

from __future__ import annotations

from pathlib import Path

from ftransfer.errors import BadFile
from ftransfer.private import locked, read_private, write_private
from ftransfer.tls.fingerprint import parse_fingerprint


class KnownHosts:
    """The file, read anew at each call. Processes take turns to change it. All block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, address: str) -> str | None:
        """Give the fingerprint that is known for an address (host:port, an IPv6 host in brackets).

        Raises:
            BadFile: The file cannot be read or has a line that makes no sense.
        """
        return self._read().get(address)

    def remember(self, address: str, fingerprint: str) -> None:
        """Keep a fingerprint in place of an earlier one.

        Raises:
            BadFile: As find; or the file cannot be written.
        """
        with locked(self.path):
            known = self._read()
            if known.get(address) != fingerprint:
                self._write(known | {address: fingerprint})

    def remember_first(self, address: str, fingerprint: str) -> str:
        """Keep a fingerprint if none is known, and give the one that is known now: perhaps another, from a moment ago.

        Raises:
            BadFile: As remember.
        """
        with locked(self.path):
            known = self._read()
            if address not in known:
                self._write(known | {address: fingerprint})
            return known.get(address, fingerprint)

    def _read(self) -> dict[str, str]:
        known: dict[str, str] = {}
        for number, line in enumerate(read_private(self.path).splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                address, text = words
                known[address] = parse_fingerprint(text)
            except ValueError as error:
                # Passing over it would be to trust the next key that comes.
                raise BadFile(f"{self.path}: line {number} is not HOST:PORT FINGERPRINT; mend it or remove it") from error
        return known

    def _write(self, known: dict[str, str]) -> None:
        lines = ["# Servers that ftransfer has trusted, each with the fingerprint of its certificate.\n"]
        lines += [f"{address} {fingerprint}\n" for address, fingerprint in known.items()]
        write_private(self.path, "".join(lines))
