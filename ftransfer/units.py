"""Sizes, rates and times as people write them: 10G, 500M/s, 1h30m <-> numbers.

Pure. K, M, G and T are powers of 1024, as in `ls -h`; followed by B (MB), powers of 1000, as disks
are sold. A limit is shown as its owner writes it (10G), a measured size in decimal units (10.7 GB).
Only these functions read amounts, for the command line and the configuration file.
"""

from __future__ import annotations

import re

_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
# Patterns are compiled on first use: a one-shot get formats sizes and reads none.
_FLAGS = re.IGNORECASE | re.ASCII
_SIZE = r"(\d+(?:\.\d+)?)\s*(?:([KMGTP]?)(I?B)?)"
_COUNT = r"(\d+)\s*([KMG])?"
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+"
_TIME_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_MAX_DIGITS = 20
_MAX_SIZE = 2**63 - 1
_MAX_TIME_S = 100 * 365 * 86400.0


def parse_size(text: str) -> int:
    """Return the number of bytes in a text like 10G, 1.5 GiB, 500MB or 4096.

    Raises:
        ValueError: It is not a size, or larger than any file. The message is for people.
    """
    found = re.fullmatch(_SIZE, text.strip(), _FLAGS) if len(text) <= _MAX_DIGITS else None
    if found is None:
        raise ValueError(
            f"{text[:_MAX_DIGITS]!r} is no size; write for example 500M, 10G or 1048576"
        )
    number, unit, ending = found[1], (found[2] or "").upper(), (found[3] or "").upper()
    factors = _DECIMAL if ending == "B" and unit else _BINARY
    size = int(number) * factors[unit] if number.isdigit() else int(float(number) * factors[unit])
    if size > _MAX_SIZE:
        raise ValueError(f"{text!r} is more than any file or disk can have")
    return size


def parse_count(text: str) -> int:
    """Return the number in a text like 5000, 100K or 2M; here K, M and G are powers of 1000.

    Raises:
        ValueError: It is not a number. The message is for people.
    """
    found = re.fullmatch(_COUNT, text.strip(), _FLAGS) if len(text) <= _MAX_DIGITS else None
    count = int(found[1]) * _DECIMAL[(found[2] or "").upper()] if found is not None else 0
    if not 0 < count <= _MAX_SIZE:
        raise ValueError(
            f"{text[:_MAX_DIGITS]!r} is no number of files; write for example 5000, 100K or 2M"
        )
    return count


def parse_rate(text: str) -> int:
    """Return the bytes per second in a text like 10M, 10M/s or 500kB/s.

    Raises:
        ValueError: It is not a rate, or is 0. The message is for people.
    """
    rate = parse_size(re.sub(r"/s(ec)?$", "", text.strip(), flags=re.IGNORECASE))
    if rate == 0:
        raise ValueError("a rate of 0 would let nothing through; leave it out for no bound")
    return rate


def parse_time(text: str) -> float:
    """Return the seconds in a text like 15m, 1h30m, 0.5s or 90.

    Raises:
        ValueError: It is not a time, or longer than a century. The message is for people.
    """
    plain = text.strip().lower()
    if len(plain) <= _MAX_DIGITS and re.fullmatch(r"[0-9]+(\.[0-9]+)?", plain):
        seconds = float(plain)
    elif len(plain) <= _MAX_DIGITS and re.fullmatch(_TIME, plain, _FLAGS):
        seconds = sum(
            float(number) * _TIME_UNITS[unit]
            for number, unit in re.findall(_TIME_PART, plain, _FLAGS)
        )
    else:
        raise ValueError(f"{text[:_MAX_DIGITS]!r} is no time; write for example 30s, 15m or 1h30m")
    if seconds > _MAX_TIME_S:
        raise ValueError(f"{text!r} is longer than a century")
    return seconds


def format_limit(size: int) -> str:
    """Return a size as people write it in options, which parse_size reads: 512, 1.5G or 10M.

    A round size is exact.
    """
    for unit in reversed(_BINARY):
        factor = _BINARY[unit]
        if size >= factor:
            return f"{size / factor:.4g}{unit}"
    return str(size)


def format_size(count: int) -> str:
    """Return a measured size, in decimal units: 999 B, 1.0 kB, 12.3 MB, 123 MB."""
    value = float(count)
    unit = 0
    # 999.5 would round to 1000, which belongs to the next unit.
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 1 if unit and value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"
