"""The command line. Its commands are found in runtime/app.py."""

from ftransfer.cli.runtime.entry import main

__all__ = ["main"]
