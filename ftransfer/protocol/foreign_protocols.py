"""Peers that speak another protocol: how the first line reveals it, and an answer in theirs.

A line protocol is within reach of anything that can be made to send text to a port: a web page
through a browser, a server through a URL that it fetches. They cannot choose their first line, so
the first line decides, before anything after it counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ftransfer.errors import RemoteProtocolError
from ftransfer.protocol.commands import ALIASES, VERBS

_SENTENCE = (
    "this is an ftransfer server, and does not speak {}; connect with: ftransfer connect HOST PORT"
)
_OTHER = "the protocol of this client"

# How a request of HTTP and its relatives ends. Such a line is not ours, even if its method is one
# of our verbs.
_VERSION = re.compile(rb" (HTTP|RTSP|SIP|ICAP)/\d+(\.\d+)?$")
# HTTP 0.9, whose methods are also our verbs: in capitals, with a path or a URL.
_TARGET = re.compile(rb"(GET|PUT) +(/|[a-z]+://)")
# What a person may have typed: a mistyped verb gets an error, and the person tries again.
_TYPED = re.compile(rb"[a-z]+")
# Words of other protocols. First those that their clients also write in lower case.
_SMALL = {
    b"ehlo": "SMTP",
    b"helo": "SMTP",
    b"lhlo": "LMTP",
    b"user": "FTP",
    b"starttls": "SMTP",
    b"capabilities": "NNTP",
}
_WORDS = {
    **dict.fromkeys(
        (
            b"HEAD POST DELETE OPTIONS PATCH TRACE CONNECT PROPFIND PROPPATCH MKCOL COPY MOVE LOCK"
            b" PRI"
        ).split(),
        "HTTP",
    ),
    **dict.fromkeys(b"USER PASS ACCT AUTH FEAT SYST OPTS CWD PASV EPSV".split(), "FTP"),
    **dict.fromkeys(b"MAIL RCPT DATA RSET NOOP VRFY".split(), "SMTP"),
    **dict.fromkeys(b"PING HELLO CONFIG SET INFO EVAL".split(), "Redis"),
    **dict.fromkeys(b"NICK CAP JOIN".split(), "IRC"),
}
_IMAP = re.compile(
    rb"[A-Za-z]+\d+ +(CAPABILITY|LOGIN|NOOP|AUTHENTICATE|STARTTLS|ID)\b", re.IGNORECASE
)
# A line with numbers, followed by content that a third party may have chosen.
_STORING = re.compile(
    rb"(set|add|replace|append|prepend|cas) (\S+ )?\d+ \d+ \d+( \d+)?( noreply)?$"
)


class ForeignProtocol(RemoteProtocolError):
    """The peer speaks another protocol. It broke no rule: it connected to the wrong port.

    `protocol` is its name for people, or ""; `answer` contains bytes that it understands.
    """

    def __init__(self, protocol: str, line: bytes) -> None:
        super().__init__(_sentence(protocol))
        self.protocol = protocol
        self.answer = _ANSWERS.get(protocol, _plain)(_sentence(protocol), line)


def foreign_in(data: bytes | bytearray) -> ForeignProtocol | None:
    """Return the protocol that the first line reveals, even if incomplete.

    None if it is a line of ours or may become one.
    """
    found, end, _ = bytes(data).partition(b"\n")
    line = found.removesuffix(b"\r")
    if not line or (not end and line[:1].isalpha()):
        return None
    protocol = _protocol_of(line)
    return None if protocol is None else ForeignProtocol(protocol, line)


def _protocol_of(line: bytes) -> str | None:
    if line.startswith(b"\x16\x03"):
        return "TLS"
    if line.startswith(b"SSH-"):
        return "SSH"
    if line.startswith(b"@RSYNCD:"):
        return "rsync"
    if line[:1] in (b"*", b"$") and line[1:].isdigit():
        return "Redis"
    if version := _VERSION.search(line):
        return version[1].decode()
    if _TARGET.match(line):
        return "HTTP"
    if _IMAP.match(line):
        return "IMAP"
    if _STORING.match(line):
        return "memcached"
    word = line.split(b" ", 1)[0]
    if word.lower().decode("latin-1") in (*VERBS, *ALIASES):
        return None
    return _WORDS.get(word) or _SMALL.get(word.lower()) or (None if _TYPED.fullmatch(word) else "")


def _sentence(protocol: str) -> str:
    return _SENTENCE.format(protocol or _OTHER)


def _plain(sentence: str, line: bytes) -> bytes:
    return f"{sentence}\r\n".encode()


def _http(sentence: str, line: bytes) -> bytes:
    body = f"{sentence}\n".encode()
    head = (
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain;"
        " charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control:"
        f" no-store\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if line.startswith(b"HEAD ") else body)


def _tls(sentence: str, line: bytes) -> bytes:
    return (  # a fatal alert: unexpected_message (RFC 8446, section 6)
        b"\x15\x03\x03\x00\x02\x02\x0a"
    )


def _ssh(sentence: str, line: bytes) -> bytes:
    """Return an identification and the reason for the disconnect, which the client shows.

    Source: RFC 4253, sections 4.2, 6 and 11.1.
    """
    text = sentence.encode()
    # Disconnect, by application
    payload = b"\x01" + (11).to_bytes(4) + len(text).to_bytes(4) + text + bytes(4)
    padding = 8 - (len(payload) + 5) % 8 + 8  # to a multiple of 8, and at least 4
    packet = (len(payload) + padding + 1).to_bytes(4) + bytes([padding]) + payload + bytes(padding)
    return b"SSH-2.0-ftransfer\r\n" + packet


def _rsync(sentence: str, line: bytes) -> bytes:
    return f"@RSYNCD: 31.0\n@ERROR: {sentence}\n".encode()  # not allowed before the greeting


def _reply(prefix: str) -> Callable[[str, bytes], bytes]:
    return lambda sentence, line: f"{prefix} {sentence}\r\n".encode()


_ANSWERS: dict[str, Callable[[str, bytes], bytes]] = {
    "HTTP": _http,
    "TLS": _tls,
    "SSH": _ssh,
    "rsync": _rsync,
    "FTP": _reply("421"),
    "SMTP": _reply("421"),
    "LMTP": _reply("421"),
    "NNTP": _reply("400"),
    "IMAP": _reply("* BYE"),
    "IRC": _reply("ERROR :"),
    "Redis": _reply("-ERR"),
    "memcached": _reply("SERVER_ERROR"),
    "RTSP": _reply("RTSP/1.0 400"),
    "ICAP": _reply("ICAP/1.0 400"),
    "SIP": _reply("SIP/2.0 400"),
}
