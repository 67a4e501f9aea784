"""The wire without I/O: no sockets, files, clocks or asyncio.

docs/protocol.md is its specification.
"""
