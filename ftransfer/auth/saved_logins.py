"""The saved logins of a user: one JSON object per line, in a file that only its owner may read.

Each is bound to the proof by which its server was trusted, and is not sent to any other server that
answers at that address.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ftransfer.addresses import canonical_address
from ftransfer.errors import BadFile
from ftransfer.system.private_files import locked, read_private, warn_if_readable, write_private


@dataclass(frozen=True, slots=True)
class SavedLogin:
    """What is sent to the server at `address` (host:port), if it proves its identity as before."""

    address: str
    proof: str
    user: str
    secret: str

    def __repr__(self) -> str:
        return f"SavedLogin({self.address!r}, {self.user!r})"  # no secret in a trace


class SavedLogins:
    """The file, read again at each call. All methods block, and raise BadFile if it is unusable.

    Every spelling of an address means the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, address: str) -> SavedLogin | None:
        return self._read().get(canonical_address(address))

    def keep(self, login: SavedLogin) -> None:
        """Save a login, replacing an earlier one for that address."""
        with locked(self.path):
            self._write(self._read() | {canonical_address(login.address): login})

    def forget(self, address: str) -> bool:
        """Remove the login for an address; return whether there was one."""
        with locked(self.path):
            saved = self._read()
            found = saved.pop(canonical_address(address), None) is not None
            if found:
                self._write(saved)
        return found

    def _read(self) -> dict[str, SavedLogin]:
        saved: dict[str, SavedLogin] = {}
        for number, line in enumerate(read_private(self.path).splitlines(), 1):
            try:
                value = json.loads(line)
                login = SavedLogin(*(value[key] for key in ("address", "proof", "user", "secret")))
                if not all(isinstance(text, str) for text in asdict(login).values()):
                    raise TypeError
            except (ValueError, KeyError, TypeError) as error:
                raise BadFile(
                    f"{self.path}: line {number} is not a saved login; remove it and log in again"
                ) from error
            saved[canonical_address(login.address)] = login
        if saved:
            warn_if_readable(str(self.path), "the saved logins")
        return saved

    def _write(self, saved: dict[str, SavedLogin]) -> None:
        write_private(
            self.path, "".join(f"{json.dumps(asdict(login))}\n" for login in saved.values())
        )
