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

    `code` stands for the class on the wire; `name` is the wire name that the error is about, or "".
    `str()` returns one sentence for a person.
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
    """The peer sent something that the protocol does not allow; the stream is out of step."""


class ShareError(FtransferError):
    """The share refused or failed to do what a command asked for. The session continues."""

    code = "share"


class NameRefused(ShareError):
    """A share cannot hold this name."""

    code = "bad_name"


class NotFound(ShareError):
    """Nothing has that name, or nothing that the user may see."""

    code = "not_found"


class AlreadyThere(ShareError):
    """The name already exists, and the caller asked not to replace it."""

    code = "exists"


class NotAFile(ShareError):
    """A folder, device, fifo or socket was found instead of a file."""

    code = "not_a_file"


class NotAFolder(ShareError):
    """A file was found instead of a folder."""

    code = "not_a_folder"


class FolderNotEmpty(ShareError):
    """The command would remove a non-empty folder without recursion, or replace it."""

    code = "not_empty"


class Forbidden(ShareError):
    """The operating system or the user's rights do not allow it."""

    code = "forbidden"


class LeftOut(ShareError):
    """An entry of a tree cannot be copied: a broken link, a device, a reserved name."""

    code = "left_out"


class ReadOnly(ShareError):
    """The share, or the file system below it, is read-only."""

    code = "read_only"


class QuotaFull(ShareError):
    """It would exceed a limit that the owner of the share has set."""

    code = "quota"


class DiskFull(ShareError):
    """The file system is full."""

    code = "disk_full"


class ChangedMeanwhile(ShareError):
    """The content under the name is not what the caller expected to replace."""

    code = "changed"


class StoreFailed(ShareError):
    """The storage failed in a way that no other class names (an I/O error, too many open files)."""

    code = "store_failed"


class TransferError(FtransferError):
    """A transfer began and could not be completed; nothing was published."""

    code = "transfer"


class Truncated(TransferError):
    """The announced size and the number of bytes received differ."""

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
    """The received content is not the content that was sent.

    `kept` is how many bytes came from an earlier attempt. They may be the wrong ones; they are now
    deleted.
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
    """The two ends disagree about the offset at which the transfer resumes."""

    code = "bad_offset"


class SourceChanged(TransferError):
    """The file changed while it was being sent."""

    code = "source_changed"


class Superseded(TransferError):
    """A newer session uploads the same file and has taken the upload over."""

    code = "superseded"


class Aborted(TransferError):
    """The sender gave up the transfer."""

    code = "aborted"


class AuthError(FtransferError):
    """One side does not accept the other."""

    code = "auth"


class NotAuthorised(AuthError):
    """The server requires a login, or rejected the one it received."""

    code = "not_authorised"


class LoginNeeded(NotAuthorised):
    """The server requires a login and there is no secret; asking the user for one may help.

    `address` is the server's, `logins` the kinds it accepts (protocol.replies.Hello), `user` the
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
    """The server is not the expected one, or the connection to it is not encrypted."""

    code = "not_trusted"


class UnknownServer(NotTrusted):
    """The server's key is not confirmed, so no secret is sent.

    Pinning its `fingerprint` confirms it.
    """

    def __init__(
        self, message: str, *, name: str = "", address: str = "", fingerprint: str = ""
    ) -> None:
        super().__init__(message, name=name)
        self.address = address
        self.fingerprint = fingerprint


class TlsRequired(AuthError):
    """The port accepts only TLS."""

    code = "tls_required"


class ChannelError(FtransferError):
    """The connection could not be made or was lost."""

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
    """A file given to the program (a certificate, a secret, users) is not usable."""

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
    """The command line is longer than the server allows."""

    code = "line_too_long"


class Busy(RequestError):
    """The server has no capacity for this now; try again later."""

    code = "busy"


class ServerStopping(RequestError):
    """The server is shutting down."""

    code = "stopping"


class NameTaken(RequestError):
    """Another connected user has that name."""

    code = "name_taken"


class TooFast(RequestError):
    """The session sends messages faster than the server delivers them; try again later."""

    code = "too_fast"


class InternalError(RequestError):
    """The server failed internally; see its log."""

    code = "internal"


def _all_classes(root: type[FtransferError]) -> list[type[FtransferError]]:
    found = [root]
    for child in root.__subclasses__():
        found += _all_classes(child)
    return found


# One table maps code <-> class. A class without its own code (LocalProtocolError) uses its
# parent's.
CLASS_OF_CODE: dict[str, type[FtransferError]] = {
    cls.code: cls for cls in reversed(_all_classes(FtransferError)) if "code" in vars(cls)
}


def from_wire(code: str, message: str, name: str) -> FtransferError:
    """Return the exception for an error frame.

    An unknown code gives a RequestError with that code.
    """
    cls = CLASS_OF_CODE.get(code)
    if cls is None:
        error: FtransferError = RequestError(message, name=name)
        error.code = code
        return error
    return cls(message, name=name)
