"""Every exception that a caller of ftransfer can meet, and the code of each on the wire.

FtransferError
    ProtocolError   LocalProtocolError (we misused the API), RemoteProtocolError (the peer
                    broke the rules)
    ShareError      NameRefused NotFound AlreadyThere NotAFile NotAFolder FolderNotEmpty
                    Forbidden LeftOut ReadOnly QuotaFull DiskFull ChangedMeanwhile StoreFailed
    TransferError   Truncated DigestMismatch OffsetConflict SourceChanged Superseded Aborted
    AuthError       NotAuthorised (LoginNeeded), NotTrusted (UnknownServer), TlsRequired
    ChannelError    CannotConnect Closed TimedOut
    RequestError    UnknownVerb BadArgument LineTooLong Busy ServerStopping InternalError
                    NameTaken TooFast
    CannotListen, BadFile
"""

from __future__ import annotations

from typing import Self

from ftransfer.display import escape


class FtransferError(Exception):
    """Base of all errors of this package.

    `code` is the word that stands for the class on the wire; `name` is the wire name the error is
    about, or "". `str()` gives one sentence for a person.
    """

    code = "error"

    def __init__(self, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.name = name

    @classmethod
    def about(cls, name: object, reason: str) -> Self:
        """Return an error about a name: its message is "NAME: REASON", safe to print.

        The root of the share is "/" in the message and "" in `name`.
        """
        return cls(f"{escape(str(name)) or '/'}: {reason}", name=str(name))

    def __str__(self) -> str:
        return self.message


class ProtocolError(FtransferError):
    """The rules of the wire were broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """Our own side asked for something that the session's state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol does not allow; the stream cannot be kept in
    step.
    """


class ShareError(FtransferError):
    """The share refused, or could not do, what a command asked for. The session goes on."""

    code = "share"


class NameRefused(ShareError):
    """The name is not one that a share can hold."""

    code = "bad_name"


class NotFound(ShareError):
    """Nothing has that name, or nothing that the user may see."""

    code = "not_found"


class AlreadyThere(ShareError):
    """Something has that name already, and it was asked not to be replaced."""

    code = "exists"


class NotAFile(ShareError):
    """A folder, device, fifo or socket stands where a file is meant."""

    code = "not_a_file"


class NotAFolder(ShareError):
    """A file stands where a folder is meant."""

    code = "not_a_folder"


class FolderNotEmpty(ShareError):
    """A folder with content was to be removed without recursion, or replaced."""

    code = "not_empty"


class Forbidden(ShareError):
    """The operating system, or the user's rights, do not allow it."""

    code = "forbidden"


class LeftOut(ShareError):
    """Something of a tree cannot be moved with it: a link that leads nowhere, a device, a name that
    is reserved.
    """

    code = "left_out"


class ReadOnly(ShareError):
    """The share, or the file system below it, takes no changes."""

    code = "read_only"


class QuotaFull(ShareError):
    """A limit that the owner of the share has set would be passed."""

    code = "quota"


class DiskFull(ShareError):
    """The file system has no room for it."""

    code = "disk_full"


class ChangedMeanwhile(ShareError):
    """The content under the name is not the one that the caller expected to replace."""

    code = "changed"


class StoreFailed(ShareError):
    """The storage failed in a way that no other class names (an I/O error, too many open files)."""

    code = "store_failed"


class TransferError(FtransferError):
    """A transfer began and could not be completed; nothing was published."""

    code = "transfer"


class Truncated(TransferError):
    """The announced size and the bytes that came do not agree."""

    code = "size_mismatch"

    def __init__(
        self, message: str, *, name: str = "", expected: int = -1, actual: int = -1
    ) -> None:
        super().__init__(message, name=name)
        self.expected = expected
        self.actual = actual

    @classmethod
    def about(cls, name: object, reason: str, *, expected: int = -1, actual: int = -1) -> Self:
        error = super().about(name, reason)
        error.expected, error.actual = expected, actual
        return error


class DigestMismatch(TransferError):
    """The content that arrived is not the content that was sent.

    `kept` is how many bytes of it an earlier attempt had left: it may be those, which are gone now,
    that are wrong.
    """

    code = "digest_mismatch"

    def __init__(
        self, message: str, *, name: str = "", expected: str = "", actual: str = ""
    ) -> None:
        super().__init__(message, name=name)
        self.expected = expected
        self.actual = actual
        self.kept = 0

    @classmethod
    def about(cls, name: object, reason: str, *, expected: str = "", actual: str = "") -> Self:
        error = super().about(name, reason)
        error.expected, error.actual = expected, actual
        return error


class OffsetConflict(TransferError):
    """The two ends do not agree about where the transfer goes on."""

    code = "bad_offset"


class SourceChanged(TransferError):
    """The file changed while it was being sent."""

    code = "source_changed"


class Superseded(TransferError):
    """A newer session uploads the same thing and has taken it over."""

    code = "superseded"


class Aborted(TransferError):
    """The sending side gave the transfer up."""

    code = "aborted"


class AuthError(FtransferError):
    """One side does not accept the other."""

    code = "auth"


class NotAuthorised(AuthError):
    """The server wants a login, or did not accept the one that was given."""

    code = "not_authorised"


class LoginNeeded(NotAuthorised):
    """The server wants a login, and there is no secret to log in with; asking the user for one may
    help.

    `address` is that of the server, `logins` what it takes (protocol.replies.Hello), `user` the
    name that was given.
    """

    def __init__(
        self,
        message: str,
        *,
        name: str = "",
        address: str = "",
        logins: tuple[str, ...] = (),
        user: str = "",
    ) -> None:
        super().__init__(message, name=name)
        self.address = address
        self.logins = logins
        self.user = user


class NotTrusted(AuthError):
    """The server is not the one that was expected, or the way to it is not encrypted."""

    code = "not_trusted"


class UnknownServer(NotTrusted):
    """A secret was to be sent to a server whose key nobody has vouched for; with its `fingerprint`
    given it would be.
    """

    def __init__(
        self, message: str, *, name: str = "", address: str = "", fingerprint: str = ""
    ) -> None:
        super().__init__(message, name=name)
        self.address = address
        self.fingerprint = fingerprint


class TlsRequired(AuthError):
    """The port speaks TLS only."""

    code = "tls_required"


class ChannelError(FtransferError):
    """The connection could not be made or did not last."""

    code = "channel"


class CannotConnect(ChannelError):
    """No connection to the server could be made."""

    code = "cannot_connect"


class Closed(ChannelError):
    """The connection ended before the conversation did."""

    code = "closed"


class TimedOut(ChannelError):
    """The peer made no progress within the time allowed."""

    code = "timed_out"


class CannotListen(FtransferError):
    """The server could not open its port."""

    code = "cannot_listen"


class BadFile(FtransferError):
    """A file that the program was given (a certificate, a secret, users) cannot be used as it
    is.
    """

    code = "bad_file"


class RequestError(FtransferError):
    """The server did not act on a command."""

    code = "request"


class UnknownVerb(RequestError):
    """The server has no such verb."""

    code = "unknown_verb"


class BadArgument(RequestError):
    """The line could not be understood."""

    code = "bad_argument"


class LineTooLong(RequestError):
    """The command line is above the server's cap."""

    code = "line_too_long"


class Busy(RequestError):
    """The server has no room for this just now; later it may."""

    code = "busy"


class ServerStopping(RequestError):
    """The server is shutting down."""

    code = "stopping"


class NameTaken(RequestError):
    """Somebody else who is connected goes by that name."""

    code = "name_taken"


class TooFast(RequestError):
    """The session says more than the server passes on; later it may again."""

    code = "too_fast"


class InternalError(RequestError):
    """The server met a fault of its own, which its log describes."""

    code = "internal"


def _all_classes(root: type[FtransferError]) -> list[type[FtransferError]]:
    found = [root]
    for child in root.__subclasses__():
        found += _all_classes(child)
    return found


# One table maps code <-> class. A class without a code of its own (LocalProtocolError) travels as
# its parent does.
CLASS_OF_CODE: dict[str, type[FtransferError]] = {
    cls.code: cls for cls in reversed(_all_classes(FtransferError)) if "code" in vars(cls)
}


def from_wire(code: str, message: str, name: str) -> FtransferError:
    """Make the exception that an error frame stands for; an unknown code gives RequestError with
    that code.
    """
    cls = CLASS_OF_CODE.get(code)
    if cls is None:
        error: FtransferError = RequestError(message, name=name)
        error.code = code
        return error
    return cls(message, name=name)
