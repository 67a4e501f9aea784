"""The command line. Its commands are found in app.py."""

from ftransfer.cli.entry import main

__all__ = ["main"]
