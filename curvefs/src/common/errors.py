"""One hierarchy of errors, by what the caller should do.

Three families:
    FilesystemError   the answer to a filesystem operation; reaches the application as an errno
    ClusterError      about the cluster: follow, wait, open a new session; handled by the client
    StartupError      a program cannot do what it was asked to; becomes one line and an exit code

The message reads as a sentence. Translation to and from StatusCode and errno is in status.py, and only there.
"""

from .exits import ExitCode


class CurveFSError(Exception):
    """Base of all errors that this project raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0].rstrip("."))


# ------------------------------------------------------------------------- answers of the filesystem


class FilesystemError(CurveFSError):
    """The answer to a filesystem operation."""


class NotFound(FilesystemError):
    """No such file or directory."""


class AlreadyExists(FilesystemError):
    """The name exists already."""


class NotEmpty(FilesystemError):
    """The directory is not empty."""


class NotADirectory(FilesystemError):
    """Not a directory."""


class IsADirectory(FilesystemError):
    """Is a directory."""


class PermissionDenied(FilesystemError):
    """Permission denied."""


class NotPermitted(FilesystemError):
    """Operation not permitted."""


class NoSpace(FilesystemError):
    """No space left."""


class QuotaExceeded(FilesystemError):
    """Quota exceeded."""


class InvalidArgument(FilesystemError):
    """Invalid argument."""


class NameTooLong(FilesystemError):
    """The name is longer than 255 bytes."""


class TooManyLinks(FilesystemError):
    """Too many links."""


class NoAttribute(FilesystemError):
    """No such extended attribute."""


class ReadOnly(FilesystemError):
    """The filesystem is read-only."""


class StaleHandle(FilesystemError):
    """The file is gone; look its name up again."""


class FileTooLarge(FilesystemError):
    """The file would be too large."""


class CrossDevice(FilesystemError):
    """Source and target are on different filesystems or quotas."""


class Unsupported(FilesystemError):
    """Operation not supported."""


class TooLarge(FilesystemError):
    """The extended attribute is too large."""


class IOFailure(FilesystemError):
    """Input/output error: it failed for good, or its outcome stayed unknown until the deadline."""


class CorruptData(FilesystemError):
    """Stored bytes do not match their checksum."""


class ResourceBusy(FilesystemError):
    """In use."""


class FilesystemGone(FilesystemError):
    """The filesystem was deleted."""


# ---------------------------------------------------------------------------------- about the cluster


class ClusterError(CurveFSError):
    """About the cluster, not about the operation; the client follows, waits or begins a new session."""


class Redirect(ClusterError):
    """Not the leader."""

    def __init__(self, message: str = "", *, leader: str = "") -> None:
        super().__init__(message)
        self.leader = leader


class Unavailable(ClusterError):
    """Nobody answers, or there is no leader: try again later."""


class Unreachable(Unavailable):
    """Nobody answered before the deadline."""


class ObjectStoreUnavailable(Unavailable):
    """The object store does not answer."""


class Overloaded(ClusterError):
    """Alive, but asks for less."""

    def __init__(self, message: str = "", *, retry_after_ms: int = 0) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Locked(ClusterError):
    """Met a transaction's lock; applied as a no-op."""


class Skipped(ClusterError):
    """A precondition did not hold; applied as a no-op."""


class SequenceGap(ClusterError):
    """The lane expects another number."""

    def __init__(self, message: str = "", *, expected_sequence: int = 0) -> None:
        super().__init__(message)
        self.expected_sequence = expected_sequence


class ResultForgotten(ClusterError):
    """The result was acknowledged before and is gone."""


class SessionUnknown(ClusterError):
    """The session is not open in this group."""


class SessionEnded(ClusterError):
    """The session is over."""


class TokenRefused(ClusterError):
    """The session token is forged, expired, or for another filesystem."""


class StaleEpoch(ClusterError):
    """From a deposed MDS or an older configuration."""


class IdRefused(ClusterError):
    """An id outside the session's open ranges."""


class AlreadyDone(ClusterError):
    """These slices were published before."""


class WrongPartition(ClusterError):
    """The group does not serve this partition."""


class VersionUnsupported(ClusterError):
    """The other side speaks a version this one does not."""


class NotAppended(ClusterError):
    """Refused before it entered the log; surely not applied."""


class CrossPartition(ClusterError):
    """It concerns several partitions; nothing was done. Send it as a transaction."""


class NoAllowance(ClusterError):
    """A partition's allowance of a quota is used up; applied as a no-op. Its owner may have more."""

    def __init__(
        self, message: str = "", *, quota_id: int = 0, partition_id: int = 0, bytes_: int = 0, inodes: int = 0
    ) -> None:
        super().__init__(message)
        self.quota_id = quota_id
        self.partition_id = partition_id
        self.bytes = bytes_
        self.inodes = inodes


class InternalError(ClusterError):
    """A bug of ours, on the other side."""


# ------------------------------------------------------------------------------------ starting programs


class StartupError(CurveFSError):
    """A program cannot do what it was asked to. One line for a person, one exit code."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code
