"""The configuration file and the flags of `serve`: what is refused, and how it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftransfer.cli.config import position_of
from ftransfer.cli.limit_options import bandwidth_limits_of, limits_of, quota_limits_of
from ftransfer.cli.runtime.app import COMMANDS, run_app
from ftransfer.limits import DEFAULT_LIMITS
from ftransfer.service.bandwidth import BandwidthLimits
from ftransfer.shell.errors import WrongUsage


def refusal(tmp_path: Path, text: str | bytes, *flags: str) -> str:
    path = tmp_path / "serve.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(WrongUsage) as error:
        run_app(["serve", str(tmp_path), "--config", str(path), *flags])
    message = str(error.value)
    assert "\n" not in message
    return message.replace(str(path), "FILE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('quotaa = "1G"', "FILE:1:1: unknown key quotaa; did you mean quota?"),
        ('# first\n\n  max-file = "1G"', "FILE:3:3: unknown key max-file; did you mean max_file?"),
        (
            'quota = "10X"',
            "FILE:1:1: quota: '10X' is no size; write for example 500M, 10G or 1048576",
        ),
        (
            'rate = "0"',
            "FILE:1:1: rate: a rate of 0 would let nothing through; leave it out for no bound",
        ),
        ('read_only = "yes"', "FILE:1:1: read_only must be true or false"),
        ("port = true", "FILE:1:1: port must be a whole number"),
        ('port = "9021"', "FILE:1:1: port must be a whole number"),
        ("port = 70000", "FILE:1:1: port: 70000 is not a port; use 1 to 65535"),
        ("max_sessions = 0", "FILE:1:1: max_sessions: 0 would let nobody in; use at least 1"),
        ("[quota]\nall = 1", "FILE:1:2: quota must be a quoted string or a number"),
        ("idle_time = [15]", "FILE:1:1: idle_time must be a quoted string or a number"),
        ('max_line = "100"', "FILE:1:1: max_line: 100 is too small; use at least 1024"),
        ("port = 1\nport = 2", "FILE:2:9: not valid TOML: cannot overwrite a value"),
        ("port = ", "FILE:1:8: not valid TOML: invalid value"),
        (b"\xff", "FILE: not valid UTF-8"),
        (b"\xef\xbb\xbfport = 70000", "FILE:1:1: port: 70000 is not a port"),
        ("port = 9021".encode("utf-16"), "FILE: not valid UTF-8"),
        ('folder = "/"', "FILE:1:1: unknown key folder; the keys are"),
        ('config = "x"', "FILE:1:1: unknown key config"),
    ],
)
def test_mistake_in_the_file_is_one_line_with_its_place(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert refusal(tmp_path, text).startswith(message)


# What each key refuses. Texts that nothing is wrong with until they are used take any text, but
# nothing else than a text.
BAD_VALUES = {
    **dict.fromkeys(
        ("host", "welcome", "cert", "key", "client_ca", "users", "token_file", "audit"), "[1]"
    ),
    **dict.fromkeys(
        (
            "read_only",
            "drop_box",
            "no_fsync",
            "sandbox",
            "new_token",
            "hide_nothing",
            "yes_really",
        ),
        '"yes"',
    ),
    **dict.fromkeys(("port", "max_sessions", "max_source_sessions", "max_unauthenticated"), "-1"),
    **dict.fromkeys(
        ("quota", "user_quota", "keep_free", "max_file", "min_progress", "max_line", "max_frame"),
        '"much"',
    ),
    **dict.fromkeys(("quota_files", "user_quota_files"), '"many"'),
    **dict.fromkeys(("rate", "user_rate", "session_rate"), '"fast"'),
    **dict.fromkeys(
        ("handshake_time", "login_time", "line_time", "idle_time", "stall_time", "heartbeat_limit"),
        '"soon"',
    ),
    "keep_partials": '"soon"',
    "trust_from": '["somewhere"]',
    "hide": '[""]',
    "tls": '"maybe"',
    "anonymous": '"fly"',
}


def flags_of_serve() -> dict[str, list[str]]:
    """Return the parameters of serve that are flags, with their words."""
    return {
        str(option.name): list(option.opts)
        for option in COMMANDS["serve"].params
        if option.opts[0].startswith("--")
    }


def test_every_flag_has_the_key_of_its_name() -> None:
    flags = flags_of_serve()
    assert {name: f"--{name.replace('_', '-')}" for name in flags} == {
        name: words[0] for name, words in flags.items()
    }
    assert set(flags) - {"config", "help"} == set(BAD_VALUES)


@pytest.mark.parametrize("key", BAD_VALUES)
def test_bad_value_of_each_key_is_told_with_its_place(tmp_path: Path, key: str) -> None:
    message = refusal(tmp_path, f"\n {key} = {BAD_VALUES[key]}")
    assert message.startswith(f"FILE:2:2: {key}"), message


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="none.toml: cannot read the file: No such file"):
        run_app(["serve", str(tmp_path), "--config", str(tmp_path / "none.toml")])


@pytest.mark.parametrize(
    ("text", "flags", "both"),
    [
        ("read_only = true\ndrop_box = true", (), ("read_only in FILE", "drop_box in FILE")),
        ("read_only = true", ("--drop-box",), ("read_only in FILE", "--drop-box")),
        ("", ("--read-only", "--quota", "1G"), ("--read-only", "--quota")),
        ('quota = "1G"', ("--user-quota", "2G"), ("--user-quota 2G", "quota in FILE 1G")),
        ("", ("--max-file", "2G", "--quota", "1G"), ("--max-file 2G", "--quota 1G")),
        (
            "quota_files = 5",
            ("--user-quota-files", "1K"),
            ("--user-quota-files 1K", "quota_files in FILE 5"),
        ),
        ("", ("--session-rate", "2M", "--rate", "1M"), ("--session-rate 2M", "--rate 1M")),
        (
            "max_sessions = 5",
            ("--max-source-sessions", "6"),
            ("--max-source-sessions 6", "max_sessions in FILE 5"),
        ),
    ],
)
def test_contradiction_names_both(
    tmp_path: Path, text: str, flags: tuple[str, ...], both: tuple[str, str]
) -> None:
    message = refusal(tmp_path, text, *flags)
    assert all(name in message for name in both)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("port = 1", (1, 1)),
        ("# port = 1\n\n\t port=1", (3, 3)),
        ('"port" = 1', (1, 1)),
        ("import = 2\nport = 1", (2, 1)),
        ("[ port ]", (1, 3)),
        ("port.x = 1", (1, 1)),
        ("", (1, 1)),
    ],
)
def test_key_is_found_in_the_text(text: str, place: tuple[int, int]) -> None:
    assert position_of(text, "port") == place


DEFAULTS = {
    "max_sessions": 1024,
    "max_source_sessions": None,
    "max_unauthenticated": 256,
    "handshake_time": "10s",
    "login_time": "60s",
    "line_time": "30s",
    "idle_time": "15m",
    "stall_time": "60s",
    "heartbeat_limit": "15m",
    "min_progress": "4K",
    "max_line": "64K",
    "max_frame": "4M",
    **dict.fromkeys(
        (
            "quota",
            "user_quota",
            "quota_files",
            "user_quota_files",
            "keep_free",
            "max_file",
            "rate",
            "user_rate",
            "session_rate",
        )
    ),
}


def test_defaults_of_the_flags_are_those_of_the_library() -> None:
    assert limits_of(DEFAULTS) == DEFAULT_LIMITS
    assert bandwidth_limits_of(DEFAULTS) == BandwidthLimits()
    assert quota_limits_of(DEFAULTS).keep_free_bytes is None


def test_flags_become_bounds() -> None:
    given = {
        "quota": "1G",
        "user_quota": "1M",
        "quota_files": "2M",
        "user_quota_files": "9",
        "keep_free": "1K",
        "max_file": "7",
    }
    bounds = quota_limits_of({**DEFAULTS, **given})
    assert (bounds.all.quota_files, bounds.each.quota_files) == (2_000_000, 9)
    assert (bounds.all.quota_bytes, bounds.each.quota_bytes, bounds.keep_free_bytes) == (
        1 << 30,
        1 << 20,
        1 << 10,
    )
    assert bounds.all.max_file_bytes == 7
    assert bandwidth_limits_of({**DEFAULTS, "rate": "1K/s", "user_rate": "2"}) == BandwidthLimits(
        1024, 2, None
    )
    assert limits_of({**DEFAULTS, "stall_time": "8s"}).heartbeat_s == 2.0
