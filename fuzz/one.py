"""Fuzz one target under atheris: `python -m fuzz.one TARGET [option of libFuzzer ...]`.

Inputs are chosen by the code of ftransfer that they reach.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ftransfer"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
