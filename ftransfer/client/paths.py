"""Local paths as text: to import pathlib would take as long as to receive a small file, with all that it takes to connect."""

from __future__ import annotations

import os


def tidy(path: str | os.PathLike[str]) -> str:
    """Give a path as pathlib writes it: without "./", "//" and a "/" at the end."""
    text = os.fspath(path)
    parts = "/".join(part for part in text.split("/") if part not in ("", "."))
    return f"/{parts}" if text.startswith("/") else parts or "."
